/**
 * Session: one Yamux connection as a pure state machine. It is fed with what
 * arrived and with the time; it holds what is to be sent, and a list of the
 * streams that something happened to. It has no clock, does no I/O, and never
 * throws: a remote that breaks the protocol ends it with a value that says how,
 * and a go-away frame in the output.
 *
 * ```
 * const session = new Session(true, defaults, nowMs)
 * const stream = session.open()
 * session.write(stream, bytes)
 * session.drain(connection.tryWrite)             // the frames
 * const end = session.receive(batch, nowMs)      // undefined while it lives
 * for (const stream of session.takeTouched()) …  // wake who waits
 * ```
 *
 * Specification: yamux/README.md. Where it is silent, go-yamux decided: frames
 * of streams that are not (or no longer) known are dropped, since a reset
 * crosses them on the way.
 */
import * as Frame from "./Frame.ts"
import { type Limits, maxPongsUnsent, maxRefusalsUnsent, turnLength } from "./Limits.ts"
import { Liveness } from "./Liveness.ts"
import { Output } from "./Output.ts"
import { describe, type SessionEnd } from "./SessionEnd.ts"
import { resetByPeer, type StreamFailure, StreamState } from "./StreamState.ts"
import { Turns } from "./Turns.ts"

/** Counters, for metrics and tests. */
export interface Counts {
  frames: number
  /** Frames of streams that are not known (any more), and their payload. */
  strayFrames: number
  strayBytes: number
  /** Streams of the remote that were reset on arrival because a limit was met. */
  refused: number
  pongsWithheld: number
}

export class Session {
  readonly limits: Limits
  readonly counts: Counts = { frames: 0, strayFrames: 0, strayBytes: 0, refused: 0, pongsWithheld: 0 }
  /** Why it ended; `undefined` while it lives. */
  ended: SessionEnd | undefined
  /** The code of the remote's go-away: it takes no more streams. */
  remoteGoAway: number | undefined
  readonly liveness: Liveness

  private readonly client: boolean
  private readonly output = new Output()
  private readonly streams = new Map<number, StreamState>()
  private readonly backlog = new Set<StreamState>()
  /** Streams whose SYN or ACK is due, and goes out alone unless data takes it along first. */
  private readonly unannounced = new Set<StreamState>()
  private readonly turns = new Turns()
  private touched: Array<StreamState> = []
  /** Streams that data of the last batch waits on, as views of it. */
  private loose: Array<StreamState> = []
  private nextId: number
  /** Streams that this end is done with and the remote is not, with the time when they are reset, the earliest first. */
  private readonly lingering = new Map<StreamState, number>()
  private inboundCount = 0
  private unacknowledged = 0
  private growth = 0
  private goAwaySent = false
  private pongsUnsent = 0
  private refusalsUnsent = 0
  private nowMs: number

  private readonly partial = new Uint8Array(Frame.headerLength)
  private partialLength = 0
  /** Payload of the current data frame that is still to come. */
  private payload = 0
  private payloadStream: StreamState | undefined
  private payloadFin = false

  constructor(client: boolean, limits: Limits, nowMs: number) {
    this.client = client
    this.limits = limits
    this.nextId = client ? 1 : 2
    this.nowMs = nowMs
    this.liveness = new Liveness(limits, nowMs)
  }

  // --- Streams -------------------------------------------------------------

  get streamCount(): number {
    return this.streams.size
  }

  /** Bytes that wait to be sent. */
  get outputSize(): number {
    return this.output.size
  }

  /** True while ids are left. */
  get hasIds(): boolean {
    return this.nextId <= Frame.maxUint32
  }

  /** True when a stream can be opened without exceeding what the remote has to acknowledge, or what waits to be sent. */
  get canOpen(): boolean {
    return (
      this.ended === undefined &&
      this.remoteGoAway === undefined &&
      !this.goAwaySent &&
      this.hasIds &&
      this.unacknowledged < this.limits.maxUnacknowledged &&
      this.output.size < this.limits.outputHighWater
    )
  }

  /** How many streams may be opened before the remote has to acknowledge some. */
  get openable(): number {
    return this.limits.maxUnacknowledged - this.unacknowledged
  }

