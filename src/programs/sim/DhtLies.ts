/**
 * Nodes of a DHT that lie. They are as easily reached as any other and answer
 * at once, so that they come into all tables; but nothing that is looked for is
 * found by their word: they say that they keep what they are given and do not,
 * and whom they name leads nowhere.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Kad from "../../data/messages/Kad.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as Key from "../../layers/kad/core/Key.ts"
import * as Wire from "../../layers/kad/Wire.ts"
import { Prng } from "../../layers/simulation/Prng.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import { byteMessages, type ProtocolStream } from "../../services/ProtocolStream.ts"

/**
 * What a liar names as closest: fellow liars only; peers that do not exist, made
 * up until they are closer than all others, and each time new ones; honest peers,
 * at addresses where nobody is; nobody.
 */
export type Lie = "fellows" | "inventions" | "addresses" | "silence"

export const lies: ReadonlyArray<Lie> = ["fellows", "inventions", "addresses", "silence"]

/** Somebody to name. */
interface Named {
  readonly key: Key.Key
  readonly peer: Kad.Peer
}

/** Ids that are made up: hundreds for each peer that there is. */
const inventions = 65_536
/** Those from which an answer is drawn: the closest to the target. */
const drawnFrom = 200

/** An address where nobody is, and nothing says so. */
const nowhere = (random: Prng): Uint8Array =>
  Multiaddr.fromStringUnsafe(`/ip4/10.77.${random.below(256)}.${1 + random.below(250)}/tcp/4001`).bytes

/** Peer ids that nobody has, in the order of their places. */
const invent = (random: Prng): ReadonlyArray<Named> =>
  Array.from({ length: inventions }, (): Named => {
    const id = Uint8Array.of(0x12, 32, ...random.bytes(32))
    return { key: Key.fromBytes(id), peer: { id, addrs: [nowhere(random)], connection: "Connected" } }
  }).toSorted((a, b) => Key.order(a.key, b.key))

/** The liars of one network. */
export class Liars {
  /** Peers of an answer. */
  readonly #k: number
  readonly #random = new Prng("liars")
  readonly #liars: Array<Named> = []
  readonly #honest: Array<Named> = []
  #invented: ReadonlyArray<Named> | undefined

  constructor(k: number) {
    this.#k = k
  }

  /** Somebody is in the network. */
  add(peer: RoutedPeer, lies: boolean): void {
    const list = lies ? this.#liars : this.#honest
    list.push({ key: Key.fromBytes(peer.peer.bytes), peer: Wire.toWire(peer, true) })
  }

  #named(lie: Lie, target: Key.Key): ReadonlyArray<Kad.Peer> {
    switch (lie) {
      case "fellows":
        return Key.closest(target, this.#liars, this.#k).map(({ peer }) => peer)
      case "addresses":
        return Key.closest(target, this.#honest, this.#k).map(({ peer }) => ({
          ...peer,
          addrs: [nowhere(this.#random)]
        }))
      case "silence":
        return []
      case "inventions": {
        this.#invented ??= invent(this.#random)
        const at = position(this.#invented, target)
        const near = this.#invented.slice(Math.max(0, at - drawnFrom / 2), at + drawnFrom / 2)
        return Array.from({ length: this.#k }, () => this.#random.pick(near)?.peer).filter((peer) => peer !== undefined)
      }
    }
  }

  /** How one of them answers. */
  handler(lie: Lie) {
    const answer = (question: Kad.Kad): Kad.Kad | undefined => {
      const { key, type } = question
      // It says that it has taken what it is given.
      if (type === "PutValue") return question
      if (type === "AddProvider") return undefined
      return Kad.make(type, { key, closerPeers: this.#named(lie, Key.fromBytes(key)) })
    }
    return (stream: ProtocolStream) =>
      Effect.gen(function* () {
        const { read, write } = byteMessages(stream, { maxSize: Kad.maxRequestSize })
        for (let bytes = yield* read; bytes !== null; bytes = yield* read) {
          const question = Kad.decode(bytes)
          const reply = Result.isSuccess(question) ? answer(question.success) : undefined
          if (reply !== undefined) yield* write(Kad.encode(reply))
        }
      }).pipe(Effect.ignore)
  }
}

/** Where the first is that is not before the target. */
const position = (sorted: ReadonlyArray<Named>, target: Key.Key): number => {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    const one = sorted[middle]
    if (one !== undefined && Key.order(one.key, target) < 0) low = middle + 1
    else high = middle
  }
  return low
}
