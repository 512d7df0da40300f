/**
 * Session: what every multiplexed connection is as a pure state machine, before
 * its protocol. It is fed with what arrived and with the time; it holds what is
 * to be sent, and a list of the streams that something happened to. It has no
 * clock, does no I/O, and never throws: a remote that breaks the protocol ends it
 * with a value that says how.
 *
 * ```
 * const stream = session.open()
 * session.write(stream, bytes)
 * session.drain(connection.tryWrite, now)        // the frames
 * const end = session.receive(batch, nowMs)      // undefined while it lives
 * for (const stream of session.takeTouched()) …  // wake who waits
 * ```
 *
 * It also knows what the connection holds for its remote: `unread`, the bytes in
 * the inboxes of all streams, and `held`, which adds what waits to be sent.
 */
import { LazySet } from "../../internal/Lazy.ts"
import { describeLimit, LimitExceeded } from "../../../services/ResourceManager.ts"
import { Arrived } from "./Arrived.ts"
import { framesOfStream, type Limits, turnLength } from "./Limits.ts"
import type { Output } from "./Output.ts"
import { describe, type SessionEnd } from "./SessionEnd.ts"
import { Stall } from "./Stall.ts"
import { resetByPeer, type StreamFailure, type StreamState } from "./StreamState.ts"
import { Turns } from "./Turns.ts"
import { Waste } from "./Waste.ts"

/** Counters, for metrics and tests. */
export interface Counts {
  frames: number
  /** Frames of streams that are not known (any more), and their payload. */
  strayFrames: number
  strayBytes: number
  /** Streams of the remote that were reset on arrival because a limit was met. */
  refused: number
  /** Streams that were reset because of the bytes that they held. */
  shed: number
  pongsWithheld: number
}

export abstract class Session<S extends StreamState = StreamState> {
  /** The protocol's id, for errors. */
  abstract readonly protocol: string
  readonly counts: Counts = { frames: 0, strayFrames: 0, strayBytes: 0, refused: 0, shed: 0, pongsWithheld: 0 }
  /** Why it ended; `undefined` while it lives. */
  ended: SessionEnd | undefined
  /** The code of the remote's go-away: it takes no more streams. */
  remoteGoAway: number | undefined
  /** Memory was refused: no stream is promised more. */
  pressed = false

  protected abstract readonly output: Output
  protected readonly streams = new Map<number, S>()
  protected readonly turns = new Turns<S>()
  /** Streams that this end is done with and the remote is not, with the time when they are reset, the earliest first. */
  protected lingering: Map<S, number> | undefined
  protected readonly waste: Waste
  protected nowMs: number
  /** This end takes no more streams. */
  protected closing = false

  private readonly shared: Limits
  private readonly arrived = new Arrived<S>()
  private readonly stall: Stall
  private readonly backlog = new LazySet<S>()
  /** Streams that the remote has to hear of, and will with the next output unless data takes it along first. */
  private readonly unannounced = new LazySet<S>()
  private touched: Array<S> = []
  private inboundCount = 0

  constructor(limits: Limits, nowMs: number) {
    this.shared = limits
    this.nowMs = nowMs
    this.stall = new Stall(limits.sendTimeoutMs)
    this.waste = new Waste(limits, nowMs)
  }

  // --- What a protocol adds --------------------------------------------------

