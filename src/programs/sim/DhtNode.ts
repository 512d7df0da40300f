/**
 * The nodes of the DHT scenarios, honest ones and liars, and what is asked of
 * them: each question is counted, with what it took and whether its answer was
 * the right one.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Bytes from "../../data/Bytes.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as Key from "../../layers/kad/core/Key.ts"
import * as KadRecordStore from "../../layers/kad/KadRecordStore.ts"
import * as KadRouting from "../../layers/kad/KadRouting.ts"
import * as MemoryRecordStore from "../../layers/records/MemoryRecordStore.ts"
import * as Libp2p from "../../layers/Libp2p.ts"
import * as Yamux from "../../layers/muxer/Yamux.ts"
import * as MemoryPeerStore from "../../layers/peerstore/MemoryPeerStore.ts"
import * as Plaintext from "../../layers/security/Plaintext.ts"
import { Prng } from "../../layers/simulation/Prng.ts"
import * as Tcp from "../../layers/transport/Tcp.ts"
import { Population } from "./DhtTables.ts"
import type { NodeInfo, SimNode } from "../../layers/simulation/SimNode.ts"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import { ContentRouting } from "../../services/ContentRouting.ts"
import { PeerRouting, type RoutedPeer, type RoutingOptions } from "../../services/PeerRouting.ts"
import * as Protocols from "../../services/Protocols.ts"
import { RecordStore } from "../../services/RecordStore.ts"
import * as RecordValidators from "../../services/RecordValidators.ts"
import { type Lie, Liars } from "./DhtLies.ts"

/** Peers of a bucket and of an answer, unless it is said otherwise. */
const defaultK = 20
/** The first so many nodes are those by whom the others enter. */
export const entrances = 3

/** What the nodes of a network are; the same for all but what is asked for by node. */
export interface Options {
  /** Paths of a lookup. Default 1. */
  readonly paths?: ((node: NodeInfo) => number) | undefined
  /** Who looks out for crowds. Default: all. */
  readonly isGuarded?: ((node: NodeInfo) => boolean) | undefined
  /** Peers of a bucket and of an answer. Default 20. */
  readonly k?: number | undefined
  /** Which nodes lie, and how. */
  readonly lies?: ((node: NodeInfo) => Lie | undefined) | undefined
  /** They have tables as though they had long been here, instead of joining. Default false. */
  readonly prepared?: boolean | undefined
  /** How often they refresh their tables. Default: as other nodes do. */
  readonly refreshEvery?: Duration.Input | undefined
  /** Default `noise`. */
  readonly security?: "noise" | "plaintext" | undefined
  /** Connections that a node keeps; twice as many make it close some. Default: as many as come. */
  readonly connections?: ((node: NodeInfo) => number | undefined) | undefined
}

const protocol = "/ipfs/lan/kad/1.0.0"

/** Any value is valid; only one is put under a key. */
const validators = RecordValidators.layer({ v: { validate: () => undefined, select: () => 0 } })

/** The layer of the nodes of one network. Each run has its own: its nodes get to know who the first are. */
export const layerOf = (options: Options = {}) => {
  const k = options.k ?? defaultK
  const first: Array<RoutedPeer> = []
  const population = new Population()
  const liars = new Liars(k)

  const dht = (node: NodeInfo, lie: Lie | undefined) => {
    const routing = KadRouting.layer({
      wan: false,
      // Who lies answers in its own way.
      mode: lie === undefined ? "server" : "client",
      k,
      paths: options.paths?.(node) ?? 1,
      crowdDefence: options.isGuarded?.(node) ?? true,
      refreshEvery: options.refreshEvery,
      records: MemoryRecordStore.make(),
      bootstrap: Effect.sync(() => first.filter(({ peer }) => peer !== node.peerId)),
      remembered: Effect.sync(() => {
        if (options.prepared !== true) return []
        const random = new Prng(`table of ${node.peerId.toString()}`)
        return [{ realm: "lan", peers: population.tableOf(Key.fromBytes(node.peerId.bytes), k, random) }]
      })
    })
    return lie === undefined ? routing : Layer.merge(routing, Protocols.layerHandler(protocol, liars.handler(lie)))
  }

  const base = (node: NodeInfo) => {
    const connections = options.connections?.(node)
    return Libp2p.layer({
      listen: ["/ip4/0.0.0.0/tcp/4001"],
      ...(connections === undefined
        ? {}
        : { connectionManager: { lowWater: connections, highWater: 2 * connections, grace: "2 seconds" } })
    }).pipe(
      Layer.provide(
        options.security === "plaintext" ? Layer.mergeAll(Tcp.layer, Plaintext.layer, Yamux.layer()) : Libp2p.layerTcp
      ),
      Layer.provideMerge(MemoryPeerStore.layer())
    )
  }

  return (node: NodeInfo) => {
    const addresses = node.hosts.map((host) => Multiaddr.fromStringUnsafe(`/ip4/${host}/tcp/4001`))
    population.add({ peer: node.peerId, addresses })
    if (node.index < entrances) first.push({ peer: node.peerId, addresses })
    const lie = options.lies?.(node)
    liars.add({ peer: node.peerId, addresses }, lie !== undefined)
    return KadRecordStore.layer().pipe(
      Layer.provideMerge(dht(node, lie)),
      Layer.provideMerge(base(node)),
      Layer.provide(validators)
    )
  }
}

export type Services = Layer.Success<ReturnType<ReturnType<typeof layerOf>>>
export type DhtNode = SimNode<Services>

// ---- questions --------------------------------------------------------------

