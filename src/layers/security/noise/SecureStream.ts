/**
 * The transport phase: a byte stream that seals what is written to the raw
 * stream under it and opens what is read from it.
 *
 * Reading: a batch of the raw stream is opened at once, message by message,
 * straight out of the memory lent, because it is lent no longer than that. Its
 * plaintext is lent on in turn, in a buffer that is used again from the next
 * read on. What waits here is therefore bounded by one batch and one partial
 * message.
 *
 * Writing: parts are gathered by reference and sealed as one message when
 * flushed, when the largest message is full, or when the turn ends. Should the
 * raw stream not take a sealed message whole, its rest is kept, nothing more is
 * taken, and one fiber waits for room; so what waits here is bounded by one
 * sealed and one gathered message. That fiber ends with the backlog or the raw
 * stream.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scheduler from "effect/Scheduler"
import {
  type ByteStream,
  ProtocolViolation,
  ResetLocally,
  StreamError,
  type StreamErrorReason,
  UnexpectedEnd,
  WriteClosed
} from "../../../services/ByteStream.ts"
import { untraced } from "../../../data/Untraced.ts"
import { Buffers } from "../../internal/Buffers.ts"
import { FrameReader, headerSize, writeLength } from "./Frames.ts"
import { type CipherState, maxMessage, maxPlaintext, tagSize } from "./SymmetricState.ts"

export interface SecureStreamOptions {
  readonly raw: ByteStream
  readonly send: CipherState
  readonly receive: CipherState
  /** What came behind the handshake, owned. */
  readonly early: Uint8Array
  readonly dispatcher: Scheduler.SchedulerDispatcher
  /** Runs the fiber that waits for room. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

/** Where parts are copied together: one pass of the cipher is cheaper than two. Sealing is synchronous, so one serves all connections. */
const scratch = new Uint8Array(maxPlaintext)

/** Sealed messages, for as long as it takes to hand them over. */
const sealedMessages = new Buffers(headerSize + maxMessage, 4)

/** The plaintext of one batch, until the next read: of as much as a socket gives at once, and a message that began before it. */
const plaintexts = new Buffers(128 * 1024 + maxMessage, 4)

/** Up to here plaintext has memory of its own, so that a connection on which little comes holds little. */
const smallBatch = 4096

type Resume = (effect: Effect.Effect<void, StreamError>) => void

export class SecureStream implements ByteStream {
  readonly ownedReads = false
  readonly copiesWrites = false
  private readonly raw: ByteStream
  private readonly send: CipherState
  private readonly receive: CipherState
  private readonly dispatcher: Scheduler.SchedulerDispatcher
  private readonly fork: SecureStreamOptions["fork"]

  private error: StreamError | undefined

  private readonly frames = new FrameReader()
  /** Plaintext that was not read yet. */
  private opened: Uint8Array | undefined
  /** The buffer that plaintext is or was lent in. */
  private lent: Uint8Array | undefined
  private readEnded = false

  private parts: Array<Uint8Array> = []
  private gathered = 0
  /** What the raw stream did not take of a sealed message, and the buffer that it is in. */
  private backlog: Uint8Array | undefined
  private backlogBuffer: Uint8Array | undefined
  /** The fiber that waits for room is at work. */
  private draining = false
  private writeClosed = false
  private scheduled = false
  private waiting: Array<Resume> = []

  constructor(options: SecureStreamOptions) {
    this.raw = options.raw
    this.send = options.send
    this.receive = options.receive
    this.dispatcher = options.dispatcher
    this.fork = options.fork
    if (options.early.length > 0) this.open(options.early)
  }

  // What a call may have changed, which the compiler does not see on the fields themselves.
  private get failed(): StreamError | undefined {
    return this.error
  }
  private get pending(): boolean {
    return this.backlog !== undefined
  }

  // Reading

