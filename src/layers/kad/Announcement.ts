/**
 * The first announcement of a key in a DHT, while who provides it waits.
 *
 * The classic way looks up the closest peers and tells all of them. The
 * optimistic one, where it is chosen and the size of the network is known well
 * enough, tells them while it looks, and answers as soon as most of them were
 * told; it goes on in the classic way when too few could be, or they are a crowd.
 *
 * ```
 * scope of the layer
 *  └─ scope of an announcement
 *      └─ one fiber a peer that is told, few at once, the last of them after who asked was answered
 * ```
 *
 * Announcements of which some peers are yet to be told are few: beyond that,
 * who asked waits for all of its own. Interrupted before it answers, it ends.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Kad from "../../data/messages/Kad.ts"
import type { PeerId } from "../../data/PeerId.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import * as Key from "./core/Key.ts"
import { isUsable, OptimisticProvide } from "./core/OptimisticProvide.ts"
import type { Dht, Settings } from "./Dht.ts"
import type { Placed, Wanted } from "./Lookup.ts"
import * as Tell from "./Tell.ts"

/** An announcement came to nothing. */
export class NotAnnounced extends Data.TaggedError("NotAnnounced")<{
  readonly reason: "nobody" | "no address" | "refused"
}> {}

/** What came of it so far. */
export interface Announced {
  /** Peers that were told. */
  readonly told: number
  /** Peers that are being told still. */
  readonly pending: number
  /** Peers that are to hold it: those that were told, are told, and could not be. */
  readonly holders: number
}

/** What is needed of a DHT to announce in it. */
export interface Place
  extends Tell.Teller, Pick<Dht, "addressesOf" | "density" | "lookup" | "question" | "size" | "sizeEstimate"> {
  readonly settings: Pick<Settings, "addresses" | "k">
}

export interface Options {
  readonly dht: Place
  readonly optimistic: boolean
  /** Of the layer. */
  readonly scope: Scope.Scope
}

/** Announcements of which some peers are yet to be told, when who asked has its answer. */
const maxBehind = 32

/** `onTold` hears of each peer that was told, also after who asked has its answer. */
export type Announce = (
  key: Uint8Array,
  onProgress: Wanted["onProgress"],
  onTold?: (peer: PeerId) => void
) => Effect.Effect<Announced, NotAnnounced>

/** A key to announce, and how this node is named to those who are to hold it. */
interface Notice {
  readonly key: Uint8Array
  readonly name: Tell.Name
  readonly onTold: ((peer: PeerId) => void) | undefined
}

export const make = ({ dht, optimistic, scope }: Options): Announce => {
  const { k } = dht.settings
  let behind = 0

  const wantedFor = (key: Uint8Array, onProgress: Wanted["onProgress"]): Wanted => ({
    target: Key.fromBytes(key),
    question: Kad.make("FindNode", { key }),
    onProgress
  })

  /** True when the peer could be told. */
  const tell = (peer: RoutedPeer, { key, name, onTold }: Notice): Effect.Effect<boolean> =>
    Effect.map(Tell.tell(dht, peer, [key], name), (told) => {
      if (told > 0) onTold?.(peer.peer)
      return told > 0
    })

  /** Looks up the closest, and tells those of them that were not told `before`. */
  const classic = (wanted: Wanted, notice: Notice, before?: OptimisticProvide) =>
    Effect.gen(function* () {
      const { holders } = yield* dht.question(wanted)
      const left = holders.filter(({ peer }) => before?.has(Key.contact(peer)) !== true)
      const told = yield* Effect.forEach(left, (peer) => tell(peer, notice), { concurrency: Tell.concurrency })
      const all = told.filter(Boolean).length + (before?.reached ?? 0)
      if (all > 0) return { told: all, pending: 0, holders: Math.max(holders.length, all) }
      if (holders.length === 0) return yield* new NotAnnounced({ reason: "nobody" })
      const unnamed = holders.every((peer) => notice.name(peer) === undefined)
      return yield* new NotAnnounced({ reason: unnamed ? "no address" : "refused" })
    })

  /** Tells while it looks, in a scope that ends when all were told. */
  const early = (wanted: Wanted, notice: Notice, pace: OptimisticProvide, own: Scope.Scope) =>
    Effect.gen(function* () {
      const slots = Semaphore.makeUnsafe(Tell.concurrency)
      // As many as are told, at most; both are bounded by the pace.
      const toTell = yield* Queue.unbounded<Placed>()
      const settled = yield* Queue.unbounded<void>()
      const tellOne = ({ at, contact }: Placed) =>
        slots.withPermit(tell(at, notice)).pipe(
          Effect.flatMap((told) => {
            pace.settled(contact, told)
            return Queue.offer(settled, undefined)
          })
        )
      yield* Effect.forkIn(
        Effect.forever(Effect.flatMap(Queue.take(toTell), (placed) => Effect.forkIn(tellOne(placed), own))),
        own,
        { startImmediately: true }
      )
      let nearest: ReadonlyArray<Placed> = []
      const give = (contacts: ReadonlyArray<Key.Contact>) => {
        const chosen = new Set(contacts)
        for (const placed of nearest) if (chosen.has(placed.contact)) Queue.offerUnsafe(toTell, placed)
      }
      yield* dht.lookup({
        ...wanted,
        onNearest: (placed) => {
          nearest = placed
          const { stop, tell } = pace.step(placed.map(({ contact }) => contact))
          give(tell)
          return stop
        }
      })
      give(pace.finish(nearest.map(({ contact }) => contact)))
      const waits = () => pace.state === "open" || (pace.open > 0 && behind >= maxBehind)
      yield* Effect.whileLoop({ while: waits, body: () => Queue.take(settled), step: () => {} })
      return settled
    })

  /** Until all were told, or the layer ends. */
  const leave = (pace: OptimisticProvide, settled: Queue.Dequeue<void>, own: Scope.Closeable) =>
    Effect.suspend(() => {
      behind++
      const rest = Effect.whileLoop({ while: () => pace.open > 0, body: () => Queue.take(settled), step: () => {} })
      const end = Effect.andThen(
        Effect.sync(() => void behind--),
        Scope.close(own, Exit.void)
      )
      return Effect.forkIn(Effect.ensuring(rest, end), scope, { startImmediately: true })
    })

  const optimistically = (wanted: Wanted, notice: Notice, pace: OptimisticProvide) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const own = yield* Scope.fork(scope)
        const settled = yield* restore(early(wanted, notice, pace, own)).pipe(
          Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
        )
        if (pace.state === "short") {
          yield* Scope.close(own, Exit.void)
          return yield* restore(classic(wanted, notice, pace))
        }
        const so = { told: pace.reached, pending: pace.open, holders: Math.max(k, pace.reached + pace.open) }
        if (pace.open === 0) yield* Scope.close(own, Exit.void)
        else yield* leave(pace, settled, own)
        return so
      })
    )

  return (key, onProgress, onTold) =>
    Effect.gen(function* () {
      const notice: Notice = { key, name: Tell.nameBy(dht, yield* dht.addressesOf(dht.self)), onTold }
      if (dht.size() === 0) return yield* new NotAnnounced({ reason: "nobody" })
      const wanted = wantedFor(key, onProgress)
      const estimate = optimistic ? yield* dht.sizeEstimate : undefined
      if (!isUsable(estimate, k)) return yield* classic(wanted, notice)
      const density = (yield* dht.density)(wanted.target)
      const pace = new OptimisticProvide({ target: wanted.target, estimate, k, density })
      return yield* optimistically(wanted, notice, pace)
    })
}
