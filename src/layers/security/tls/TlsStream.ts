/**
 * A byte stream through TLS: what is written is sealed by `node:tls` and goes to
 * the raw stream, what the raw stream brings is opened.
 *
 * Reading: when nothing opened is left, one batch is taken off the raw stream
 * and fed to TLS, which opens it within the call. What waits here is therefore
 * bounded by one batch. A raw stream that nobody asks for more stops its remote.
 * What TLS opened, and the remote's end, are taken as it pushes them, before the
 * queues and events of Node's streams, which say the same later and for more.
 *
 * Writing: parts are gathered by reference, up to a limit, while TLS is at work
 * on those before; a flush, the limit or the end of the turn hands them over as
 * one. So what waits here is bounded by two times the limit.
 */
import * as Effect from "effect/Effect"
import type * as Scheduler from "effect/Scheduler"
import type { TLSSocket } from "node:tls"
import { untraced } from "../../../data/Untraced.ts"
import {
  type ByteStream,
  ConnectionLost,
  ProtocolViolation,
  ResetLocally,
  StreamError,
  type StreamErrorReason,
  UnexpectedEnd,
  WriteClosed
} from "../../../services/ByteStream.ts"
import { describe, type TlsFault } from "./Alerts.ts"
import { Bridge, type Fork } from "./Bridge.ts"
import { Opened } from "./Opened.ts"

/** Bytes that one write to TLS may have: seven full records, which fit into one write of a socket. */
export const limit = 7 * 16 * 1024

export interface TlsStreamOptions {
  readonly raw: ByteStream
  readonly dispatcher: Scheduler.SchedulerDispatcher
  /** Where the parts of a write are joined, of {@link limit} bytes: TLS has them sealed or copied before the write returns. */
  readonly scratch: Uint8Array
  /** Runs the fibers that wait for the raw stream. */
  readonly fork: Fork
  /** Starts TLS on the raw stream's Duplex. */
  readonly open: (bridge: Bridge) => TLSSocket
}

type Resume = (effect: Effect.Effect<void, StreamError>) => void

export class TlsStream implements ByteStream {
  readonly ownedReads = false
  private readonly raw: ByteStream
  private readonly dispatcher: Scheduler.SchedulerDispatcher
  private readonly scratch: Uint8Array
  private readonly bridge: Bridge
  private readonly tls: TLSSocket

  private error: StreamError | undefined
  private found: TlsFault | undefined

  private readonly opened = new Opened()
  private rawEnded = false
  private readEnded = false

  private parts: Array<Uint8Array> = []
  private gathered = 0
  /** TLS has not finished with what it was given. */
  private busy = false
  private scheduled = false
  private writeClosed = false
  private finished = false
  private waiting: Array<Resume> = []

  constructor({ dispatcher, fork, open, raw, scratch }: TlsStreamOptions) {
    this.raw = raw
    this.dispatcher = dispatcher
    this.scratch = scratch
    this.bridge = new Bridge(raw, fork, (error) => this.lost(error))
    const socket = open(this.bridge)
    this.tls = socket
    socket.push = this.receive
    socket.on("finish", () => {
      this.finished = true
      this.wake(Effect.void)
      this.endIfDone()
    })
    socket.on("error", this.broken)
    socket.on("close", () => {
      // If ever before both ends, nobody shall wait for what does not come.
      if (!this.finished || !this.readEnded) this.fail(new ConnectionLost({ detail: "TLS ended without saying why" }))
    })
    // Where the socket is a server's, errors after the handshake come by this name only.
    socket.on("_tlsError", this.broken)
  }

  /** Why the stream failed, if it did. */
  get failure(): StreamError | undefined {
    return this.error
  }

  /** What went wrong in TLS itself, if something did. */
  get fault(): TlsFault | undefined {
    return this.found
  }

  // Reading

  readonly tryRead = (): Uint8Array | null | undefined => {
    for (;;) {
      const opened = this.opened.take()
      if (opened !== undefined) return opened
      if (this.error !== undefined) return undefined
      if (this.readEnded) return null
      if (!this.pull()) return undefined
    }
  }

  readonly readable: Effect.Effect<void, StreamError> = Effect.suspend(() => {
    if (!this.opened.isEmpty) return Effect.void
    if (this.error !== undefined) return Effect.fail(this.error)
    if (this.readEnded) return Effect.void
    return Effect.flatMap(this.advance, () => this.readable)
  })

  /** Takes the next step: waits for the raw stream and feeds TLS. Look at what has changed afterwards. */
  readonly advance: Effect.Effect<void> = Effect.suspend(() => {
    // Why a handshake failed is told later than that it did.
    if (this.tls.destroyed) return Effect.ignore(this.progress)
    if (this.rawEnded) {
      this.fail(new UnexpectedEnd({ detail: "the connection was cut off: TLS was not closed before it" }))
      return Effect.void
    }
    if (this.pull()) return Effect.void
    return Effect.match(this.raw.readable, {
      onFailure: (error) => this.lost(error),
      onSuccess: () => {
        this.pull()
      }
    })
  })

  /** Takes one batch off the raw stream; false if there was none. */
  readonly pull = (): boolean => {
    if (this.rawEnded) return false
    const batch = this.raw.tryRead()
    if (batch === undefined) return false
    if (batch === null) this.rawEnded = true
    else this.bridge.feed(batch)
    return true
  }

