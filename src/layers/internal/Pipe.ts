/**
 * Pipe: two byte streams in memory, joined back to back. What is written to one
 * is read from the other, through a bounded buffer each way. The memory network,
 * the memory transport and tests are made of these.
 *
 * Bytes are copied when they are written, so each side owns what it holds. A
 * waiting reader or writer is never woken inline by the other side: every
 * wake-up goes through the scheduler's queue. A relay of inline wake-ups would
 * nest on the JavaScript stack, and a simulator could not order them.
 */
import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"
import {
  type ByteStream,
  ResetByPeer,
  ResetLocally,
  StreamError,
  type StreamErrorReason,
  WriteClosed
} from "../../services/ByteStream.ts"

export interface Options {
  /** Bytes that may wait in each direction before `tryWrite` takes less. Default 64 KiB. */
  readonly capacity?: number | undefined
  /** The most bytes that one `tryRead` gives. For tests of code that must reassemble. Default: no limit. */
  readonly chunk?: number | undefined
}

/** One end of a pipe. */
export interface PipeEnd extends ByteStream {
  /**
   * What the closing of a socket's scope does. If this end closed its writing
   * side, all it wrote can still be read by the other; otherwise the other end
   * sees a reset, so that an end is only ever announced by `closeWrite`.
   */
  readonly release: () => void
}

type Resume = (effect: Effect.Effect<void, StreamError>) => void

const defaultCapacity = 64 * 1024
/** Smaller pieces are joined while they wait, so that many tiny writes do not become as many objects. */
const small = 1024

/** The bytes on their way in one direction. */
class Direction {
  readonly capacity: number
  private readonly chunk: number
  private pieces: Array<Uint8Array> = []
  private first = 0
  size = 0
  ended = false

  constructor(capacity: number, chunk: number) {
    this.capacity = capacity
    this.chunk = chunk
  }

  put(bytes: Uint8Array): number {
    const n = Math.min(bytes.length, this.capacity - this.size)
    if (n <= 0) return 0
    const tail = this.pieces.length - 1
    const last = tail >= this.first ? this.pieces[tail] : undefined
    if (last !== undefined && last.length + n <= small) {
      const joined = new Uint8Array(last.length + n)
      joined.set(last)
      joined.set(bytes.subarray(0, n), last.length)
      this.pieces[tail] = joined
    } else {
      // Not `bytes.slice`: a Buffer's slice shares its memory.
      const copy = new Uint8Array(n)
      copy.set(n === bytes.length ? bytes : bytes.subarray(0, n))
      this.pieces.push(copy)
    }
    this.size += n
    return n
  }

  take(): Uint8Array | null | undefined {
    const piece = this.pieces[this.first]
    if (piece === undefined) return this.ended ? null : undefined
    if (piece.length > this.chunk) {
      this.pieces[this.first] = piece.subarray(this.chunk)
      this.size -= this.chunk
      return piece.subarray(0, this.chunk)
    }
    this.size -= piece.length
    this.first += 1
    if (this.first === this.pieces.length) {
      this.pieces = []
      this.first = 0
    } else if (this.first >= 64) {
      this.pieces.splice(0, this.first)
      this.first = 0
    }
    return piece
  }

  drop(): void {
    this.pieces = []
    this.first = 0
    this.size = 0
  }
}

const failure = (reason: StreamErrorReason): Effect.Effect<never, StreamError> =>
  Effect.suspend(() => Effect.fail(new StreamError({ reason })))

const twoWaiters = (side: string): Effect.Effect<never> => Effect.die(`two fibers wait on "${side}" of one byte stream`)

class End implements PipeEnd {
  readonly ownedReads = true
  readonly copiesWrites = true
  readonly readable: Effect.Effect<void, StreamError>
  readonly writable: Effect.Effect<void, StreamError>
  readonly closeWrite: Effect.Effect<void, StreamError>

  private readonly dispatcher: Scheduler.SchedulerDispatcher
  private readonly incoming: Direction
  private readonly outgoing: Direction
  private other: End | undefined
  private error: StreamErrorReason | undefined
  private reader: Resume | undefined
  private writer: Resume | undefined
  private scheduled = false
  private unheard = false

