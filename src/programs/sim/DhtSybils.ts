/**
 * Sybils: peers whose ids were made until they were closer to one place than
 * anybody. They answer whoever asks them, and so are in the tables of honest peers
 * near the place; those name them, as liars all over the network do. What is put
 * near the place, and looked for by others, is theirs to keep from them.
 */
import * as Effect from "effect/Effect"
import * as Bytes from "../../data/Bytes.ts"
import type { PeerId } from "../../data/PeerId.ts"
import * as Key from "../../layers/kad/core/Key.ts"
import { another, type Network } from "./DhtFigures.ts"
import * as Dht from "./DhtNode.ts"

const place = Key.fromBytes(Bytes.fromUtf8("the place that sybils crowd"))
/** Bits that they share with it: of some hundred honest peers, hardly one does. */
const shared = 11
/** Values that are put and looked for. */
const count = 20

/** Draws the identities of those who are sybils. */
export const suits =
  (isSybil: (index: number) => boolean) =>
  (index: number, peer: PeerId): boolean =>
    !isSybil(index) || Key.commonPrefix(place, Key.fromBytes(peer.bytes)) >= shared

/** A name of which the key belongs to the place. */
const nameNear = (text: string, keyOf: (name: string) => Uint8Array): string => {
  for (let i = 0; ; i++) {
    const name = `${text} ${i}`
    if (Key.commonPrefix(place, Key.fromBytes(keyOf(name))) >= shared) return name
  }
}

/** Each value is put, and each content provided, by one of the nodes, and looked for by another. */
export const trial = (network: Network, nodes: ReadonlyArray<Dht.DhtNode>, name: string) =>
  Effect.gen(function* () {
    const random = network.world.random.fork(name)
    const tally = new Dht.Tally()
    const drawn = Array.from({ length: count }, (_, i) => ({
      value: nameNear(`${name} ${i}`, Dht.keyOf),
      content: nameNear(`${name} ${i}`, Dht.contentOf),
      from: random.pick(nodes)
    }))
    yield* Effect.forEach(
      drawn,
      ({ content, from, value }) =>
        Effect.gen(function* () {
          if (from === undefined) return
          const told = new Dht.Tally()
          yield* Dht.ask(network, told, from, `putting ${value}`, Dht.put(value), () => true)
          yield* Dht.getValue(network, tally, another(random, nodes, from), value)
          yield* Dht.ask(network, told, from, `providing ${content}`, Dht.provide(content), () => true)
          // Announcements have no answer; they are on their way.
          yield* Effect.sleep("5 seconds")
          yield* Dht.findProvider(network, tally, another(random, nodes, from), content, from)
        }),
      { concurrency: 4, discard: true }
    )
    return tally
  })