  /** Opens a stream; nothing is sent before its first write, `announce` or `closeWrite`. `undefined` unless `canOpen`. */
  open(): StreamState | undefined {
    if (!this.canOpen) return undefined
    const stream = new StreamState(this.nextId, false, this.nowMs)
    this.nextId += 2
    this.unacknowledged += 1
    this.streams.set(stream.id, stream)
    return stream
  }

  /** The oldest stream that the remote opened and nobody has accepted; acknowledges it. */
  accept(): StreamState | undefined {
    for (const stream of this.backlog) {
      this.backlog.delete(stream)
      this.unannounced.add(stream)
      return stream
    }
    return undefined
  }

  get hasBacklog(): boolean {
    return this.backlog.size > 0
  }

  /** Makes the remote know of the stream with the next output, even if nothing is written. */
  announce(stream: StreamState): void {
    if (!stream.announced && !stream.done) this.unannounced.add(stream)
  }

  /** Takes the oldest bytes; `null` at the end, `undefined` when there is nothing (now, or ever: see `failure`). */
  read(stream: StreamState, nowMs: number): Uint8Array | null | undefined {
    const bytes = stream.inbox.shift()
    if (bytes !== undefined) {
      this.giveBack(stream, bytes.length, nowMs)
      return bytes
    }
    if (stream.readClosed) return null
    return stream.remoteClosed && stream.failure?._tag !== "ResetLocally" ? null : undefined
  }

  /** True when `read` gives something other than `undefined`. */
  canRead(stream: StreamState): boolean {
    return (
      stream.inbox.size > 0 || stream.readClosed || (stream.remoteClosed && stream.failure?._tag !== "ResetLocally")
    )
  }

