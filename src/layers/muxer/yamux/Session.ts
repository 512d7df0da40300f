/**
 * Session: one Yamux connection as a pure state machine, with windows, pings and
 * go-away. A remote that breaks the protocol ends it with a value that says how,
 * and a go-away frame in the output.
 *
 * ```
 * const session = new Session(true, defaults, nowMs)
 * ```
 *
 * Specification: yamux/README.md. Where it is silent, go-yamux decided: frames
 * of streams that are not (or no longer) known are dropped, since a reset
 * crosses them on the way; data among them up to what the windows of the streams
 * that were reset had left, and frames that carry nothing up to a rate.
 */
import * as Shared from "../internal/Session.ts"
import type { SessionEnd } from "../internal/SessionEnd.ts"
import * as Frame from "./Frame.ts"
import { type Limits, maxPongsUnsent } from "./Limits.ts"
import { Liveness } from "./Liveness.ts"
import { Output } from "./Output.ts"
import { StreamState } from "./StreamState.ts"

export const protocol = "/yamux/1.0.0"

const goodbyes = {
  normal: Frame.goAwayNormal,
  violation: Frame.goAwayProtocolError,
  internal: Frame.goAwayInternalError
} as const

export class Session extends Shared.Session<StreamState> {
  readonly protocol = protocol
  readonly maxId = Frame.maxUint32
  readonly limits: Limits
  readonly liveness: Liveness

  protected readonly output = new Output()
  private readonly client: boolean
  private nextId: number
  private unacknowledged = 0
  private growth = 0
  private pongsUnsent = 0
  private goAwaySent = false
  /** Data that may still come for streams that are not known (any more), in bytes: their windows were open. */
  private strayWindow = Frame.initialWindow

  /** A header that has come in part. */
  private partial: Uint8Array | undefined
  private partialLength = 0
  /** Payload of the current data frame that is still to come. */
  private payload = 0
  private payloadStream: StreamState | undefined
  private payloadFin = false

  constructor(client: boolean, limits: Limits, nowMs: number) {
    super(limits, nowMs)
    this.client = client
    this.limits = limits
    this.nextId = client ? 1 : 2
    this.liveness = new Liveness(limits, nowMs)
  }

  // --- Streams -------------------------------------------------------------

  get hasIds(): boolean {
    return this.nextId <= this.maxId
  }

  /** True when a stream can be opened without exceeding what the remote has to acknowledge, or what waits to be sent. */
  get canOpen(): boolean {
    return (
      this.ended === undefined &&
      this.remoteGoAway === undefined &&
      !this.closing &&
      this.hasIds &&
      this.unacknowledged < this.limits.maxUnacknowledged &&
      this.output.size < this.limits.outputHighWater
    )
  }

  /** How many streams may be opened before the remote has to acknowledge some. */
  get openable(): number {
    return this.limits.maxUnacknowledged - this.unacknowledged
  }

  open(): StreamState | undefined {
    if (!this.canOpen) return undefined
    const stream = new StreamState(this.nextId, false, this.nowMs)
    this.nextId += 2
    this.unacknowledged += 1
    return this.add(stream)
  }

