/**
 * Crawling: everyone who is in a DHT, by asking each server for its whole
 * table, bucket by bucket, and then those that it told of.
 *
 * It ends by itself: each peer is visited once, and `maxPeers` bounds how many.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Kad from "../../data/messages/Kad.ts"
import * as PeerId from "../../data/PeerId.ts"
import type { KadCrawled } from "../../services/Kad.ts"
import { NobodyToAsk, type RoutedPeer, type RoutingErrorReason } from "../../services/PeerRouting.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import * as Key from "./core/Key.ts"
import { Preimages } from "./core/Preimages.ts"
import type { Dht } from "./Dht.ts"
import * as Rpc from "./Rpc.ts"
import * as Wire from "./Wire.ts"

/** Peers that are visited at once. */
const concurrency = 32
/** Buckets of a peer that are asked for: deeper ones would need a key that takes long to find, see Preimages. */
const maxShared = 15
/** Answers in a row that told of nobody new, after which a peer's deeper buckets are left. */
const idleAnswers = 2

/** Places that are tried in one turn, well under a millisecond, and in all, after which a bucket is left. */
const triesOfTurn = 256
const maxTries = 2 ** 22

/** What to ask a peer for a bucket of its table; others have their turns while it is found. */
const placeIn = (preimages: Preimages, own: Key.Key, shared: number) =>
  Effect.gen(function* () {
    const bucket = Key.flip(own, shared)
    for (;;) {
      const found = preimages.find(bucket, shared + 1)
      if (found !== undefined || preimages.tried >= maxTries) return found
      preimages.advance(triesOfTurn)
      yield* Effect.yieldNow
    }
  })

/** Asks a peer for its table. */
const visit = Effect.fnUntraced(function* (dht: Dht, to: RoutedPeer, preimages: Preimages) {
  const own = Key.fromBytes(to.peer.bytes)
  const belief = { addresses: dht.settings.addresses, known: dht.known, readings: dht.readings }
  const began = yield* monotonicMs
  const knows = new Map<string, RoutedPeer>()
  for (let shared = 0, idle = 0; shared <= maxShared && idle < idleAnswers; shared++) {
    const asked = yield* placeIn(preimages, own, shared)
    if (asked === undefined) break
    const answer = yield* dht.rpc.request(to, Kad.make("FindNode", { key: asked.bytes }))
    const before = knows.size
    for (const one of Wire.believed(belief, to, answer.closerPeers, dht.settings.k)) {
      // Nobody is dialled where this realm does not lead.
      if (one.addresses.length > 0) knows.set(one.peer.toString(), one)
    }
    idle = knows.size === before ? idle + 1 : 0
  }
  return { knows: [...knows.values()], ms: (yield* monotonicMs) - began }
})

/** Visits all that can be found from the peers of the own table; tells of each as it is visited. */
export const crawl = (
  dht: Dht,
  maxPeers: number,
  emit: (crawled: KadCrawled) => void
): Effect.Effect<void, RoutingErrorReason> =>
  Effect.gen(function* () {
    const random = yield* Random.Random
    const preimages = new Preimages(() => random.nextDoubleUnsafe())
    const { realm } = dht.settings
    const seen = new Map<string, RoutedPeer>()
    const learn = (peers: ReadonlyArray<RoutedPeer>): ReadonlyArray<RoutedPeer> =>
      peers.filter((one) => {
        const id = one.peer.toString()
        if (seen.has(id) || seen.size >= maxPeers || PeerId.equals(one.peer, dht.self)) return false
        seen.set(id, one)
        return true
      })
    let frontier = learn(dht.contacts())
    if (frontier.length === 0) {
      return yield* Effect.fail(new NobodyToAsk({ detail: `no peer that speaks ${dht.settings.protocol} is known` }))
    }
    while (frontier.length > 0) {
      const next: Array<RoutedPeer> = []
      yield* Effect.forEach(
        frontier,
        (peer) =>
          Effect.match(visit(dht, peer, preimages), {
            onFailure: (failure) => emit({ realm, peer, ms: undefined, knows: 0, failure: Rpc.describe(failure) }),
            onSuccess: ({ knows, ms }) => {
              next.push(...learn(knows))
              emit({ realm, peer, ms, knows: knows.length, failure: undefined })
            }
          }),
        { concurrency, discard: true }
      )
      frontier = next
    }
  })
