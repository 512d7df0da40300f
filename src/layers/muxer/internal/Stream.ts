/**
 * A stream of a multiplexed connection as its users see it. It holds nothing but one
 * slot for a waiting reader, one for a waiting writer, and those who wait for
 * its end; all else is in the session.
 */
import * as Effect from "effect/Effect"
import {
  ConnectionLost,
  ResetByPeer,
  ResetLocally,
  StreamError,
  type StreamErrorReason,
  WriteClosed
} from "../../../services/ByteStream.ts"
import type { MuxedStream } from "../../../services/StreamMuxer.ts"
import type { Session } from "./Session.ts"
import type { StreamFailure, StreamState } from "./StreamState.ts"

/** What a stream needs of its connection. */
export interface Carrier<S extends StreamState> {
  readonly session: Session<S>
  /** The time in ms, from any origin, never going back. */
  readonly now: () => number
  /** There is something to send, or someone to wake, at the end of the turn. */
  readonly schedule: () => void
  /** As `schedule`, after a write: hands a full message's worth on at once. */
  readonly wrote: () => void
  /** Bytes were read. `answers`: there is something to send for it. */
  readonly took: (answers: boolean) => void
}

type Resume = (effect: Effect.Effect<void, StreamError>) => void

const reasonOf = (failure: StreamFailure): StreamErrorReason => {
  switch (failure._tag) {
    case "ResetByPeer":
      return new ResetByPeer()
    case "ResetLocally":
      return new ResetLocally({ because: failure.because })
    case "ConnectionLost":
      return new ConnectionLost({ detail: failure.detail })
  }
}

const fail = (failure: StreamFailure): Effect.Effect<never, StreamError> =>
  Effect.suspend(() => Effect.fail(new StreamError({ reason: reasonOf(failure) })))

const failWriteClosed: Effect.Effect<never, StreamError> = Effect.suspend(() =>
  Effect.fail(new StreamError({ reason: new WriteClosed() }))
)

const twoWaiters = (side: string): Effect.Effect<never> => Effect.die(`two fibers wait on "${side}" of one stream`)

export const make = <S extends StreamState>(carrier: Carrier<S>, state: S): MuxedStream => {
  const { session } = carrier
  let reader: Resume | undefined
  let writer: Resume | undefined
  let endWaiters: Set<(effect: Effect.Effect<void>) => void> | undefined

  /** What a reader that waits now gets; `undefined` to go on waiting. */
  const readState = (): Effect.Effect<void, StreamError> | undefined => {
    if (session.canRead(state)) return Effect.void
    return state.failure === undefined ? undefined : fail(state.failure)
  }

  const writeState = (): Effect.Effect<void, StreamError> | undefined => {
    if (state.failure !== undefined) return fail(state.failure)
    if (state.writeClosed) return failWriteClosed
    return session.canWrite(state) ? Effect.void : undefined
  }

  state.wake = () => {
    if (reader !== undefined) {
      const now = readState()
      if (now !== undefined) {
        const resume = reader
        reader = undefined
        resume(now)
      }
    }
    if (writer !== undefined) {
      const now = writeState()
      if (now !== undefined) {
        const resume = writer
        writer = undefined
        resume(now)
      }
    }
    if (endWaiters !== undefined && state.done) {
      const waiters = endWaiters
      endWaiters = undefined
      for (const resume of waiters) resume(Effect.void)
    }
  }

  return {
    id: state.id,
    direction: state.inbound ? "inbound" : "outbound",
    ownedReads: true,

    tryRead: () => {
      const before = session.outputSize
      const bytes = session.read(state, carrier.now())
      // Reading may have given window back.
      if (bytes !== undefined && bytes !== null) carrier.took(session.outputSize !== before)
      return bytes
    },

    readable: Effect.callback<void, StreamError>((resume) => {
      const now = readState()
      if (now !== undefined) return resume(now)
      if (reader !== undefined) return resume(twoWaiters("readable"))
      reader = resume
      return Effect.sync(() => {
        if (reader === resume) reader = undefined
      })
    }),

    tryWrite: (bytes) => {
      const taken = session.write(state, bytes)
      if (taken > 0) carrier.wrote()
      return taken
    },

    writable: Effect.callback<void, StreamError>((resume) => {
      const now = writeState()
      if (now !== undefined) return resume(now)
      if (writer !== undefined) return resume(twoWaiters("writable"))
      writer = resume
      // It may wait for room in the output, which the end of the turn makes.
      carrier.schedule()
      return Effect.sync(() => {
        if (writer === resume) writer = undefined
      })
    }),

    flush: () => {
      session.announce(state)
      carrier.schedule()
    },

    closeWrite: Effect.suspend(() => {
      if (state.failure !== undefined) return fail(state.failure)
      session.closeWrite(state, carrier.now())
      carrier.schedule()
      return Effect.void
    }),

    closeRead: () => {
      session.closeRead(state, carrier.now())
      carrier.schedule()
    },

    reset: (because) => {
      session.reset(state, because)
      carrier.schedule()
    },

    closed: Effect.callback<void>((resume) => {
      if (state.done) return resume(Effect.void)
      endWaiters ??= new Set()
      endWaiters.add(resume)
      return Effect.sync(() => endWaiters?.delete(resume))
    })
  }
}
