/**
 * One `node:net` socket as a byte stream that is pulled.
 *
 * Reading: the socket reads into a buffer that all sockets of a Net layer share.
 * That is sound because the system's read and the callback are one synchronous
 * step: the bytes are lent to the waiting reader, which runs inside the callback.
 * If nobody waits, they are copied and reading stops until they are taken, so at
 * most one batch is held here and TCP's own window holds back the rest.
 *
 * Writing: bytes are copied into a buffer that leaves when it is full, by `flush`
 * or at the end of the turn, so that what one turn writes leaves in one system
 * call. While one buffer is handed over a second one is filled, and no third.
 * That one was taken is told after the turn, so that a turn writes no more than
 * two. All sockets share the buffers; one that has nothing to send has none.
 */
import * as Effect from "effect/Effect"
import type * as Scheduler from "effect/Scheduler"
import type { OnReadOpts, Socket as NetSocket } from "node:net"
import {
  ConnectionLost,
  ResetLocally,
  StreamError,
  type StreamErrorReason,
  WriteClosed
} from "../../services/ByteStream.ts"
import { untraced } from "../../data/Untraced.ts"
import type { Endpoint, Socket } from "../../services/Net.ts"
import { Buffers } from "../internal/Buffers.ts"
import { codeOf, streamReason } from "./NodeErrors.ts"

/** What the sockets of one Net layer share. */
export interface Shared {
  readonly dispatcher: Scheduler.SchedulerDispatcher
  /** Where sockets read into. */
  readonly buffer: Uint8Array
  /** Milliseconds that a closing scope waits, after `closeWrite`, until all has left and the remote has ended too. */
  readonly linger: number
}

/** Bytes that one write to the system has at most; a socket holds twice as many. */
export const writeSize = 256 * 1024

const buffers = new Buffers(writeSize, 8)
/** Where a turn that writes little is gathered. */
const smallBuffers = new Buffers(2048, 64)

const nothing = new Uint8Array(0)

/**
 * Node 22's libuv (below 1.52) reports a reset that follows data as an end. Writing
 * nothing tells them apart: it fails on a socket that was reset.
 */
const hidesResets = (() => {
  const [major = 0, minor = 0] = process.versions.uv.split(".").map(Number)
  return major === 1 && minor < 52
})()

type Resume = (effect: Effect.Effect<void, StreamError>) => void

const failure = (reason: StreamErrorReason): Effect.Effect<never, StreamError> =>
  Effect.suspend(() => Effect.fail(untraced(() => new StreamError({ reason }))))

const twoWaiters = (side: string): Effect.Effect<never> => Effect.die(`two fibers wait on "${side}" of one byte stream`)

/** The reading side, made before the socket because the socket is made with its callback. */
class Inbound {
  held: Uint8Array | undefined
  reader: Resume | undefined
  ended = false
  discarding = false
  /** False while the socket is told not to read. */
  flowing = false

  /** Hands a batch to the waiting reader; false when the socket must stop reading. */
  readonly deliver = (bytes: Uint8Array): boolean => {
    if (this.discarding) return true
    if (this.held !== undefined) {
      const joined = new Uint8Array(this.held.length + bytes.length)
      joined.set(this.held)
      joined.set(bytes, this.held.length)
      this.held = joined
      return (this.flowing = false)
    }
    this.held = bytes
    this.wake()
    if (this.held !== bytes) return true
    this.held = new Uint8Array(bytes)
    return (this.flowing = false)
  }

  wake(): void {
    const reader = this.reader
    if (reader === undefined) return
    this.reader = undefined
    reader(Effect.void)
  }
}

export class NodeSocket implements Socket {
  readonly local: Endpoint
  readonly remote: Endpoint
  readonly ownedReads = false
  readonly copiesWrites = true
  private readonly socket: NetSocket
  private readonly inbound: Inbound
  private readonly shared: Shared
  private error: StreamErrorReason | undefined
  private writer: Resume | undefined
  private writeClosed = false
  /** What waits to be handed to the system, and how much of it is used. */
  private out: Uint8Array | undefined
  private used = 0
  /** What the system was handed and has not taken whole. */
  private sending: Uint8Array | undefined
  private turnScheduled = false
  private wakeScheduled = false
  private closed = false