  /** What TLS opened, or the remote's end. */
  private readonly receive = (bytes: Uint8Array | null): boolean => {
    if (bytes === null) {
      this.readEnded = true
      this.endIfDone()
    }
    // A plain array: the `slice` of a Buffer shares its memory.
    else if (this.error === undefined)
      this.opened.push(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    return true
  }

  /** After both ends nothing more comes of TLS. */
  private endIfDone(): void {
    if (this.readEnded && this.finished) this.bridge.destroy()
  }

  // Writing

  readonly tryWrite = (bytes: Uint8Array): number => {
    let taken = 0
    while (taken < bytes.length && this.error === undefined && !this.writeClosed && this.gathered < limit) {
      const n = Math.min(limit - this.gathered, bytes.length - taken)
      this.parts.push(n === bytes.length ? bytes : bytes.subarray(taken, taken + n))
      this.gathered += n
      taken += n
      if (this.gathered === limit) this.seal()
    }
    if (taken > 0 && !this.scheduled) {
      this.scheduled = true
      this.dispatcher.scheduleTask(this.endOfTurn, 0)
    }
    return taken
  }

  readonly writable: Effect.Effect<void, StreamError> = Effect.suspend(() => {
    if (this.error !== undefined) return Effect.fail(this.error)
    if (this.writeClosed) return Effect.fail(new StreamError({ reason: new WriteClosed() }))
    return this.gathered < limit ? Effect.void : this.progress
  })

  readonly flush = (): void => {
    if (this.error !== undefined) return
    this.seal()
    this.raw.flush()
  }

  /** Sends what was taken, then TLS's own end, then that of the raw stream; done when the raw stream has them all. */
  readonly closeWrite: Effect.Effect<void, StreamError> = Effect.suspend(() => {
    if (this.error !== undefined) return Effect.fail(this.error)
    if (!this.writeClosed) {
      this.writeClosed = true
      this.seal()
      if (!this.busy) this.tls.end()
    }
    return this.closed
  })

  private readonly closed: Effect.Effect<void, StreamError> = Effect.suspend(() => {
    if (this.finished) return Effect.void
    if (this.error !== undefined) return Effect.fail(this.error)
    return Effect.flatMap(this.progress, () => this.closed)
  })

  private readonly endOfTurn = (): void => {
    this.scheduled = false
    this.flush()
  }

  /** Gives TLS what is gathered, if it is not busy. It encrypts within the call. */
  private seal(): void {
    if (this.busy || this.gathered === 0) return
    const whole = this.joined()
    this.parts = []
    this.gathered = 0
    this.busy = true
    this.tls.write(whole, this.sealed)
  }

  /** TLS has got rid of what it was given, or cannot; an error says the latter by itself. */
  private readonly sealed = (error?: Error | null): void => {
    if (this.error !== undefined || (error !== null && error !== undefined)) return
    this.busy = false
    this.seal()
    this.raw.flush()
    if (this.writeClosed && !this.pending) this.tls.end()
    this.wake(Effect.void)
  }

  // What a call may have changed, which the compiler does not see on the field itself.
  private get pending(): boolean {
    return this.busy
  }

  private joined(): Uint8Array {
    const [first] = this.parts
    if (first !== undefined && this.parts.length === 1) return first
    let at = 0
    for (const part of this.parts) {
      this.scratch.set(part, at)
      at += part.length
    }
    return this.scratch.subarray(0, at)
  }

  private wake(outcome: Effect.Effect<void, StreamError>): void {
    const waiting = this.waiting
    this.waiting = []
    for (const resume of waiting) resume(outcome)
  }

  /** Waits until TLS has got rid of something, or failed. */
  private readonly progress: Effect.Effect<void, StreamError> = Effect.callback((resume) => {
    this.waiting.push(resume)
    return Effect.sync(() => {
      this.waiting = this.waiting.filter((other) => other !== resume)
    })
  })

  // Ending

  readonly reset = (because: string): void => {
    this.opened.clear()
    this.end(untraced(() => new StreamError({ reason: new ResetLocally({ because }) })))
    this.raw.reset(because)
  }

  /** An error of TLS. It may come from inside of a call into TLS. */
  private readonly broken = (error: Error): void => {
    if (this.error !== undefined) return
    this.found = describe(error)
    const { alerted, detail } = this.found
    this.fail(alerted ? new ConnectionLost({ detail }) : new ProtocolViolation({ layer: "tls", detail }))
  }

  /** Fails both directions. What was opened before can still be read. */
  private fail(reason: StreamErrorReason): void {
    if (this.error !== undefined) return
    // The alert, with which TLS tells the remote why.
    this.raw.flush()
    this.end(untraced(() => new StreamError({ reason })))
    this.raw.reset("the secured connection failed")
  }

  private lost(error: StreamError): void {
    this.end(error)
  }

  /** Ends TLS with the first error that came, and wakes whoever waits; the raw stream wakes its own. */
  private end(error: StreamError): void {
    if (this.error !== undefined) return
    this.error = error
    this.parts = []
    this.gathered = 0
    // Not the TLS socket, which may be only in the making: it ends with its bridge.
    this.bridge.destroy()
    if (this.waiting.length > 0) this.dispatcher.scheduleTask(() => this.wake(Effect.fail(error)), 0)
  }
}