  /** Takes bytes from the front of `bytes`, as window and output allow, and says how many. */
  write(stream: StreamState, bytes: Uint8Array): number {
    if (stream.done || stream.writeClosed) return 0
    const wanted = Math.min(bytes.length, stream.sendWindow)
    if (wanted === 0) return 0
    const taken = Math.max(0, Math.min(wanted, this.turns.allow(stream, this.room)))
    this.turns.wrote(stream, taken, taken < wanted)
    for (let at = 0; at < taken;) {
      const end = Math.min(taken, at + Frame.maxPayload)
      const payload = at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end)
      this.output.frame(Frame.typeData, this.openFlag(stream), stream.id, payload)
      // The remote gives window back for it: at the most once a frame, or a KiB.
      this.waste.earn(1 + ((end - at) >> 10))
      at = end
    }
    stream.sendWindow -= taken
    return taken
  }

  protected hasRoom(stream: StreamState): boolean {
    return stream.sendWindow > 0
  }

  // --- The connection ------------------------------------------------------

  /** Asks for a round trip, unless one is under way. `liveness` tells when it was answered, and how long it took. */
  ping(nowMs: number): void {
    if (this.ended !== undefined) return
    const value = this.liveness.ping(nowMs)
    if (value !== undefined) this.output.header(Frame.typePing, Frame.flagSyn, 0, value)
  }

  protected get due(): number {
    return this.liveness.deadline
  }

  /** Asks a silent remote whether it lives, and ends the session if it does not say. */
  protected whenDue(nowMs: number): void {
    switch (this.liveness.check(nowMs)) {
      case "nothing":
        return
      case "ask":
        this.settle()
        this.output.rest()
        return this.ping(nowMs)
      case "gone":
        this.end({ _tag: "KeepAliveTimeout", afterMs: this.limits.keepAliveTimeoutMs })
    }
  }

  protected sentAll(): void {
    this.pongsUnsent = 0
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
        this.arrive(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end), nowMs)
        at = end
        if (this.payload === 0) this.payloadEnd()
        continue
      }
      let header = bytes
      let headerAt = at
      if (this.partialLength > 0 || bytes.length - at < Frame.headerLength) {
        const end = Math.min(bytes.length, at + Frame.headerLength - this.partialLength)
        const partial = (this.partial ??= new Uint8Array(Frame.headerLength))
        partial.set(bytes.subarray(at, end), this.partialLength)
        this.partialLength += end - at
        at = end
        if (this.partialLength < Frame.headerLength) break
        this.partialLength = 0
        header = partial
        headerAt = 0
      } else at += Frame.headerLength
      const wrong = this.frame(header, headerAt, nowMs)
      if (wrong !== undefined) return this.violated(wrong)
      if (this.ended !== undefined) return this.ended
    }
    this.fit()
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
        return this.pingFrame(flags, length, nowMs)
      case Frame.typeGoAway:
        if (!this.waste.frame(nowMs)) return this.waste.tooManyFrames
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
    } else if ((type !== Frame.typeData || length === 0) && !this.waste.frame(nowMs)) return this.waste.tooManyFrames
    const stream = this.streams.get(id)
    if (stream === undefined) return this.stray(type, id, length)
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
      if (length > stream.receiveWindow) {
        return `${length} bytes of data on stream ${id}, whose window has ${stream.receiveWindow} left`
      }
      if (stream.remoteClosed) return `data on stream ${id} after its FIN`
      stream.receiveWindow -= length
      this.payload = length
      this.payloadStream = rst ? undefined : stream
      this.payloadFin = fin
    }
    if (rst) return this.remoteReset(stream)
    if (fin && this.payload === 0) this.remoteFin(stream)
    return undefined
  }

  /** A frame of a stream that is not known, or not any more. */
  private stray(type: number, id: number, length: number): string | undefined {
    this.counts.strayFrames += 1
    this.payloadStream = undefined
    if (type !== Frame.typeData) return undefined
    if (length > this.strayWindow) {
      return `${length} bytes of data on stream ${id}, which is not open; the windows of such streams have ${this.strayWindow} left`
    }
    this.strayWindow -= length
    this.payload = length
    return undefined
  }

  private opened(id: number, nowMs: number): string | undefined {
    if ((id % 2 === 1) === this.client) {
      return `stream ${id} opened from the wrong end: both are ${this.client ? "clients" : "servers"}`
    }
    if (this.streams.has(id)) return `stream ${id} was opened twice`
    const admitted = this.admit(id)
    if (admitted === "take") this.addInbound(new StreamState(id, true, nowMs))
    else if (admitted === "refused") this.strayWindow += Frame.initialWindow
    else return admitted.wrong
    return undefined
  }

  private pingFrame(flags: number, value: number, nowMs: number): string | undefined {
    if (!this.waste.frame(nowMs)) return this.waste.tooManyFrames
    if ((flags & Frame.flagSyn) === 0) this.liveness.pong(value, nowMs)
    else if (this.pongsUnsent >= maxPongsUnsent) this.counts.pongsWithheld += 1
    else {
      this.pongsUnsent += 1
      this.output.header(Frame.typePing, Frame.flagAck, 0, value)
    }
    return undefined
  }

  private arrive(bytes: Uint8Array, nowMs: number): void {
    const stream = this.payloadStream
    if (stream === undefined || stream.done) this.counts.strayBytes += bytes.length
    else this.deliver(stream, bytes, nowMs)
  }

  private payloadEnd(): void {
    const stream = this.payloadStream
    this.payloadStream = undefined
    if (this.payloadFin && stream !== undefined && !stream.done) this.remoteFin(stream)
    this.payloadFin = false
  }

  private acknowledged(stream: StreamState): void {
    if (!stream.unacknowledged) return
    stream.unacknowledged = false
    this.unacknowledged -= 1
  }

  // --- Windows and ends ----------------------------------------------------

  /** Counts bytes as read, and gives their window back once it is half of the whole. */
  protected freed(stream: StreamState, bytes: number, nowMs: number): void {
    if (stream.remoteClosed) return
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
   * reader. Says by how much. Nothing while memory is short.
   */
  private grow(stream: StreamState, nowMs: number): number {
    const rtt = this.liveness.rttMs
    if (this.liveness.isStale(nowMs)) this.ping(nowMs)
    // The clock may be no finer than a millisecond: a shorter round trip counts as one.
    if (rtt === undefined || nowMs - stream.windowAt >= 4 * Math.max(1, rtt)) return 0
    if (this.pressed || this.unread * 2 > this.limits.maxUnread) return 0
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

  protected putOpen(stream: StreamState): void {
    const flag = this.openFlag(stream)
    if (flag !== 0) this.output.header(Frame.typeWindowUpdate, flag, stream.id, 0)
  }

  protected putEnd(stream: StreamState): void {
    this.output.header(Frame.typeWindowUpdate, Frame.flagFin | this.openFlag(stream), stream.id, 0)
  }

  protected putReset(id: number): void {
    this.output.header(Frame.typeWindowUpdate, Frame.flagRst, id, 0)
  }

  protected putGoodbye(why: keyof typeof goodbyes): void {
    if (this.goAwaySent) return
    this.goAwaySent = true
    this.output.header(Frame.typeGoAway, 0, 0, goodbyes[why])
  }

  protected isKnown(stream: StreamState): boolean {
    return stream.inbound || stream.announced
  }

  protected forgotten(stream: StreamState): void {
    this.acknowledged(stream)
    this.growth -= stream.windowSize - Frame.initialWindow
    // The remote may have filled the window before it hears of the reset.
    if (stream.failure?._tag === "ResetLocally" && !stream.remoteClosed) this.strayWindow += stream.receiveWindow
  }
}