  /** Takes a batch of bytes, cut anywhere, which must not change afterwards. Gives the end if there is one. */
  abstract receive(bytes: Uint8Array, nowMs: number): SessionEnd | undefined
  /** Opens a stream; nothing is sent before its first write, `announce` or `closeWrite`. `undefined` unless `canOpen`. */
  abstract open(): S | undefined
  /** True when a stream can be opened now. */
  abstract get canOpen(): boolean
  /** How many streams may be opened before something has to arrive. */
  abstract get openable(): number
  /** True while ids are left. */
  abstract get hasIds(): boolean
  abstract readonly maxId: number
  /** Takes bytes from the front of `bytes`, as far as there is room, and says how many. */
  abstract write(stream: S, bytes: Uint8Array): number
  /** False while the remote has no room for more of the stream; it is touched once that has changed. */
  protected abstract hasRoom(stream: S): boolean
  /** Answers to pings so far, and how long the latest took in ms; `undefined` where the protocol has none. */
  abstract readonly liveness: { readonly pongs: number; readonly latestMs: number } | undefined
  /** Asks for a round trip, unless one is under way or the protocol has none. */
  abstract ping(nowMs: number): void
  /** Puts what opens or acknowledges the stream into the output, unless it was. */
  protected abstract putOpen(stream: S): void
  protected abstract putEnd(stream: S): void
  protected abstract putReset(id: number): void
  /** Tells the remote why the session ends, where the protocol can. */
  protected abstract putGoodbye(why: "normal" | "violation" | "internal"): void
  /** True when the remote knows of the stream. */
  protected abstract isKnown(stream: S): boolean
  /** `bytes` of the stream are kept here no more: they were read, or dropped because nobody reads. */
  protected abstract freed(stream: S, bytes: number, nowMs: number): void
  /** The stream is done. */
  protected abstract forgotten(stream: S): void
  /** When the protocol itself has something to do, in ms. */
  protected abstract get due(): number
  protected abstract whenDue(nowMs: number): void
  /** All was sent. */
  protected abstract sentAll(): void

  // --- Streams ---------------------------------------------------------------

  get streamCount(): number {
    return this.streams.size
  }

  /** Bytes that wait to be sent. */
  get outputSize(): number {
    return this.output.size
  }

  /** Bytes that arrived and were not read, of all streams. */
  get unread(): number {
    return this.arrived.total
  }

  /** Bytes that the connection holds: not read yet, and not sent yet. */
  get held(): number {
    return this.arrived.total + this.output.size
  }

  /** True while nothing should be read from the connection, until what arrived was read or its time is over. */
  get paused(): boolean {
    return false
  }

  /** The oldest stream that the remote opened and nobody has accepted; acknowledges it. */
  accept(): S | undefined {
    const stream = this.backlog.first
    if (stream === undefined) return undefined
    this.backlog.delete(stream)
    this.unannounced.add(stream)
    return stream
  }

  get hasBacklog(): boolean {
    return this.backlog.size > 0
  }

  /** Makes the remote know of the stream with the next output, even if nothing is written. */
  announce(stream: S): void {
    if (!stream.announced && !stream.done) this.unannounced.add(stream)
  }

  /** Takes the oldest bytes; `null` at the end, `undefined` when there is nothing (now, or ever: see `failure`). */
  read(stream: S, nowMs: number): Uint8Array | null | undefined {
    const bytes = this.arrived.shift(stream)
    if (bytes !== undefined) {
      if (!stream.done) this.freed(stream, bytes.length, nowMs)
      return bytes
    }
    if (stream.readClosed) return null
    return stream.remoteClosed && stream.failure?._tag !== "ResetLocally" ? null : undefined
  }

  /** True when `read` gives something other than `undefined`. */
  canRead(stream: S): boolean {
    return (
      stream.inbox.size > 0 || stream.readClosed || (stream.remoteClosed && stream.failure?._tag !== "ResetLocally")
    )
  }

  /** True when `write` takes a byte. Otherwise the stream is touched once that may have changed. */
  canWrite(stream: S): boolean {
    if (stream.done || stream.writeClosed || !this.hasRoom(stream)) return false
    if (this.turns.allow(stream, this.room) > 0) return true
    this.turns.wait(stream, stream.credit > 0)
    return false
  }

  /** Half-close. */
  closeWrite(stream: S, nowMs: number = this.nowMs): void {
    if (stream.done || stream.writeClosed) return
    stream.writeClosed = true
    this.putEnd(stream)
    this.touch(stream)
    if (stream.remoteClosed) this.forget(stream)
    else this.linger(stream, nowMs)
  }

  /** Reads no more: what is there and what comes is dropped, and the remote may send as if it had been read. */
  closeRead(stream: S, nowMs: number): void {
    if (stream.readClosed) return
    stream.readClosed = true
    const dropped = this.arrived.drop(stream)
    if (!stream.done) this.freed(stream, dropped, nowMs)
    this.touch(stream)
    this.linger(stream, nowMs)
  }