  tryRead(): Uint8Array | null | undefined {
    for (;;) {
      const { opened } = this
      if (opened !== undefined) {
        this.opened = undefined
        return opened
      }
      this.takeBack()
      if (this.error !== undefined) return undefined
      if (this.readEnded) return null
      if (!this.pull()) return undefined
    }
  }

  get readable(): Effect.Effect<void, StreamError> {
    return Effect.suspend(() => this.untilReadable())
  }

  private untilReadable(): Effect.Effect<void, StreamError> {
    if (this.opened !== undefined) return Effect.void
    if (this.error !== undefined) return Effect.fail(this.error)
    if (this.readEnded) return Effect.void
    return Effect.matchEffect(this.raw.readable, {
      onFailure: (error) => Effect.fail(this.lost(error)),
      onSuccess: () => {
        this.pull()
        return this.untilReadable()
      }
    })
  }

  whenReadable(wake: () => void): boolean {
    if (this.opened !== undefined || this.error !== undefined || this.readEnded) return false
    return this.raw.whenReadable?.(wake) ?? false
  }

  /** Takes one batch off the raw stream; false if there was none. */
  private pull(): boolean {
    const batch = this.raw.tryRead()
    if (batch === undefined) return false
    if (batch !== null) this.open(batch)
    else if (this.frames.partial) {
      this.fail(new UnexpectedEnd({ detail: "the connection was cut inside a noise message" }))
    } else this.readEnded = true
    return true
  }

  private open(batch: Uint8Array): void {
    const target = this.plaintext(this.frames.held + batch.length)
    let filled = 0
    this.frames.feed(batch)
    for (let message = this.frames.next(); message !== undefined; message = this.frames.next()) {
      const size = this.receive.decryptInto(message, target, filled)
      if (size === undefined) {
        this.fail(
          new ProtocolViolation({
            layer: "noise",
            detail: this.receive.exhausted ? "too many messages for one key" : "a message does not authenticate"
          })
        )
        break
      }
      filled += size
    }
    this.lent = target
    if (filled > 0) this.opened = target.subarray(0, filled)
  }

  /** Memory for so many bytes. */
  private plaintext(length: number): Uint8Array {
    return length > smallBatch && length <= plaintexts.size ? plaintexts.take() : new Uint8Array(length)
  }

  /** What was lent is lent no longer. */
  private takeBack(): void {
    if (this.lent === undefined) return
    plaintexts.give(this.lent)
    this.lent = undefined
  }

  // Writing

  tryWrite(bytes: Uint8Array): number {
    if (this.error !== undefined || this.writeClosed || this.backlog !== undefined) return 0
    let taken = 0
    while (taken < bytes.length && this.backlog === undefined && this.error === undefined) {
      const n = Math.min(maxPlaintext - this.gathered, bytes.length - taken)
      this.parts.push(n === bytes.length ? bytes : bytes.subarray(taken, taken + n))
      this.gathered += n
      taken += n
      if (this.gathered === maxPlaintext) this.seal()
    }
    if (taken > 0 && !this.scheduled) {
      this.scheduled = true
      this.dispatcher.scheduleTask(this.endOfTurn, 0)
    }
    return taken
  }

  get writable(): Effect.Effect<void, StreamError> {
    return Effect.suspend(() => {
      if (this.error !== undefined) return Effect.fail(this.error)
      if (this.writeClosed) return Effect.fail(new StreamError({ reason: new WriteClosed() }))
      return this.backlog === undefined ? Effect.void : this.drained
    })
  }

  flush(): void {
    if (this.error !== undefined) return
    if (this.backlog === undefined) this.seal()
    this.raw.flush()
  }

  get closeWrite(): Effect.Effect<void, StreamError> {
    return Effect.suspend(() => {
      if (this.error !== undefined) return Effect.fail(this.error)
      this.flush()
      this.writeClosed = true
      if (this.failed !== undefined) return Effect.fail(this.failed)
      // With a backlog, the fiber that sends it closes the raw stream behind it.
      return this.pending ? this.drained : this.raw.closeWrite
    })
  }