  constructor(socket: NetSocket, inbound: Inbound, shared: Shared, local: Endpoint, remote: Endpoint) {
    this.socket = socket
    this.inbound = inbound
    this.shared = shared
    this.local = local
    this.remote = remote
    // These listeners stay for the life of the socket: an 'error' that nobody hears would end the process.
    socket.on("error", (error) => {
      this.drop()
      this.fail(streamReason(codeOf(error)))
    })
    socket.on("end", () => this.atEnd())
    socket.on("close", () => {
      this.closed = true
      this.drop()
      if (!(inbound.ended && socket.writableFinished))
        this.fail(new ConnectionLost({ detail: "the socket was closed" }))
    })
  }

  // Made each time that somebody waits: sockets are idle by the thousand.

  get readable(): Effect.Effect<void, StreamError> {
    return Effect.callback<void, StreamError>((resume) => {
      const { inbound } = this
      const now = this.readState()
      if (now !== undefined) return resume(now)
      if (inbound.reader !== undefined) return resume(twoWaiters("readable"))
      inbound.reader = resume
      this.flow()
      return Effect.sync(() => {
        if (inbound.reader === resume) inbound.reader = undefined
      })
    })
  }

  get writable(): Effect.Effect<void, StreamError> {
    return Effect.callback<void, StreamError>((resume) => {
      this.flush()
      const now = this.writeState()
      if (now !== undefined) return resume(now)
      if (this.writer !== undefined) return resume(twoWaiters("writable"))
      this.writer = resume
      return Effect.sync(() => {
        if (this.writer === resume) this.writer = undefined
      })
    })
  }

  get closeWrite(): Effect.Effect<void, StreamError> {
    return Effect.suspend(() => {
      if (this.error !== undefined) return failure(this.error)
      this.end()
      return Effect.void
    })
  }

  /** What closing its scope does; takes at most the linger time. */
  get release(): Effect.Effect<void> {
    return Effect.suspend(() => this.close())
  }

  whenReadable(wake: () => void): boolean {
    const { inbound } = this
    if (this.readState() !== undefined || inbound.reader !== undefined) return false
    inbound.reader = wake
    this.flow()
    return true
  }

  private flow(): void {
    if (this.inbound.flowing) return
    this.inbound.flowing = true
    this.socket.resume()
  }

  private readState(): Effect.Effect<void, StreamError> | undefined {
    if (this.error !== undefined) return failure(this.error)
    return this.inbound.held !== undefined || this.inbound.ended ? Effect.void : undefined
  }

  private writeState(): Effect.Effect<void, StreamError> | undefined {
    if (this.error !== undefined) return failure(this.error)
    if (this.writeClosed) return failure(new WriteClosed())
    return this.used < writeSize ? Effect.void : undefined
  }

  tryRead(): Uint8Array | null | undefined {
    if (this.error !== undefined) return undefined
    const bytes = this.inbound.held
    if (bytes === undefined) return this.inbound.ended ? null : undefined
    this.inbound.held = undefined
    return bytes
  }

  tryWrite(bytes: Uint8Array): number {
    if (this.error !== undefined || this.writeClosed || bytes.length === 0) return 0
    let taken = this.put(bytes)
    while (taken < bytes.length && this.sending === undefined) {
      this.flush()
      taken += this.put(bytes.subarray(taken))
    }
    if (!this.turnScheduled && this.used > 0) {
      this.turnScheduled = true
      this.shared.dispatcher.scheduleTask(this.endTurn, 0)
    }
    return taken
  }

  /** Copies as much as there is room for. */
  private put(bytes: Uint8Array): number {
    const piece = bytes.length <= writeSize - this.used ? bytes : bytes.subarray(0, writeSize - this.used)
    if (piece.length > 0) this.room(piece.length).set(piece, this.used)
    this.used += piece.length
    return piece.length
  }

  /** The buffer, with room for so many bytes more. */
  private room(length: number): Uint8Array {
    const { out } = this
    const wanted = this.used + length
    if (out !== undefined && wanted <= out.length) return out
    const larger = wanted <= smallBuffers.size ? smallBuffers.take() : buffers.take()
    if (out !== undefined) {
      larger.set(out.subarray(0, this.used))
      smallBuffers.give(out)
    }
    this.out = larger
    return larger
  }

  private readonly endTurn = (): void => {
    this.turnScheduled = false
    this.flush()
  }

  flush(): void {
    const { out } = this
    if (out === undefined || this.sending !== undefined) return
    this.sending = out
    this.out = undefined
    const bytes = out.subarray(0, this.used)
    this.used = 0
    this.socket.write(bytes, this.sent)
  }

  private readonly sent = (error?: Error | null): void => {
    const { sending } = this
    // Of a socket that is gone: what it was handed may still be read.
    if (error || sending === undefined) return
    this.sending = undefined
    buffers.give(sending)
    smallBuffers.give(sending)
    this.flush()
    if (this.writeClosed) this.endWhenSent()
    this.wakeWriter()
  }

