/**
 * Writes what changes in a table to its file, in groups.
 *
 * ```
 * the store's scope
 *   └─ writer   one fiber: waits for changes, lets the turn end so that more can
 *               join, commits them all at once, syncs, and tells those who wait
 * ```
 *
 * While the disk syncs, this thread goes on, and the next group gathers. A
 * group that cannot be committed is undone in the table and fails for all who
 * wait for it; the next one is tried anew. The writer ends with the scope,
 * after a last group.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import type { Change } from "../Journal.ts"
import type { Storage } from "../Storage.ts"
import * as Module from "./Module.ts"
import { describe } from "./Open.ts"

/** A table that remembers what changed in it. */
export interface Journalled<A> {
  readonly hasChanges: boolean
  /** What changed since the last call; the changes count as stored from here on. */
  takeChanges(): ReadonlyMap<string, Change<A>>
  /** Makes changes undone that were just taken. */
  undo(changes: ReadonlyMap<string, Change<A>>): void
}

export interface WriterOptions<A, E> {
  readonly table: Journalled<A>
  /** The error of the store, of what went wrong in words. */
  readonly failed: (detail: string) => E
  /** Writes all or none; may throw. */
  readonly commit: (changes: Iterable<Change<A>>) => void
  /** Waits until what was committed is safe. */
  readonly sync: Effect.Effect<void, PlatformError.PlatformError>
}

/** For the disk to take a group. */
const syncDeadline = Duration.seconds(30)

export const make = <A, E>({
  commit,
  failed,
  sync,
  table
}: WriterOptions<A, E>): Effect.Effect<Storage<E>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const work = Latch.makeUnsafe(false)
    /** Of the changes that are not yet committed. */
    let gathering: Deferred.Deferred<void, E> | undefined
    /** Of those that are committed and not yet synced. */
    let syncing: Deferred.Deferred<void, E> | undefined
    let closed = false

    const commitChanges = (): E | undefined => {
      const changes = table.takeChanges()
      if (changes.size === 0) return undefined
      try {
        commit(changes.values())
        return undefined
      } catch (thrown) {
        table.undo(changes)
        return failed(Module.describe(thrown))
      }
    }

    const flush = Effect.suspend(() => {
      work.closeUnsafe()
      const group = gathering
      gathering = undefined
      const failure = commitChanges()
      if (group === undefined) return Effect.void
      if (failure !== undefined) return Deferred.fail(group, failure)
      syncing = group
      return Effect.interruptible(sync).pipe(
        Effect.mapError(describe),
        // Without it a disk that hangs would hold up all who wait, and the end of the node.
        Effect.timeoutOrElse({
          duration: syncDeadline,
          orElse: () => Effect.fail(`it did not answer within ${Duration.toSeconds(syncDeadline)} s`)
        }),
        Effect.mapError((why) => failed(`what was written may not be on the disk: ${why}`)),
        Effect.onExit(() =>
          Effect.sync(() => {
            syncing = undefined
          })
        ),
        Effect.exit,
        Effect.flatMap((exit) => Deferred.done(group, exit))
      )
    }).pipe(Effect.uninterruptible)

    // Of two finalizers the later runs first: the fiber has ended when this one writes what is left.
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        closed = true
        return flush
      })
    )
    yield* work.await.pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(flush), Effect.forever, Effect.forkScoped)

    return {
      refusal: () => (closed ? failed("it is closed") : undefined),
      stored: Effect.suspend(() => {
        if (table.hasChanges) {
          gathering ??= Deferred.makeUnsafe()
          return Effect.andThen(work.open, Deferred.await(gathering))
        }
        // Nothing is new, but what was known before may still be on its way.
        return syncing === undefined ? Effect.void : Deferred.await(syncing)
      })
    }
  })
