/**
 * Nodes of a DHT that lie. They are as easily reached as any other and answer
 * at once, so that they come into all tables; but nothing that is looked for is
 * found by their word: they keep no record, tell of no provider, and name
 * others of their kind as the closest, or peers that do not exist.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Kad from "../../data/messages/Kad.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as Key from "../../layers/kad/core/Key.ts"
import * as Wire from "../../layers/kad/Wire.ts"
import { Prng } from "../../layers/simulation/Prng.ts"
import type { NodeInfo } from "../../layers/simulation/SimNode.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import { byteMessages, type ProtocolStream } from "../../services/ProtocolStream.ts"

/** Names fellow liars only, or peers that do not exist. */
export type Lie = "fellows" | "inventions"

/** Somebody to name. */
interface Named {
  readonly key: Key.Key
  readonly peer: Kad.Peer
}

/** Ids that each liar has made up: of so many, some are closer to any target than honest peers are. */
const inventions = 500
/** Peers of an answer. */
const k = 20

/** Peer ids at addresses where nobody is, as one liar has them. */
const invent = (node: NodeInfo): ReadonlyArray<Named> => {
  const random = new Prng(`inventions of ${node.peerId.toString()}`)
  return Array.from({ length: inventions }, () => {
    const id = Uint8Array.of(0x12, 32, ...random.bytes(32))
    const address = Multiaddr.fromStringUnsafe(`/ip4/10.77.${random.below(256)}.${1 + random.below(250)}/tcp/4001`)
    return { key: Key.fromBytes(id), peer: { id, addrs: [address.bytes], connection: "Connected" } }
  })
}

/** The liars of one network. */
export class Liars {
  readonly #all: Array<Named> = []

  add(liar: RoutedPeer): void {
    this.#all.push({ key: Key.fromBytes(liar.peer.bytes), peer: Wire.toWire(liar, true) })
  }

  /** How one of them answers. */
  handler(node: NodeInfo, lie: Lie) {
    const made = lie === "inventions" ? invent(node) : []
    const answer = (question: Kad.Kad): Kad.Kad | undefined => {
      const { key, type } = question
      // It says that it has taken what it is given.
      if (type === "PutValue") return question
      if (type === "AddProvider") return undefined
      const closest = Key.closest(Key.fromBytes(key), lie === "inventions" ? made : this.#all, k)
      return Kad.make(type, { key, closerPeers: closest.map(({ peer }) => peer) })
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
