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
import type { PeerStoreError } from "../../../services/PeerStore.ts"
import type { Storage } from "../core/Store.ts"
import type { Change, Table } from "../core/Table.ts"
import * as Module from "./Module.ts"
import { describe, failed } from "./Open.ts"

export interface WriterOptions {
  readonly path: string
  readonly table: Table
  /** Writes all or none; may throw. */
  readonly commit: (changes: Iterable<Change>) => void
  /** Waits until what was committed is safe. */
  readonly sync: Effect.Effect<void, PlatformError.PlatformError>
}

/** For the disk to take a group. */
const syncDeadline = Duration.seconds(30)

type Group = Deferred.Deferred<void, PeerStoreError>

export const make = ({ commit, path, sync, table }: WriterOptions): Effect.Effect<Storage, never, Scope.Scope> =>
  Effect.gen(function* () {
    const work = Latch.makeUnsafe(false)
    /** Of the changes that are not yet committed. */
    let gathering: Group | undefined
    /** Of those that are committed and not yet synced. */
    let syncing: Group | undefined
    let closed = false

    const commitChanges = (): PeerStoreError | undefined => {
      const changes = table.takeChanges()
      if (changes.size === 0) return undefined
      try {
        commit(changes.values())
        return undefined
      } catch (thrown) {
        table.undo(changes)
        return failed(path, Module.describe(thrown))
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
        Effect.mapError((why) => failed(path, `what was written may not be on the disk: ${why}`)),
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
      refusal: () => (closed ? failed(path, "it is closed") : undefined),
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
