/** The questions of the services, put to one DHT. What fails, fails with a reason of a routing error. */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Bytes from "../../data/Bytes.ts"
import * as Kad from "../../data/messages/Kad.ts"
import * as PeerId from "../../data/PeerId.ts"
import type { KadAnswer } from "../../services/Kad.ts"
import {
  NobodyToAsk,
  NotFound,
  type RoutedPeer,
  type RoutingErrorReason,
  type RoutingOptions,
  type RoutingProgress,
  RoutingTimeout
} from "../../services/PeerRouting.ts"
import * as Key from "./core/Key.ts"
import type * as Query from "./core/Query.ts"
import type { Dht } from "./Dht.ts"
import type { Found, Wanted } from "./Lookup.ts"
import { Places } from "./Places.ts"
import * as Wire from "./Wire.ts"

/** The name of this routing. */
export const router = "kad"

export const deadlineOf = (options: RoutingOptions | undefined): Duration.Duration =>
  Duration.fromInputUnsafe(options?.deadline ?? "1 minute")

/** Ends a question with its deadline. */
export const within = (deadline: Duration.Duration, answered: () => number) =>
  Effect.timeoutOrElse({
    duration: deadline,
    orElse: () => Effect.fail(new RoutingTimeout({ afterMs: Duration.toMillis(deadline), asked: answered() }))
  })

/** Providers that one question gives, at most. */
export const maxProviders = 4096

/** How far a lookup is, as the services tell it. */
export const reporting = (
  dht: Dht,
  emit: (step: RoutingProgress) => void
): ((learnt: ReadonlyArray<RoutedPeer>, progress: Query.Progress) => void) => {
  const places = new Map<string, RoutedPeer>()
  return (learnt, { answered, asked, closest, failed, hops }) => {
    for (const one of learnt) if (!places.has(one.peer.toString())) places.set(one.peer.toString(), one)
    emit({
      router,
      learnt,
      asked,
      answered,
      failed,
      hops,
      closest: closest.map(({ peer }) => places.get(peer.toString()) ?? { peer, addresses: dht.known(peer) })
    })
  }
}

/** A lookup that is told of as it goes, ends with the deadline, and needs somebody to ask. */
const ask = (
  dht: Dht,
  wanted: Wanted,
  options: RoutingOptions | undefined,
  onProgress?: (progress: RoutingProgress) => void,
  looking: (wanted: Wanted) => Effect.Effect<Found> = dht.question
): Effect.Effect<Found, RoutingErrorReason> =>
  Effect.suspend((): Effect.Effect<Found, RoutingErrorReason> => {
    if (dht.size() === 0) {
      const { protocol } = dht.settings
      return Effect.fail(new NobodyToAsk({ detail: `no peer that speaks ${protocol} is known` }))
    }
    let answered = 0
    const report = reporting(dht, (step) => {
      onProgress?.(step)
      options?.onProgress?.(step)
    })
    const told: Wanted["onProgress"] = (learnt, progress) => {
      answered = progress.answered
      report(learnt, progress)
    }
    const needed = onProgress !== undefined || options?.onProgress !== undefined
    return looking({
      ...wanted,
      onProgress: needed ? told : (_, progress) => void (answered = progress.answered)
    }).pipe(within(deadlineOf(options), () => answered))
  })

/** Nobody knew, or nobody could be reached. */
const nothing = ({ finished: { progress } }: Found): RoutingErrorReason =>
  progress.answered > 0
    ? new NotFound({ asked: progress.answered })
    : new NobodyToAsk({
        detail:
          progress.asked === 1
            ? "the one peer that is known did not answer"
            : `none of the ${progress.asked} peers that are known answered`
      })

/**
 * Where a peer is. It is asked itself as soon as others tell of it, and what is
 * proven by that is all that counts; of who does not answer in the time of a
 * lookup, such as a client, it is what all have told.
 */
export const findPeer = (
  dht: Dht,
  peer: PeerId.PeerId,
  options: RoutingOptions | undefined
): Effect.Effect<RoutedPeer, RoutingErrorReason> =>
  Effect.suspend((): Effect.Effect<RoutedPeer, RoutingErrorReason> => {
    let met: RoutedPeer | undefined
    const hearsay = new Places(() => [])
    const wanted: Wanted = {
      target: Key.fromBytes(peer.bytes),
      question: Kad.make("FindNode", { key: peer.bytes }),
      need: dht.settings.beta,
      onAnswer: (_, from, peers) => {
        const told = peers.find((one) => PeerId.equals(one.peer, peer))
        if (told !== undefined) hearsay.told(told)
        // Who is asked for itself is there.
        if (PeerId.equals(from.peer, peer)) met = from
        return met !== undefined
      }
    }
    return Effect.flatMap(ask(dht, wanted, options), (looked) => {
      const found = met ?? { peer, addresses: hearsay.of(peer) }
      return found.addresses.length === 0 ? Effect.fail(nothing(looked)) : Effect.succeed(found)
    })
  })