/** One question, and what came of it. */
export interface Asked {
  readonly found: boolean
  /** Peers that were asked, and the longest way to one of them. */
  readonly messages: number
  readonly hops: number
  /** In virtual time. */
  readonly ms: number
}

/** What came of many questions. */
export class Tally {
  readonly #all: Array<Asked> = []
  /** Those that came to nothing or to something wrong, in words. */
  readonly misses: Array<string> = []

  add(what: string, asked: Asked, why: string): void {
    this.#all.push(asked)
    if (!asked.found) this.misses.push(`${what}: ${why}`)
  }

  get count(): number {
    return this.#all.length
  }

  /** The share that were answered rightly. */
  get success(): number {
    return this.count === 0 ? 0 : 1 - this.misses.length / this.count
  }

  /** The middle one of those for which others were asked; a peer that is connected is found without. */
  median(of: "messages" | "hops" | "ms"): number {
    return this.quantile(of, 0.5)
  }

  /** The least that so large a share of them do not pass. */
  quantile(of: "messages" | "hops" | "ms", share: number): number {
    const sorted = this.#all.flatMap((one) => (one.messages > 0 ? [one[of]] : [])).toSorted((a, b) => a - b)
    return sorted[Math.floor(sorted.length * share)] ?? 0
  }
}

type Question<A> = (options: RoutingOptions) => Effect.Effect<A, unknown, Services>

/** Asks on a node, and counts it. Nothing is counted when the node goes meanwhile. Gives whether the answer was right. */
export const ask = <A>(
  { world }: Simulation<Services>,
  tally: Tally,
  node: DhtNode,
  what: string,
  question: Question<A>,
  isRight: (answer: A) => boolean
): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    const began = world.timeline.now
    let messages = 0
    let hops = 0
    const options: RoutingOptions = {
      onProgress: (progress) => {
        messages = progress.asked
        hops = progress.hops
      }
    }
    const exit = yield* Effect.exit(node.run(question(options)))
    if (!node.running) return true
    const found = Exit.isSuccess(exit) && isRight(exit.value)
    const why = Exit.isSuccess(exit) ? (found ? "found" : "a wrong answer") : String(Cause.squash(exit.cause))
    world.note(node.name, "dht", `${what}: ${why}`)
    tally.add(`${node.name}, ${what}`, { found, messages, hops, ms: world.timeline.now - began }, why)
    return found
  })

export const keyOf = (name: string): Uint8Array => Bytes.fromUtf8(`/v/${name}`)
const valueOf = (name: string): Uint8Array => Bytes.fromUtf8(`the value of ${name}`)

export const put = (name: string) => (options: RoutingOptions) =>
  Effect.flatMap(RecordStore, (store) => store.put(keyOf(name), valueOf(name), options))

export const getValue = (simulation: Simulation<Services>, tally: Tally, from: DhtNode, name: string) =>
  ask(
    simulation,
    tally,
    from,
    `the value ${name}`,
    (options) => Effect.flatMap(RecordStore, (store) => store.get(keyOf(name), options)),
    ({ value }) => Bytes.equals(value, valueOf(name))
  )

/** A multihash, as content has. */
export const contentOf = (name: string): Uint8Array =>
  Bytes.concat([Uint8Array.of(0x12, 32), sha256(Bytes.fromUtf8(name))])

export const provide = (name: string) => (options: RoutingOptions) =>
  Effect.flatMap(ContentRouting, (routing) => routing.provide(contentOf(name), options))

export const findProvider = (
  simulation: Simulation<Services>,
  tally: Tally,
  from: DhtNode,
  name: string,
  provider: DhtNode
) =>
  ask(
    simulation,
    tally,
    from,
    `the provider ${provider.name}`,
    (options) =>
      Effect.flatMap(ContentRouting, (routing) => Stream.runCollect(routing.findProviders(contentOf(name), options))),
    (all) => all.some((one) => leadsTo(one, provider))
  )

/** By its id and by an address that is its own. */
const leadsTo = ({ addresses, peer }: RoutedPeer, node: DhtNode): boolean =>
  peer.toString() === node.peerId.toString() &&
  addresses.some((address) =>
    node.host.addresses.some((host) => address.toString().startsWith(`/ip4/${host}/tcp/4001`))
  )

export const findPeer = (simulation: Simulation<Services>, tally: Tally, from: DhtNode, target: DhtNode) =>
  ask(
    simulation,
    tally,
    from,
    `the peer ${target.name}`,
    (options) => Effect.flatMap(PeerRouting, (routing) => routing.findPeer(target.peerId, options)),
    (found) => leadsTo(found, target)
  )

/** Those closest to a place; right if at least nine in ten of those that are really the closest are among them. */
export const findClosest = (
  simulation: Simulation<Services>,
  tally: Tally,
  from: DhtNode,
  name: string,
  present: () => ReadonlyArray<DhtNode>,
  k = defaultK
) => {
  const key = keyOf(name)
  const target = Key.fromBytes(key)
  return ask(
    simulation,
    tally,
    from,
    `those closest to ${name}`,
    (options) => Effect.flatMap(PeerRouting, (routing) => Stream.runLast(routing.closestPeers(key, options))),
    (last) => {
      const others = present().flatMap((node) => (node === from ? [] : [Key.contact(node.peerId)]))
      const really = Key.closest(target, others, k)
      const found = new Set(last._tag === "Some" ? last.value.closest.map(({ peer }) => peer.toString()) : [])
      const met = really.filter(({ peer }) => found.has(peer.toString())).length
      return met >= 0.9 * really.length
    }
  )
}