  /** Ends both directions at once. */
  reset(stream: S, because: string): void {
    if (stream.done && stream.inbox.size === 0) return
    this.arrived.drop(stream)
    if (!stream.done && this.isKnown(stream)) this.putReset(stream.id)
    this.fail(stream, { _tag: "ResetLocally", because })
  }

  /**
   * Resets the streams that hold most unread bytes, until there are at most
   * `most`. Those that are done and still to be read are among them.
   */
  shed(most: number, because: string): void {
    if (this.unread <= most) return
    for (const stream of this.arrived.holders(this.streams.values())) {
      if (this.unread <= most) return
      this.counts.shed += 1
      this.reset(stream, because)
      if (stream.inbound) this.waste.stream(this.nowMs)
    }
  }

  // --- The connection --------------------------------------------------------

  /** When `tick` is due, in ms. */
  get deadline(): number {
    if (this.ended !== undefined) return Number.POSITIVE_INFINITY
    const deadline = Math.min(this.due, this.stall.deadline)
    if (this.lingering === undefined) return deadline
    const [overdue] = this.lingering.values()
    return Math.min(deadline, overdue ?? deadline)
  }

  /** Does what is due: what the protocol says, and ends what the remote does not end or take. */
  tick(nowMs: number): SessionEnd | undefined {
    if (this.ended !== undefined) return this.ended
    this.nowMs = nowMs
    for (const [stream, due] of this.lingering ?? []) {
      if (due > nowMs) break
      this.reset(stream, `closed here, and not by the remote within ${this.shared.closeTimeoutMs} ms`)
    }
    if (this.stall.isOver(nowMs)) return this.end({ _tag: "SendTimeout", afterMs: this.shared.sendTimeoutMs })
    this.whenDue(nowMs)
    return this.ended
  }

  /** Says goodbye, resets the streams that are left, and ends the session. The output is still to be sent. */
  close(detail: string): void {
    if (this.ended !== undefined) return
    this.closing = true
    this.putGoodbye("normal")
    for (const stream of this.streams.values()) this.reset(stream, detail)
    this.end({ _tag: "Closed", detail })
  }

  /** Ends the session because the connection holds more than it may. The output is still to be sent. */
  refuse(refusal: LimitExceeded): SessionEnd {
    if (this.ended !== undefined) return this.ended
    this.closing = true
    this.putGoodbye("internal")
    return this.end({ _tag: "Limit", refusal })
  }

  /** Ends the session with nothing more said, as when the connection was lost. */
  end(end: SessionEnd): SessionEnd {
    if (this.ended !== undefined) return this.ended
    this.ended = end
    const failure: StreamFailure = { _tag: "ConnectionLost", detail: describe(this.protocol, end) }
    for (const stream of this.streams.values()) this.fail(stream, failure)
    this.arrived.settle()
    return end
  }

  /**
   * Sends what is due: offers it to `take`, which says how many bytes it took.
   * True when nothing is left.
   */
  drain(take: (bytes: Uint8Array) => number, now: () => number = () => this.nowMs): boolean {
    if (this.unannounced.size > 0) {
      for (const stream of this.unannounced) this.putOpen(stream)
      this.unannounced.clear()
    }
    const before = this.output.size
    const empty = this.output.drain(take)
    if (!empty) this.stall.left(this.output.size < before, now())
    else {
      this.stall.over()
      this.waste.sentAll()
      this.sentAll()
    }
    return empty
  }

  /** True while streams wait for a turn to write: `grantTurns` again after the next `drain`. */
  get writersWait(): boolean {
    return this.turns.waiting
  }

  /** Gives a turn to as many waiting streams as there is room for, and touches them. */
  grantTurns(): void {
    for (let room = this.shared.outputHighWater - this.output.size; room > 0; room -= turnLength) {
      const stream = this.turns.next()
      if (stream === undefined) return
      this.touch(stream)
    }
  }

  get hasTouched(): boolean {
    return this.touched.length > 0
  }

  /** The streams that something happened to since the last call: data, room to write, a turn, the end. */
  takeTouched(): ReadonlyArray<S> {
    const touched = this.touched
    if (touched.length === 0) return touched
    this.touched = []
    for (const stream of touched) stream.touched = false
    return touched
  }

