/**
 * A question about a place, put to those closest to it; and where these are a
 * crowd, to the whole region in which the honest ones must be. Those of the
 * region are then who is to hold what is put.
 *
 * ```
 * who asks
 *  ├─ the lookup
 *  ├─ lookups in the region, few at once
 *  └─ one fiber a peer of the region that is asked, few at once
 * ```
 *
 * What it costs is bounded: see Region, and `maxAsked`.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Bytes from "../../data/Bytes.ts"
import * as Kad from "../../data/messages/Kad.ts"
import type { PeerId } from "../../data/PeerId.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import type { Part } from "./core/Coverage.ts"
import type { Density } from "./core/Density.ts"
import * as Key from "./core/Key.ts"
import type { Progress } from "./core/Query.ts"
import { Region } from "./core/Region.ts"
import type { Dht, Settings } from "./Dht.ts"
import type { Found, Wanted } from "./Lookup.ts"
import { Places } from "./Places.ts"
import * as Wire from "./Wire.ts"

/** What is needed of a DHT to ask in it. */
export interface Asker extends Pick<Dht, "density" | "known" | "lookup" | "readings"> {
  readonly settings: Pick<Settings, "addresses" | "alpha" | "k">
  readonly rpc: Pick<Dht["rpc"], "request">
  readonly chance: Key.Chance
  /** The network that a peer is in, by its connection if there is one. */
  readonly groupOf: (peer: RoutedPeer) => Effect.Effect<string | undefined>
  /** A place is crowded. */
  readonly crowded: () => void
}

/** Peers of a region that are asked, as a multiple of `k`. */
const maxAsked = 6
/** Places of a region that are looked up at once. */
const atOnce = 3
/** Places that are tried in one turn, well under a millisecond, and turns after which a part is left. */
const triesOfTurn = 256
const maxTurns = 1024

/** Runs the question to its end. */
export const run = (dht: Asker, wanted: Wanted): Effect.Effect<Found> =>
  Effect.gen(function* () {
    const asked = new Set<string>()
    const found = yield* dht.lookup({
      ...wanted,
      onAnswer: (answer, from, peers) => {
        asked.add(from.peer.toString())
        return wanted.onAnswer?.(answer, from, peers)
      }
    })
    const density = (yield* dht.density)(wanted.target)
    if (density === undefined || found.finished.reason === "stopped") return found
    // What is looked for with few answers is not there: were those that are known of made to be so close?
    const { nearest, progress } = found.finished
    if (!density.isCrowded(wanted.need === undefined ? progress.closest : nearest)) return found
    dht.crowded()
    return yield* inRegion(dht, wanted, found, density, asked)
  })

const inRegion = Effect.fnUntraced(function* (
  dht: Asker,
  wanted: Wanted,
  first: Found,
  density: Density,
  asked: ReadonlySet<string>
) {
  const { settings } = dht
  const region = new Region(density)
  const places = new Map<string, RoutedPeer>()
  let progress = first.finished.progress
  const took = (found: Found, part?: Part) => {
    for (const one of [...found.closest, ...found.holders]) places.set(one.peer.toString(), one)
    region.found(found.finished, part)
  }
  const report = (learnt: ReadonlyArray<RoutedPeer>, more: Pick<Progress, "answered" | "asked" | "failed">) =>
    Effect.sync(() => {
      progress = {
        ...progress,
        asked: progress.asked + more.asked,
        answered: progress.answered + more.answered,
        failed: progress.failed + more.failed
      }
      wanted.onProgress?.(learnt, progress)
    })

  // ---- who is there

  took(first)
  const explore = Effect.gen(function* () {
    for (let part = region.next(); part !== undefined; part = region.next()) {
      const place = yield* placeIn(part, dht.chance)
      if (place === undefined) continue
      const question = Kad.make("FindNode", { key: place.bytes })
      // With all of the closest, and not as a measure of the network, since it is beside a crowd.
      const found = yield* dht.lookup({ target: place.key, question, need: settings.k })
      took(found, part)
      yield* report([], found.finished.progress)
    }
  })
  yield* Effect.forEach(Array.from({ length: atOnce }), () => explore, { concurrency: "unbounded", discard: true })
  const groups = new Map<string, string>()
  for (const one of places.values()) {
    const group = yield* dht.groupOf(one)
    if (group !== undefined) groups.set(one.peer.toString(), group)
  }
  const holders = region
    .chosen(maxAsked * settings.k, ({ peer }) => groups.get(peer.toString()))
    .map(({ peer }) => places.get(peer.toString()) ?? { peer, addresses: dht.known(peer) })
  const found: Found = { ...first, holders, region: density.region }
  if (wanted.onAnswer === undefined) return found

  // ---- what they know

  const { question } = wanted
  const belief = { addresses: settings.addresses, known: dht.known, readings: dht.readings }
  /** Where who is looked for is said to be. */
  const itself = new Places(() => [])
  let told: PeerId | undefined
  const enough = yield* Deferred.make<void>()
  const ask = (to: RoutedPeer) =>
    Effect.matchEffect(dht.rpc.request(to, question), {
      onFailure: () => report([], { asked: 1, answered: 0, failed: 1 }),
      onSuccess: (answer) => {
        if (wanted.refuse?.(answer) !== undefined) return report([], { asked: 1, answered: 0, failed: 1 })
        const peers = Wire.believed(belief, to, answer.closerPeers, 2 * settings.k).filter(
          ({ addresses }) => addresses.length > 0
        )
        for (const one of peers) {
          if (!Bytes.equals(one.peer.bytes, question.key)) continue
          told = one.peer
          itself.told(one)
        }
        const isEnough = wanted.onAnswer?.(answer, to, peers) === true
        const reported = report(peers, { asked: 1, answered: 1, failed: 0 })
        return isEnough ? Effect.andThen(reported, Deferred.succeed(enough, undefined)) : reported
      }
    })
  const askAll = Effect.gen(function* () {
    const others = holders.filter(({ peer }) => !asked.has(peer.toString()))
    yield* Effect.forEach(others, ask, { concurrency: settings.alpha, discard: true })
    // Who is looked for knows best where it is.
    if (told !== undefined && !asked.has(told.toString())) yield* ask({ peer: told, addresses: itself.of(told) })
  })
  yield* Effect.raceFirst(askAll, Deferred.await(enough))
  return found
})

/** Others have their turns while it is found. */
const placeIn = (part: Part, chance: Key.Chance): Effect.Effect<Key.Preimage | undefined> =>
  Effect.gen(function* () {
    for (let turn = 0; turn < maxTurns; turn++) {
      const found = Key.preimage(part.key, part.length, chance, triesOfTurn)
      if (found !== undefined) return found
      yield* Effect.yieldNow
    }
    return undefined
  })
