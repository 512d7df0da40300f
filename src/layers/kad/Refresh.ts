/**
 * Keeps the buckets of a routing table fresh: each in which nothing was looked
 * up for too long is looked up. A child of the DHT with a clock of its own.
 *
 * A bucket counts as refreshed when a lookup has gone to its end in it and peers
 * answered; nothing else marks it. One that asked nobody is a failure, is counted
 * as one, and is made again at the next turn.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Kad from "../../data/messages/Kad.ts"
import type { ActorRef, Actors, Reply } from "../../services/Actors.ts"
import * as Key from "./core/Key.ts"
import type { Due, RoutingTable } from "./core/RoutingTable.ts"
import type { Found, Wanted } from "./Lookup.ts"

export interface Options {
  readonly actors: Actors["Service"]
  readonly self: Key.Contact
  /** Peers that a lookup finds, where there are so many. */
  readonly k: number
  readonly table: () => RoutingTable
  readonly now: Effect.Effect<number>
  readonly lookup: (wanted: Wanted) => Effect.Effect<Found>
  readonly chance: Key.Chance
  readonly count: (refreshed: boolean) => void
}

export interface Refresh {
  /** The first peer has come: this node makes itself known, and gets to know its neighbours. */
  readonly begin: () => void
  /** Refreshes what is due, and waits for it. */
  readonly now: Effect.Effect<void>
}

interface Message {
  /** This node itself is looked up, due or not. */
  readonly self: boolean
  /** Told when it is done: true when a lookup of this node was among it, and has found `k` peers. */
  readonly reply: Reply<boolean> | undefined
}

/** How often it looks for what is due. */
const everyMs = 60_000
/**
 * After the first peer has come, this node is looked up again and again: those
 * who come at the same time are not in each other's answers yet. The pauses
 * double, and begin when a lookup has ended: where all are slow, more lookups
 * would only make them slower. They are short while too few peers are found,
 * since the network is about to begin then, and who is asked are few.
 */
const eager = { firstMs: 1000, foundMs: 10_000, lastMs: 80_000 }
/** Buckets that are refreshed at once. */
const concurrency = 3
/** For who waits for a refresh of all buckets. */
const patience = "10 minutes"

export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Refresh, never, Scope.Scope> {
  const { chance, count, k, lookup, self } = options

  /** A place in the bucket, as it is asked for: a remote hashes what it is asked for itself. */
  const placeIn = ({ bucket, last }: Due): Key.Preimage =>
    (last ? undefined : Key.preimageInBucket(self.key, bucket, chance)) ?? { bytes: self.peer.bytes, key: self.key }

  /** Gives how many peers were found. */
  const refresh = (due: Due) =>
    Effect.suspend(() => {
      const { bytes, key } = placeIn(due)
      return Effect.map(
        lookup({ target: key, question: Kad.make("FindNode", { key: bytes }) }),
        ({ closest, finished }) => {
          count(finished.complete)
          return closest.length
        }
      )
    })

  const begun = yield* Queue.sliding<void>(1)
  const actor: ActorRef<Message> = yield* options.actors.spawn<Message, never, Scope.Scope>({
    name: "refresh",
    mailbox: 8,
    restart: { times: Number.POSITIVE_INFINITY, within: "1 minute" },
    make: (self) =>
      Effect.gen(function* () {
        let done = 0
        yield* Effect.forkScoped(
          Effect.forever(
            Effect.andThen(
              Effect.sleep(everyMs),
              Effect.sync(() => self.tellUnsafe({ self: false, reply: undefined }))
            )
          )
        )
        yield* Effect.forkScoped(
          Effect.forever(
            Effect.andThen(
              Queue.take(begun),
              Effect.gen(function* () {
                let pauseMs = 0
                for (;;) {
                  const found = yield* Effect.orElseSucceed(
                    self.ask<boolean>((reply) => ({ self: true, reply }), patience),
                    () => false
                  )
                  pauseMs = Math.max(2 * pauseMs, found ? eager.foundMs : eager.firstMs)
                  if (pauseMs > eager.lastMs) return
                  yield* Effect.sleep(pauseMs)
                }
              })
            )
          )
        )
        return {
          receive: ({ reply, self: itself }: Message) =>
            Effect.gen(function* () {
              const table = options.table()
              const stale = table.due(yield* options.now)
              if (table.size === 0) {
                // Nobody to ask: entering the network comes first, and nothing was refreshed.
                if (stale.length > 0) count(false)
                if (reply !== undefined) yield* Deferred.succeed(reply, false)
                return
              }
              const due = itself && !stale.some(({ last }) => last) ? [...stale, { bucket: 0, last: true }] : stale
              const found = yield* Effect.forEach(due, refresh, { concurrency })
              done += due.length
              if (reply !== undefined)
                yield* Deferred.succeed(
                  reply,
                  due.some(({ last }, i) => last && (found[i] ?? 0) >= k)
                )
            }),
          detail: () => `${done} lookups`
        }
      })
  })

  return {
    begin: () => void Queue.offerUnsafe(begun, undefined),
    now: Effect.ignore(actor.ask<boolean>((reply) => ({ self: false, reply }), patience))
  }
})