  reset(because: string): void {
    if (this.error !== undefined) return
    this.fail(new ResetLocally({ because }))
    this.abort()
  }

  private fail(reason: StreamErrorReason): void {
    if (this.error !== undefined) return
    this.error = reason
    this.inbound.held = undefined
    this.inbound.discarding = true
    this.wakeLater()
  }

  /** A reset may come from inside someone's turn: waiters are woken after it. */
  private wakeLater(): void {
    if (this.wakeScheduled || (this.inbound.reader === undefined && this.writer === undefined)) return
    this.wakeScheduled = true
    this.shared.dispatcher.scheduleTask(() => this.wakeWaiters(), 0)
  }

  private wakeWaiters(): void {
    this.wakeScheduled = false
    if (this.readState() !== undefined) {
      const reader = this.inbound.reader
      this.inbound.reader = undefined
      reader?.(this.readState() ?? Effect.void)
    }
    this.wakeWriter()
  }

  private wakeWriter(): void {
    const writer = this.writer
    if (writer === undefined) return
    const now = this.writeState()
    if (now === undefined) return
    this.writer = undefined
    writer(now)
  }

  private atEnd(): void {
    const ended = () => {
      if (this.error !== undefined) return
      this.inbound.ended = true
      this.inbound.wake()
    }
    const { socket } = this
    // After our own end nothing can be asked of the socket any more.
    if (!hidesResets || this.writeClosed) ended()
    // The writes under way fail within this turn, if it was a reset.
    else if (socket.writableLength > 0) this.shared.dispatcher.scheduleTask(ended, 0)
    else {
      socket.write(nothing, (error) => {
        if (!error) ended()
      })
    }
  }

  private end(): void {
    if (this.writeClosed) return
    this.writeClosed = true
    this.flush()
    this.wakeLater()
    this.endWhenSent()
  }

  /** `end` is called only when all is written: while a shutdown waits behind data, a socket cannot be reset. */
  private endWhenSent(): void {
    const { socket } = this
    if (this.sending === undefined && this.out === undefined && !socket.writableEnded) socket.end()
  }

  /** What was not handed to the system never will be. */
  private drop(): void {
    this.out = undefined
    this.used = 0
  }

  /** Closes the socket at once so that the other side sees a reset, not an end. */
  private abort(): void {
    const socket = this.socket
    this.drop()
    if (socket.destroyed) return
    // In between, the shutdown is under way and all data has left: a plain close is what the system allows.
    if (socket.writableEnded && !socket.writableFinished) socket.destroy()
    else socket.resetAndDestroy()
  }

  private close(): Effect.Effect<void> {
    if (this.closed) return Effect.void
    const socket = this.socket
    const orderly = this.writeClosed && this.error === undefined
    if (orderly) {
      this.fail(new ResetLocally({ because: "its scope was closed" }))
      // Reads on, into nothing: a remote that is blocked in a write would never take our last bytes.
      socket.resume()
    } else this.reset("its scope was closed")
    return Effect.callback<void>((resume) => {
      const done = () => {
        clearTimeout(timer)
        socket.off("close", done)
        resume(Effect.void)
      }
      const timer = setTimeout(() => {
        // What the system has taken whole leaves without us, if the remote lets it.
        if (orderly && socket.writableFinished) socket.destroy()
        else this.abort()
        done()
      }, this.shared.linger)
      // After both ends. A socket closed before the remote's is one that answers its next bytes with a reset, which
      // drops those of ours that it has not taken.
      socket.on("close", done)
    })
  }
}

/**
 * Makes a socket and its byte stream. `create` is given the options that make it
 * read into the shared buffer; `pushes` says that it could not use them and emits
 * 'data' events instead.
 */
export const open = (
  shared: Shared,
  create: (onread: OnReadOpts) => { readonly socket: NetSocket; readonly pushes: boolean }
): { readonly socket: NetSocket; readonly stream: (local: Endpoint, remote: Endpoint) => NodeSocket } => {
  const inbound = new Inbound()
  const { pushes, socket } = create({
    buffer: shared.buffer,
    callback: (size, buffer) => inbound.deliver(buffer.subarray(0, size))
  })
  if (pushes) {
    socket.on("data", (bytes: Uint8Array) => {
      if (!inbound.deliver(bytes)) socket.pause()
    })
    socket.pause()
  }
  return { socket, stream: (local, remote) => new NodeSocket(socket, inbound, shared, local, remote) }
}
