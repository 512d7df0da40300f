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
  readonly reply: Reply<void> | undefined
}

/** How often it looks for what is due. */
const everyMs = 60_000
/**
 * After the first peer has come, this node is looked up so often, with growing
 * pauses: those who come at the same time are not in each other's answers yet.
 */
const eagerMs = [0, 5000, 10_000, 20_000, 40_000, 80_000]
/** Buckets that are refreshed at once. */
const concurrency = 3
/** For who waits for a refresh of all buckets. */
const patience = "10 minutes"

export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Refresh, never, Scope.Scope> {
  const { chance, count, lookup, self } = options

  /** A place in the bucket, as it is asked for: a remote hashes what it is asked for itself. */
  const placeIn = ({ bucket, last }: Due): Key.Preimage =>
    (last ? undefined : Key.preimageInBucket(self.key, bucket, chance)) ?? { bytes: self.peer.bytes, key: self.key }

  const refresh = (due: Due) =>
    Effect.suspend(() => {
      const { bytes, key } = placeIn(due)
      return Effect.map(lookup({ target: key, question: Kad.make("FindNode", { key: bytes }) }), ({ finished }) =>
        count(finished.complete)
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
              Effect.forEach(
                eagerMs,
                (ms) =>
                  Effect.andThen(
                    Effect.sleep(ms),
                    Effect.sync(() => self.tellUnsafe({ self: true, reply: undefined }))
                  ),
                { discard: true }
              )
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
                if (reply !== undefined) yield* Deferred.succeed(reply, undefined)
                return
              }
              const due = itself && !stale.some(({ last }) => last) ? [...stale, { bucket: 0, last: true }] : stale
              yield* Effect.forEach(due, refresh, { concurrency, discard: true })
              done += due.length
              if (reply !== undefined) yield* Deferred.succeed(reply, undefined)
            }),
          detail: () => `${done} lookups`
        }
      })
  })

  return {
    begin: () => void Queue.offerUnsafe(begun, undefined),
    now: Effect.ignore(actor.ask<void>((reply) => ({ self: false, reply }), patience))
  }
})
