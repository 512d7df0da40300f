/**
 * A stream of a multiplexed connection as its users see it. It holds nothing but one
 * slot for a waiting reader, one for a waiting writer, and what is to be called
 * at its end; all else is in the session.
 */
import * as Effect from "effect/Effect"
import { untraced } from "../../../data/Untraced.ts"
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
  /** As that of the connection. */
  readonly ownedReads: boolean
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
  Effect.suspend(() => Effect.fail(untraced(() => new StreamError({ reason: reasonOf(failure) }))))

const failWriteClosed: Effect.Effect<never, StreamError> = Effect.suspend(() =>
  Effect.fail(untraced(() => new StreamError({ reason: new WriteClosed() })))
)

const twoWaiters = (side: string): Effect.Effect<never> => Effect.die(`two fibers wait on "${side}" of one stream`)

/** A stream on its carrier. All of it is on the prototype: a connection may have thousands. */
export class Stream<S extends StreamState> implements MuxedStream {
  // Truly private: who logs a stream does not mean all of its connection.
  readonly #carrier: Carrier<S>
  readonly #state: S
  private reader: Resume | undefined
  private writer: Resume | undefined
  /** To be called at the end. */
  private closing: (() => void) | undefined

  constructor(carrier: Carrier<S>, state: S) {
    this.#carrier = carrier
    this.#state = state
    state.owner = this
  }

  get id(): number {
    return this.#state.id
  }

  get ownedReads(): boolean {
    return this.#carrier.ownedReads
  }

  get direction(): "inbound" | "outbound" {
    return this.#state.inbound ? "inbound" : "outbound"
  }

  /** What a reader that waits now gets; `undefined` to go on waiting. */
  private readState(): Effect.Effect<void, StreamError> | undefined {
    if (this.#carrier.session.canRead(this.#state)) return Effect.void
    const { failure } = this.#state
    return failure === undefined ? undefined : fail(failure)
  }

  private writeState(): Effect.Effect<void, StreamError> | undefined {
    const { failure, writeClosed } = this.#state
    if (failure !== undefined) return fail(failure)
    if (writeClosed) return failWriteClosed
    return this.#carrier.session.canWrite(this.#state) ? Effect.void : undefined
  }

  /** Something happened to the stream: called by the shell, after a batch. */
  wake(): void {
    const { reader } = this
    if (reader !== undefined) {
      const now = this.readState()
      if (now !== undefined) {
        this.reader = undefined
        reader(now)
      }
    }
    const { writer } = this
    if (writer !== undefined) {
      const now = this.writeState()
      if (now !== undefined) {
        this.writer = undefined
        writer(now)
      }
    }
    const { closing } = this
    if (closing !== undefined && this.#state.done) {
      this.closing = undefined
      closing()
    }
  }

  tryRead(): Uint8Array | null | undefined {
    const carrier = this.#carrier
    const { session } = carrier
    const before = session.outputSize
    const bytes = session.read(this.#state, carrier.now())
    // Reading may have given window back.
    if (bytes !== undefined && bytes !== null) carrier.took(session.outputSize !== before)
    return bytes
  }

  get readable(): Effect.Effect<void, StreamError> {
    return Effect.callback<void, StreamError>((resume) => {
      const now = this.readState()
      if (now !== undefined) return resume(now)
      if (this.reader !== undefined) return resume(twoWaiters("readable"))
      this.reader = resume
      return Effect.sync(() => {
        if (this.reader === resume) this.reader = undefined
      })
    })
  }

  tryWrite(bytes: Uint8Array): number {
    const taken = this.#carrier.session.write(this.#state, bytes)
    if (taken > 0) this.#carrier.wrote()
    return taken
  }

  get writable(): Effect.Effect<void, StreamError> {
    return Effect.callback<void, StreamError>((resume) => {
      const now = this.writeState()
      if (now !== undefined) return resume(now)
      if (this.writer !== undefined) return resume(twoWaiters("writable"))
      this.writer = resume
      // It may wait for room in the output, which the end of the turn makes.
      this.#carrier.schedule()
      return Effect.sync(() => {
        if (this.writer === resume) this.writer = undefined
      })
    })
  }

  flush(): void {
    this.#carrier.session.announce(this.#state)
    this.#carrier.schedule()
  }

  get closeWrite(): Effect.Effect<void, StreamError> {
    return Effect.suspend(() => {
      const { failure } = this.#state
      if (failure !== undefined) return fail(failure)
      this.#carrier.session.closeWrite(this.#state, this.#carrier.now())
      this.#carrier.schedule()
      return Effect.void
    })
  }

  closeRead(): void {
    this.#carrier.session.closeRead(this.#state, this.#carrier.now())
    this.#carrier.schedule()
  }

  reset(because: string): void {
    this.#carrier.session.reset(this.#state, because)
    this.#carrier.schedule()
  }

  onClosed(done: () => void): void {
    if (this.#state.done) done()
    else {
      const { closing } = this
      this.closing =
        closing === undefined
          ? done
          : () => {
              closing()
              done()
            }
    }
  }
}