  constructor(dispatcher: Scheduler.SchedulerDispatcher, incoming: Direction, outgoing: Direction) {
    this.dispatcher = dispatcher
    this.incoming = incoming
    this.outgoing = outgoing
    this.readable = Effect.callback<void, StreamError>((resume) => {
      const now = this.readState()
      if (now !== undefined) return resume(now)
      if (this.reader !== undefined) return resume(twoWaiters("readable"))
      this.reader = resume
      return Effect.sync(() => {
        if (this.reader === resume) this.reader = undefined
      })
    })
    this.writable = Effect.callback<void, StreamError>((resume) => {
      const now = this.writeState()
      if (now !== undefined) return resume(now)
      if (this.writer !== undefined) return resume(twoWaiters("writable"))
      this.writer = resume
      return Effect.sync(() => {
        if (this.writer === resume) this.writer = undefined
      })
    })
    this.closeWrite = Effect.suspend(() => {
      if (this.error !== undefined) return failure(this.error)
      this.outgoing.ended = true
      this.wakeLater()
      this.other?.wakeLater()
      return Effect.void
    })
  }

  join(other: End): void {
    this.other = other
  }

  private readState(): Effect.Effect<void, StreamError> | undefined {
    if (this.error !== undefined) return failure(this.error)
    return this.incoming.size > 0 || this.incoming.ended ? Effect.void : undefined
  }

  private writeState(): Effect.Effect<void, StreamError> | undefined {
    if (this.error !== undefined) return failure(this.error)
    if (this.unheard) return failure(new ResetByPeer())
    if (this.outgoing.ended) return failure(new WriteClosed())
    return this.outgoing.size < this.outgoing.capacity ? Effect.void : undefined
  }

  /** Wakes whoever waits at this end and need not wait any more, from the scheduler's queue. */
  private wakeLater(): void {
    if (this.scheduled || (this.reader === undefined && this.writer === undefined)) return
    this.scheduled = true
    this.dispatcher.scheduleTask(this.wake, 0)
  }

  private readonly wake = (): void => {
    this.scheduled = false
    const reader = this.reader
    if (reader !== undefined) {
      const now = this.readState()
      if (now !== undefined) {
        this.reader = undefined
        reader(now)
      }
    }
    const writer = this.writer
    if (writer !== undefined) {
      const now = this.writeState()
      if (now !== undefined) {
        this.writer = undefined
        writer(now)
      }
    }
  }

  private fail(reason: StreamErrorReason): void {
    if (this.error !== undefined) return
    this.error = reason
    this.wakeLater()
  }

  readonly tryRead = (): Uint8Array | null | undefined => {
    if (this.error !== undefined) return undefined
    const bytes = this.incoming.take()
    if (bytes !== undefined && bytes !== null) this.other?.wakeLater()
    return bytes
  }

  readonly tryWrite = (bytes: Uint8Array): number => {
    if (this.error !== undefined || this.outgoing.ended) return 0
    const taken = this.outgoing.put(bytes)
    if (taken > 0) this.other?.wakeLater()
    return taken
  }

  readonly flush = (): void => {}

  readonly reset = (because: string): void => {
    if (this.error !== undefined) return
    const over = this.incoming.ended && this.outgoing.ended
    this.fail(new ResetLocally({ because }))
    this.incoming.drop()
    // As with a socket: once both sides have said their end, there is nothing left to reset.
    if (over) return
    this.outgoing.drop()
    this.other?.fail(new ResetByPeer())
  }

  readonly release = (): void => {
    if (this.error !== undefined) return
    if (!this.outgoing.ended) return this.reset("its scope was closed")
    this.fail(new ResetLocally({ because: "its scope was closed" }))
    this.incoming.drop()
    this.other?.readerGone()
  }

  /** The other end reads no more: writing here fails, but what it wrote is still readable. */
  private readerGone(): void {
    if (this.outgoing.ended) return
    this.unheard = true
    this.outgoing.ended = true
    this.wakeLater()
  }
}

/** A pipe on the dispatcher of a scheduler, made synchronously. */
export const makeUnsafe = (
  dispatcher: Scheduler.SchedulerDispatcher,
  options?: Options
): readonly [PipeEnd, PipeEnd] => {
  const capacity = Math.max(1, options?.capacity ?? defaultCapacity)
  const chunk = Math.max(1, options?.chunk ?? Number.POSITIVE_INFINITY)
  const there = new Direction(capacity, chunk)
  const back = new Direction(capacity, chunk)
  const left = new End(dispatcher, back, there)
  const right = new End(dispatcher, there, back)
  left.join(right)
  right.join(left)
  return [left, right]
}

/**
 * Two byte streams joined back to back.
 *
 * ```
 * const [left, right] = yield* Pipe.pair({ capacity: 1024 })
 * yield* ByteStream.write(left, bytes)
 * const got = yield* ByteStream.read(right)
 * ```
 */
export const pair = (options?: Options): Effect.Effect<readonly [PipeEnd, PipeEnd]> =>
  Effect.map(Scheduler.Scheduler, (scheduler) => makeUnsafe(scheduler.makeDispatcher(), options))