  // --- For the protocol ------------------------------------------------------

  /** Room for writes in the output. */
  protected get room(): number {
    return this.shared.outputHighWater - this.output.size
  }

  /** Ends the session because the remote broke the protocol. */
  protected violated(detail: string): SessionEnd {
    this.putGoodbye("violation")
    return this.end({ _tag: "Violation", detail })
  }

  /** Keeps a stream that was opened here. */
  protected add(stream: S): S {
    this.streams.set(stream.id, stream)
    this.waste.earn(framesOfStream)
    return stream
  }

  /**
   * What becomes of a stream that the remote opens: "take" it (then `add`), or
   * it was refused; or what is wrong with that.
   */
  protected admit(id: number): "take" | "refused" | { readonly wrong: string } {
    const { acceptBacklog, maxInboundStreams } = this.shared
    if (!this.closing && this.inboundCount < maxInboundStreams && this.backlog.size < acceptBacklog) return "take"
    this.counts.refused += 1
    const wrong = this.waste.refusal(this.nowMs)
    if (wrong !== undefined) return { wrong }
    this.putReset(id)
    return "refused"
  }

  /** Keeps a stream that the remote opened, for `accept`. */
  protected addInbound(stream: S): void {
    this.add(stream)
    this.inboundCount += 1
    this.backlog.add(stream)
  }

  /** Data of the current batch for a stream that is known. */
  protected deliver(stream: S, bytes: Uint8Array, nowMs: number): void {
    if (stream.readClosed) return this.freed(stream, bytes.length, nowMs)
    this.arrived.push(stream, bytes)
    this.touch(stream)
  }

  /** The batches that it is fed with are lent: they are valid until the next `settle`, and not beyond the turn. */
  set batchesLent(lent: boolean) {
    this.arrived.lent = lent
  }

  /** Before the next batch, and when nothing comes for long: holds no more of the last than was not read. */
  settle(): void {
    this.arrived.settle()
  }

  /** After a batch: keeps what all streams hold within its bound. */
  protected fit(): void {
    const { maxUnread } = this.shared
    if (this.unread <= maxUnread) return
    this.shed(
      maxUnread,
      describeLimit(
        new LimitExceeded({ scope: "connection", resource: "unread bytes", limit: maxUnread, current: this.unread })
      )
    )
  }

  protected remoteFin(stream: S): void {
    if (stream.remoteClosed) return
    stream.remoteClosed = true
    this.touch(stream)
    if (stream.writeClosed) this.forget(stream)
  }

  /** The remote has reset the stream. Says what is wrong with that, if anything. */
  protected remoteReset(stream: S): string | undefined {
    // What was sent in full before stays readable: only what is incomplete is dropped.
    if (!stream.remoteClosed) this.arrived.drop(stream)
    this.fail(stream, resetByPeer)
    return stream.inbound && !this.waste.stream(this.nowMs) ? this.waste.tooManyStreams : undefined
  }

  protected touch(stream: S): void {
    if (stream.touched) return
    stream.touched = true
    this.touched.push(stream)
  }

  // --- Ends ------------------------------------------------------------------

  private linger(stream: S, nowMs: number): void {
    if (stream.done || !stream.writeClosed || !stream.readClosed) return
    this.lingering ??= new Map()
    this.lingering.set(stream, nowMs + this.shared.closeTimeoutMs)
  }

  private fail(stream: S, failure: StreamFailure): void {
    stream.failure = failure
    this.touch(stream)
    this.forget(stream)
  }

  /** Drops all that the session holds of a stream, but for the bytes that may still be read. */
  private forget(stream: S): void {
    if (stream.done) return
    stream.done = true
    // What nobody has accepted, nobody will read.
    if (this.backlog.delete(stream)) this.arrived.drop(stream)
    else this.arrived.finish(stream)
    if (stream.inbound) this.inboundCount -= 1
    this.streams.delete(stream.id)
    this.unannounced.delete(stream)
    this.turns.remove(stream)
    if (this.lingering?.delete(stream) === true && this.lingering.size === 0) this.lingering = undefined
    this.forgotten(stream)
  }
}