  /** Takes bytes from the front of `bytes`, as window and output allow, and says how many. */
  write(stream: StreamState, bytes: Uint8Array): number {
    if (stream.done || stream.writeClosed) return 0
    const wanted = Math.min(bytes.length, stream.sendWindow)
    if (wanted === 0) return 0
    const room = this.limits.outputHighWater - this.output.size
    const taken = Math.max(0, Math.min(wanted, this.turns.allow(stream, room)))
    this.turns.wrote(stream, taken, taken < wanted)
    for (let at = 0; at < taken;) {
      const end = Math.min(taken, at + Frame.maxPayload)
      const payload = at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end)
      this.output.frame(Frame.typeData, this.openFlag(stream), stream.id, payload)
      at = end
    }
    stream.sendWindow -= taken
    return taken
  }

  /** True when `write` takes a byte. Otherwise the stream is touched once that may have changed. */
  canWrite(stream: StreamState): boolean {
    if (stream.done || stream.writeClosed || stream.sendWindow === 0) return false
    if (this.turns.allow(stream, this.limits.outputHighWater - this.output.size) > 0) return true
    this.turns.wait(stream, stream.credit > 0)
    return false
  }

  /** Half-close. */
  closeWrite(stream: StreamState): void {
    if (stream.done || stream.writeClosed) return
    stream.writeClosed = true
    this.output.header(Frame.typeWindowUpdate, Frame.flagFin | this.openFlag(stream), stream.id, 0)
    this.touch(stream)
    if (stream.remoteClosed) this.forget(stream)
    else this.linger(stream, this.nowMs)
  }

  /** Reads no more: what is there and what comes is dropped, and its window given back. */
  closeRead(stream: StreamState, nowMs: number): void {
    if (stream.readClosed) return
    stream.readClosed = true
    const dropped = stream.inbox.size
    stream.inbox.clear()
    this.giveBack(stream, dropped, nowMs)
    this.touch(stream)
    this.linger(stream, nowMs)
  }

  /** Ends both directions at once. */
  reset(stream: StreamState, because: string): void {
    if (stream.failure !== undefined) return
    const open = !stream.done
    if (!open && stream.inbox.size === 0) return
    stream.inbox.clear()
    if (open && (stream.inbound || stream.announced)) {
      this.output.header(Frame.typeWindowUpdate, Frame.flagRst, stream.id, 0)
    }
    this.fail(stream, { _tag: "ResetLocally", because })
  }

  // --- The connection ------------------------------------------------------

  /** Asks for a round trip, unless one is under way. `liveness` tells when it was answered, and how long it took. */
  ping(nowMs: number): void {
    if (this.ended !== undefined) return
    const value = this.liveness.ping(nowMs)
    if (value !== undefined) this.output.header(Frame.typePing, Frame.flagSyn, 0, value)
  }

  /** When `tick` is due, in ms. */
  get deadline(): number {
    if (this.ended !== undefined) return Number.POSITIVE_INFINITY
    const [overdue] = this.lingering.values()
    return Math.min(this.liveness.deadline, overdue ?? Number.POSITIVE_INFINITY)
  }

  /**
   * Does what is due: asks a silent remote whether it lives, ends the session if
   * it does not say, resets streams that it does not close.
   */
  tick(nowMs: number): SessionEnd | undefined {
    if (this.ended !== undefined) return this.ended
    this.nowMs = nowMs
    for (const [stream, due] of this.lingering) {
      if (due > nowMs) break
      this.reset(stream, `closed here, and not by the remote within ${this.limits.closeTimeoutMs} ms`)
    }
    switch (this.liveness.check(nowMs)) {
      case "nothing":
        return undefined
      case "ask":
        this.settle()
        this.output.rest()
        this.ping(nowMs)
        return undefined
      case "gone":
        return this.end({ _tag: "KeepAliveTimeout", afterMs: this.limits.keepAliveTimeoutMs })
    }
  }

  /** Says goodbye, resets the streams that are left, and ends the session. The output is still to be sent. */
  close(detail: string): void {
    if (this.ended !== undefined) return
    this.goAway(Frame.goAwayNormal)
    for (const stream of this.streams.values()) this.reset(stream, detail)
    this.end({ _tag: "Closed", detail })
  }

  /** Ends the session with nothing more said, as when the connection was lost. */
  end(end: SessionEnd): SessionEnd {
    if (this.ended !== undefined) return this.ended
    this.ended = end
    const failure: StreamFailure = { _tag: "ConnectionLost", detail: describe(end) }
    for (const stream of this.streams.values()) this.fail(stream, failure)
    this.settle()
    this.payloadStream = undefined
    return end
  }

  /**
   * Sends what is due: offers it to `take`, which says how many bytes it took.
   * True when nothing is left.
   */
  drain(take: (bytes: Uint8Array) => number): boolean {
    for (const stream of this.unannounced) {
      const flag = this.openFlag(stream)
      if (flag !== 0) this.output.header(Frame.typeWindowUpdate, flag, stream.id, 0)
    }
    this.unannounced.clear()
    const empty = this.output.drain(take)
    if (empty) {
      this.pongsUnsent = 0
      this.refusalsUnsent = 0
    }
    return empty
  }

  /** True while streams wait for a turn to write: `grantTurns` again after the next `drain`. */
  get writersWait(): boolean {
    return this.turns.waiting
  }

  /** Gives a turn to as many waiting streams as there is room for, and touches them. */
  grantTurns(): void {
    for (let room = this.limits.outputHighWater - this.output.size; room > 0; room -= turnLength) {
      const stream = this.turns.next()
      if (stream === undefined) return
      this.touch(stream)
    }
  }

  get hasTouched(): boolean {
    return this.touched.length > 0
  }

  /** The streams that something happened to since the last call: data, window, a turn to write, the end. */
  takeTouched(): ReadonlyArray<StreamState> {
    const touched = this.touched
    if (touched.length === 0) return touched
    this.touched = []
    for (const stream of touched) stream.touched = false
    return touched
  }

  // --- What arrives --------------------------------------------------------

  /**
   * Takes a batch of bytes, cut anywhere. The session keeps views of it: it must
   * not change afterwards. Gives the end if there is one; then the output holds
   * the go-away frame that says so.
   */
  receive(bytes: Uint8Array, nowMs: number): SessionEnd | undefined {
    if (this.ended !== undefined) return this.ended
    this.nowMs = nowMs
    this.liveness.heard(nowMs)
    this.settle()
    let at = 0
    while (at < bytes.length) {
      if (this.payload > 0) {
        const end = Math.min(bytes.length, at + this.payload)
        this.payload -= end - at
        this.deliver(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end), nowMs)
        at = end
        if (this.payload === 0) this.payloadEnd()
        continue
      }
      let header = bytes
      let headerAt = at
      if (this.partialLength > 0 || bytes.length - at < Frame.headerLength) {
        const end = Math.min(bytes.length, at + Frame.headerLength - this.partialLength)
        this.partial.set(bytes.subarray(at, end), this.partialLength)
        this.partialLength += end - at
        at = end
        if (this.partialLength < Frame.headerLength) return undefined
        this.partialLength = 0
        header = this.partial
        headerAt = 0
      } else at += Frame.headerLength
      const wrong = this.frame(header, headerAt, nowMs)
      if (wrong !== undefined) {
        this.goAway(Frame.goAwayProtocolError)
        return this.end({ _tag: "Violation", detail: wrong })
      }
      if (this.ended !== undefined) return this.ended
    }
    return undefined
  }

  /** Takes a header; says what is wrong with it, if anything. */
  private frame(bytes: Uint8Array, at: number, nowMs: number): string | undefined {
    this.counts.frames += 1
    const version = bytes[at]
    if (version !== 0) return `a frame of version ${version}; only 0 is known`
    const type = bytes[at + 1]
    const flags = Frame.uint16At(bytes, at + 2)
    const id = Frame.uint32At(bytes, at + 4)
    const length = Frame.uint32At(bytes, at + 8)
    switch (type) {
      case Frame.typeData:
      case Frame.typeWindowUpdate:
        return this.streamFrame(type, flags, id, length, nowMs)
      case Frame.typePing:
        this.pingFrame(flags, length, nowMs)
        return undefined
      case Frame.typeGoAway:
        this.remoteGoAway = length
        if (length !== Frame.goAwayNormal) this.end({ _tag: "RemoteGoAway", code: length })
        return undefined
      default:
        return `a frame of unknown type ${type}`
    }
  }

  private streamFrame(type: number, flags: number, id: number, length: number, nowMs: number): string | undefined {
    if (id === 0) return "a data or window update frame for stream 0, which is the session"
    if ((flags & Frame.flagSyn) !== 0) {
      const wrong = this.opened(id, nowMs)
      if (wrong !== undefined) return wrong
    }
    const stream = this.streams.get(id)
    if (type === Frame.typeData) {
      const allowed = stream === undefined ? this.limits.maxWindow : stream.receiveWindow
      if (length > allowed) return `${length} bytes of data on stream ${id}, whose window has ${allowed} left`
    }
    if (stream === undefined) {
      this.counts.strayFrames += 1
      if (type === Frame.typeData) this.payload = length
      this.payloadStream = undefined
      return undefined
    }
    if ((flags & Frame.flagAck) !== 0) this.acknowledged(stream)
    const fin = (flags & Frame.flagFin) !== 0
    const rst = (flags & Frame.flagRst) !== 0
    if (type === Frame.typeWindowUpdate) {
      if (length > 0) {
        const window = stream.sendWindow + length
        if (window > Frame.maxUint32) return `a window update beyond 2^32 - 1 bytes on stream ${id}`
        if (stream.sendWindow === 0) this.touch(stream)
        stream.sendWindow = window
      }
    } else if (length > 0) {
      if (stream.remoteClosed) return `data on stream ${id} after its FIN`
      stream.receiveWindow -= length
      this.payload = length
      this.payloadStream = rst ? undefined : stream
      this.payloadFin = fin
    }
    if (rst) {
      // What was sent in full before (FIN) stays readable: only what is incomplete is dropped.
      if (!stream.remoteClosed) stream.inbox.clear()
      this.fail(stream, resetByPeer)
    } else if (fin && this.payload === 0) this.remoteFin(stream)
    return undefined
  }

  private opened(id: number, nowMs: number): string | undefined {
    if ((id % 2 === 1) === this.client) {
      return `stream ${id} opened from the wrong end: both are ${this.client ? "clients" : "servers"}`
    }
    if (this.streams.has(id)) return `stream ${id} was opened twice`
    const { acceptBacklog, maxInboundStreams } = this.limits
    if (this.goAwaySent || this.inboundCount >= maxInboundStreams || this.backlog.size >= acceptBacklog) {
      this.counts.refused += 1
      this.refusalsUnsent += 1
      if (this.refusalsUnsent > maxRefusalsUnsent) return "opens streams without reading that they are refused"
      this.output.header(Frame.typeWindowUpdate, Frame.flagRst, id, 0)
      return undefined
    }
    const stream = new StreamState(id, true, nowMs)
    this.inboundCount += 1
    this.streams.set(id, stream)
    this.backlog.add(stream)
    return undefined
  }

  private pingFrame(flags: number, value: number, nowMs: number): void {
    if ((flags & Frame.flagSyn) !== 0) {
      if (this.pongsUnsent >= maxPongsUnsent) {
        this.counts.pongsWithheld += 1
        return
      }
      this.pongsUnsent += 1
      this.output.header(Frame.typePing, Frame.flagAck, 0, value)
      return
    }
    this.liveness.pong(value, nowMs)
  }

  private deliver(bytes: Uint8Array, nowMs: number): void {
    const stream = this.payloadStream
    if (stream === undefined || stream.done) this.counts.strayBytes += bytes.length
    else if (stream.readClosed) this.giveBack(stream, bytes.length, nowMs)
    else {
      if (stream.inbox.push(bytes)) this.loose.push(stream)
      this.touch(stream)
    }
  }

  /** Copies what would keep a whole batch in memory for a few bytes that nobody has read yet. */
  private settle(): void {
    if (this.loose.length === 0) return
    for (const stream of this.loose) stream.inbox.settle()
    this.loose = []
  }

  private payloadEnd(): void {
    const stream = this.payloadStream
    this.payloadStream = undefined
    if (this.payloadFin && stream !== undefined && !stream.done) this.remoteFin(stream)
    this.payloadFin = false
  }

  private remoteFin(stream: StreamState): void {
    if (stream.remoteClosed) return
    stream.remoteClosed = true
    this.touch(stream)
    if (stream.writeClosed) this.forget(stream)
  }

  // --- Windows, turns, ends ------------------------------------------------

  /** Counts bytes as read, and gives their window back once it is half of the whole. */
  private giveBack(stream: StreamState, bytes: number, nowMs: number): void {
    if (stream.done || stream.remoteClosed) return
    stream.consumed += bytes
    if (stream.consumed * 2 < stream.windowSize) return
    const delta = stream.consumed + (stream.readClosed ? 0 : this.grow(stream, nowMs))
    stream.consumed = 0
    stream.windowAt = nowMs
    stream.receiveWindow += delta
    this.output.header(Frame.typeWindowUpdate, this.openFlag(stream), stream.id, delta)
  }

  /**
   * Doubles the window of a stream that is read faster than a window in four
   * round trips, since the remote then waits for window rather than for the
   * reader. Says by how much.
   */
  private grow(stream: StreamState, nowMs: number): number {
    const rtt = this.liveness.rttMs
    if (this.liveness.isStale(nowMs)) this.ping(nowMs)
    // The clock may be no finer than a millisecond: a shorter round trip counts as one.
    if (rtt === undefined || nowMs - stream.windowAt >= 4 * Math.max(1, rtt)) return 0
    const wanted = Math.min(stream.windowSize, this.limits.maxWindow - stream.windowSize)
    const more = Math.min(wanted, this.limits.maxWindowGrowth - this.growth)
    if (more <= 0) return 0
    this.growth += more
    stream.windowSize += more
    return more
  }

  private openFlag(stream: StreamState): number {
    if (stream.announced || stream.done) return 0
    stream.announced = true
    return stream.inbound ? Frame.flagAck : Frame.flagSyn
  }

  private acknowledged(stream: StreamState): void {
    if (!stream.unacknowledged) return
    stream.unacknowledged = false
    this.unacknowledged -= 1
  }

  private goAway(code: number): void {
    if (this.goAwaySent) return
    this.goAwaySent = true
    this.output.header(Frame.typeGoAway, 0, 0, code)
  }

  private touch(stream: StreamState): void {
    if (stream.touched) return
    stream.touched = true
    this.touched.push(stream)
  }

  private linger(stream: StreamState, nowMs: number): void {
    if (stream.done || !stream.writeClosed || !stream.readClosed) return
    this.lingering.set(stream, nowMs + this.limits.closeTimeoutMs)
  }

  private fail(stream: StreamState, failure: StreamFailure): void {
    stream.failure = failure
    this.touch(stream)
    this.forget(stream)
  }

  /** Drops all that the session holds of a stream. */
  private forget(stream: StreamState): void {
    if (stream.done) return
    stream.done = true
    this.acknowledged(stream)
    if (stream.inbound) this.inboundCount -= 1
    this.growth -= stream.windowSize - Frame.initialWindow
    this.streams.delete(stream.id)
    this.backlog.delete(stream)
    this.unannounced.delete(stream)
    this.turns.remove(stream)
    this.lingering.delete(stream)
  }
}