  private readonly endOfTurn = (): void => {
    this.scheduled = false
    this.flush()
  }

  /** Seals what is gathered and hands it to the raw stream. Only when there is no backlog. */
  private seal(): void {
    if (this.gathered === 0) return
    const size = headerSize + this.gathered + tagSize
    const buffer = this.raw.copiesWrites === true ? sealedMessages.take() : new Uint8Array(size)
    writeLength(buffer, this.gathered + tagSize)
    if (this.send.encryptInto(this.joined(), buffer, headerSize) === undefined) {
      return this.fail(new ResetLocally({ because: "too many noise messages for one key" }))
    }
    this.parts = []
    this.gathered = 0
    this.handOver(buffer.subarray(0, size), buffer)
    if (this.backlog === undefined || this.draining) return
    this.draining = true
    this.fork(this.drain)
  }

  /** Writes to the raw stream, and keeps what it does not take. */
  private handOver(message: Uint8Array, buffer: Uint8Array): void {
    const taken = this.raw.tryWrite(message)
    const whole = taken === message.length
    this.backlog = whole ? undefined : message.subarray(taken)
    this.backlogBuffer = whole ? undefined : buffer
    if (whole && this.raw.copiesWrites === true) sealedMessages.give(buffer)
  }

  private joined(): ReadonlyArray<Uint8Array> {
    if (this.parts.length === 1) return this.parts
    let at = 0
    for (const part of this.parts) {
      scratch.set(part, at)
      at += part.length
    }
    return [scratch.subarray(0, at)]
  }

  /** Sends the backlog, then what was gathered behind it, then the end if it is due. */
  private sendBacklog(): Effect.Effect<void, StreamError> {
    if (this.error !== undefined) return Effect.fail(this.error)
    return Effect.flatMap(this.raw.writable, () => {
      const { backlog, backlogBuffer } = this
      // Dropped meanwhile: the stream has failed.
      if (backlog === undefined || backlogBuffer === undefined) return this.sendBacklog()
      this.handOver(backlog, backlogBuffer)
      if (this.pending) return this.sendBacklog()
      this.seal()
      if (this.pending) return this.sendBacklog()
      // In the same step: a backlog that forms from now on needs a drain of its own.
      this.draining = false
      if (this.failed !== undefined) return Effect.fail(this.failed)
      this.raw.flush()
      return this.writeClosed ? this.raw.closeWrite : Effect.void
    })
  }

  private get drain(): Effect.Effect<void> {
    return Effect.match(
      Effect.suspend(() => this.sendBacklog()),
      {
        onFailure: (error) => this.wake(Effect.fail(this.lost(error))),
        onSuccess: () => this.wake(Effect.void)
      }
    )
  }

  private wake(outcome: Effect.Effect<void, StreamError>): void {
    const waiting = this.waiting
    this.waiting = []
    for (const resume of waiting) resume(outcome)
  }

  private get drained(): Effect.Effect<void, StreamError> {
    return Effect.callback((resume) => {
      this.waiting.push(resume)
      return Effect.sync(() => {
        this.waiting = this.waiting.filter((other) => other !== resume)
      })
    })
  }

  // Ending

  reset(because: string): void {
    if (this.error === undefined) {
      // Not taken back: its reader may still be at it.
      this.opened = undefined
      this.lent = undefined
      this.error = untraced(() => new StreamError({ reason: new ResetLocally({ because }) }))
    }
    this.drop()
    this.raw.reset(because)
  }

  /** Fails both directions. What authenticated before can still be read. */
  private fail(reason: StreamErrorReason): void {
    this.lost(untraced(() => new StreamError({ reason })))
    this.raw.reset("the secured connection failed")
  }

  /** The error of the stream: the first one that came. */
  private lost(error: StreamError): StreamError {
    this.error ??= error
    this.drop()
    return this.error
  }

  private drop(): void {
    this.parts = []
    this.gathered = 0
    this.backlog = undefined
    this.backlogBuffer = undefined
  }
}
