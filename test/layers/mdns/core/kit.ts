/** A local network of cores, in virtual time: what one sends, the others get, or lose. */
import { Result } from "effect"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import * as PeerId from "../../../../src/data/PeerId.ts"
import { type Event, Lan, type Options } from "../../../../src/layers/mdns/core/Lan.ts"
import { type Link, linksOf } from "../../../../src/layers/mdns/core/Links.ts"
import * as Names from "../../../../src/layers/mdns/core/Names.ts"
import type { Endpoint } from "../../../../src/services/Net.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"

export const peerOf = (n: number): PeerId.PeerId =>
  Result.getOrThrow(
    PeerId.fromBytes(Uint8Array.of(0x12, 0x20, ...Array.from({ length: 30 }, () => 3), n >> 8, n & 255))
  )

/** The link of the host of a number. */
export const linkOf = (n: number): Link => {
  const host = `192.168.${n >> 8}.${n & 255}`
  const [link] = linksOf([{ name: "eth0", host, family: 4, internal: false, prefixLength: 16 }], "all")
  if (link === undefined) throw new Error("no link")
  return link
}

const hostOf = (n: number): string => `192.168.${n >> 8}.${n & 255}`
export const addressOf = (n: number): Multiaddr.Multiaddr => Multiaddr.fromStringUnsafe(`/ip4/${hostOf(n)}/tcp/4001`)

export interface Node {
  readonly n: number
  readonly lan: Lan
  readonly events: Array<Event>
  /** What it has for those who ask, by the question. */
  readonly held: Map<string, Uint8Array | undefined>
  /** Nothing gets to it or from it, and no time passes for it. */
  asleep: boolean
}

interface Delivery {
  readonly at: number
  readonly from: number
  readonly bytes: Uint8Array
}

export class Network {
  now = 0
  readonly nodes: Array<Node> = []
  /** What was sent to one alone. */
  readonly toOne: Array<Endpoint & { readonly bytes: Uint8Array }> = []
  /** Packets sent, and bytes of the largest. */
  packets = 0
  largest = 0
  /** Whether a packet is lost on its way. */
  loses: (from: number, to: number) => boolean
  readonly random: Prng
  private deliveries: Array<Delivery> = []

  constructor(seed: string, loss = 0) {
    this.random = new Prng(seed)
    const lost = this.random.fork("loss")
    this.loses = () => lost.chance(loss)
  }

  add(n: number, options: Partial<Options> = {}): Node {
    const random = this.random.fork(`node ${n}`)
    const held: Node["held"] = new Map()
    const lan = new Lan({
      holds: (question) => held.has(question),
      peer: peerOf(n),
      service: Names.serviceOf(),
      random: () => random.nextDoubleUnsafe(),
      ...options
    })
    const node: Node = { n, lan, events: [], held, asleep: false }
    this.nodes.push(node)
    this.up(node)
    return node
  }

  /** Its interface is there, and it listens. */
  up(node: Node, addresses: ReadonlyArray<Multiaddr.Multiaddr> = [addressOf(node.n)]): void {
    node.lan.setLinks([linkOf(node.n)], addresses, this.now)
    this.collect(node)
  }

  /** It goes, and says so. */
  leave(node: Node): void {
    node.lan.stop()
    this.collect(node)
    this.nodes.splice(this.nodes.indexOf(node), 1)
  }

  /** Sends raw bytes to all, as anybody can. */
  inject(bytes: Uint8Array, from = 250, port = 5353): void {
    for (const { lan } of this.nodes) lan.receive("eth0/4", { host: hostOf(from), port }, bytes, this.now)
    for (const node of this.nodes) this.collect(node)
  }

  /** Time passes. */
  run(ms: number): void {
    const until = this.now + ms
    for (;;) {
      const awake = this.nodes.filter(({ asleep }) => !asleep)
      const at = Math.min(
        this.deliveries[0]?.at ?? Number.POSITIVE_INFINITY,
        ...awake.map(({ lan }) => Math.max(this.now, lan.nextAt))
      )
      if (at > until) break
      this.now = Math.max(this.now, at)
      const due = this.deliveries.filter((delivery) => delivery.at <= this.now)
      this.deliveries = this.deliveries.filter((delivery) => delivery.at > this.now)
      for (const { bytes, from } of due) {
        for (const node of awake) {
          if (node.n !== from && this.loses(from, node.n)) continue
          node.lan.receive("eth0/4", { host: hostOf(from), port: 5353 }, bytes, this.now)
        }
      }
      for (const node of awake) {
        if (node.lan.nextAt <= this.now) node.lan.tick(this.now)
        this.collect(node)
      }
    }
    this.now = until
  }

  /** Whether each of these knows all others of them. */
  isWhole(nodes: ReadonlyArray<Node> = this.nodes): boolean {
    return this.missing(nodes) === 0
  }

  /** Pairs of which one does not know the other. */
  missing(nodes: ReadonlyArray<Node> = this.nodes): number {
    let missing = 0
    for (const { lan, n } of nodes) {
      for (const other of nodes) if (other.n !== n && lan.get(peerOf(other.n).toString()) === undefined) missing++
    }
    return missing
  }

  private collect(node: Node): void {
    for (const event of node.lan.takeEvents()) {
      if (event._tag === "Wanted") node.lan.answer(event.link, event.question, node.held.get(event.question))
      else node.events.push(event)
    }
    for (const { bytes, to } of node.lan.takePackets(this.now)) {
      if (to !== undefined) {
        this.toOne.push({ ...to, bytes })
        continue
      }
      this.packets++
      this.largest = Math.max(this.largest, bytes.length)
      if (!node.asleep) this.deliveries.push({ at: this.now + 1, from: node.n, bytes })
    }
  }
}