/** The peers closest to a key, whoever they are, and how far the lookup is meanwhile. */
export const closestPeers = (
  dht: Dht,
  key: Uint8Array,
  options: RoutingOptions | undefined,
  onProgress: (progress: RoutingProgress) => void
): Effect.Effect<void, RoutingErrorReason> =>
  ask(
    dht,
    { target: Key.fromBytes(key), question: Kad.make("FindNode", { key }) },
    options,
    onProgress,
    dht.lookup
  ).pipe(Effect.flatMap((found) => (found.finished.progress.answered > 0 ? Effect.void : Effect.fail(nothing(found)))))

/** Providers of a key, as they are learnt; each may come from several. */
export const findProviders = (
  dht: Dht,
  key: Uint8Array,
  options: RoutingOptions | undefined,
  onProvider: (provider: RoutedPeer) => void
): Effect.Effect<void, RoutingErrorReason> =>
  Effect.gen(function* () {
    const belief = { addresses: dht.settings.addresses, known: dht.known, readings: dht.readings }
    for (const provider of yield* dht.providersOf(key)) onProvider(provider)
    const wanted: Wanted = {
      target: Key.fromBytes(key),
      question: Kad.make("GetProviders", { key }),
      onAnswer: ({ providerPeers }, from) => {
        for (const provider of Wire.believed(belief, from, providerPeers, maxProviders)) onProvider(provider)
        return false
      }
    }
    yield* ask(dht, wanted, options)
  })

/** What peers hold under a key, as they answer. */
export const values = (
  dht: Dht,
  key: Uint8Array,
  options: RoutingOptions | undefined,
  onAnswer: (answer: KadAnswer) => void
): Effect.Effect<void, RoutingErrorReason> => {
  let closest: ReadonlyArray<RoutedPeer> = []
  let pending: Array<Omit<KadAnswer, "closest">> = []
  const wanted: Wanted = {
    target: Key.fromBytes(key),
    question: Kad.make("GetValue", { key }),
    refuse: ({ record }) => {
      if (record === undefined) return undefined
      if (!Bytes.equals(record.key, key)) return "it has a record for another key"
      // All values of a search are kept to its end: none may be larger than what could be put.
      return record.value.length > Kad.maxRequestSize ? `it has a value of ${record.value.length} bytes` : undefined
    },
    onAnswer: ({ record }, from) => {
      pending.push({ realm: dht.settings.realm, from, value: record?.value })
      return false
    }
  }
  return Effect.asVoid(
    ask(dht, wanted, options, (progress) => {
      closest = progress.closest
      for (const answer of pending) onAnswer({ ...answer, closest })
      pending = []
    })
  )
}

/** Has the peers closest to a key hold a value; gives those that took it. */
export const putValue = (
  dht: Dht,
  key: Uint8Array,
  value: Uint8Array,
  options: RoutingOptions | undefined
): Effect.Effect<ReadonlyArray<PeerId.PeerId>, RoutingErrorReason> =>
  Effect.gen(function* () {
    const wanted: Wanted = { target: Key.fromBytes(key), question: Kad.make("FindNode", { key }) }
    const found = yield* ask(dht, wanted, options)
    if (found.holders.length === 0) return yield* Effect.fail(nothing(found))
    return yield* putValueAt(dht, key, value, found.holders)
  })

/** Has peers hold a value; gives those that took it. */
export const putValueAt = (
  dht: Dht,
  key: Uint8Array,
  value: Uint8Array,
  peers: ReadonlyArray<RoutedPeer>
): Effect.Effect<ReadonlyArray<PeerId.PeerId>> =>
  Effect.gen(function* () {
    const timeReceived = DateTime.formatIso(DateTime.makeUnsafe(yield* Clock.currentTimeMillis))
    const message = Kad.make("PutValue", { key, record: { key, value, timeReceived } })
    const taken = yield* Effect.forEach(
      peers,
      (peer) =>
        Effect.matchEffect(dht.rpc.request(peer, message), {
          onSuccess: ({ record }) => Effect.succeed(record !== undefined && Bytes.equals(record.value, value)),
          onFailure: () => Effect.succeed(false)
        }),
      { concurrency: dht.settings.alpha }
    )
    return peers.flatMap(({ peer }, i) => (taken[i] === true ? [peer] : []))
  })
