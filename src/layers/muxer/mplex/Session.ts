/**
 * Session: one Mplex connection as a pure state machine. The protocol has no
 * windows, pings or go-away: what a slow reader leaves unread is bounded by not
 * reading on (`paused`), and when that took too long, by resetting its stream.
 *
 * ```
 * const session = new Session(true, defaults, nowMs)
 * ```
 *
 * Specification: mplex/README.md. Messages of streams that are not (or no longer)
 * known are dropped, since a reset crosses them on the way.
 */
import { describeLimit, LimitExceeded } from "../../../services/ResourceManager.ts"
import * as Shared from "../internal/Session.ts"
import type { SessionEnd } from "../internal/SessionEnd.ts"
import { StreamState } from "../internal/StreamState.ts"
import * as Frame from "./Frame.ts"
import type { Limits } from "./Limits.ts"
import { Output } from "./Output.ts"

export const protocol = "/mplex/6.7.0"

const nothing = new Uint8Array()
const utf8 = new TextEncoder()

/** The longest varint, in bytes. */
const maxVarint = 9

export class Session extends Shared.Session {
  readonly protocol = protocol
  readonly maxId = Frame.keyOf(Frame.maxWireId, true)
  readonly limits: Limits
  readonly liveness = undefined

  protected readonly output = new Output()
  private readonly dialer: boolean
  private nextId: number
  /** Streams whose readers are too slow, with the time when they are reset. */
  private readonly slow = new Map<StreamState, number>()
  /** When the largest streams are reset because all together hold too much. */
  private fullDue: number | undefined

  // The varint that is being read.
  private value = 0
  private scale = 1
  private size = 0
  /** The header, once it was read and its length was not. */
  private header: number | undefined
  /** Data of the current message that is still to come. */
  private payload = 0
  private payloadStream: StreamState | undefined
  private payloadStray = false

  constructor(dialer: boolean, limits: Limits, nowMs: number) {
    super(limits, nowMs)
    this.dialer = dialer
    this.nextId = Frame.keyOf(0, dialer)
    this.limits = limits
  }

  // --- Streams ---------------------------------------------------------------

  get hasIds(): boolean {
    return this.nextId <= this.maxId
  }

  get canOpen(): boolean {
    return this.ended === undefined && !this.closing && this.hasIds && this.room > 0
  }

  get openable(): number {
    return Number.POSITIVE_INFINITY
  }

  open(): StreamState | undefined {
    if (!this.canOpen) return undefined
    const stream = new StreamState(this.nextId, false)
    this.nextId += 2
    return this.add(stream)
  }

  write(stream: StreamState, bytes: Uint8Array): number {
    if (stream.done || stream.writeClosed || bytes.length === 0) return 0
    const taken = Math.max(0, Math.min(bytes.length, this.turns.allow(stream, this.room)))
    this.turns.wrote(stream, taken, taken < bytes.length)
    if (taken === 0) return 0
    this.putOpen(stream)
    const header = Frame.headerOf(Frame.wireIdOf(stream.id), Frame.message, stream.inbound)
    for (let at = 0; at < taken;) {
      const end = Math.min(taken, at + Frame.maxPayload)
      this.output.message(header, at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end))
      at = end
    }
    return taken
  }

  protected hasRoom(): boolean {
    return true
  }

  // --- What arrives ----------------------------------------------------------

  /**
   * Takes a batch of bytes, cut anywhere. The session keeps views of it: it must
   * not change afterwards. Gives the end if there is one. Call it no more while
   * the session is `paused`, or the bounds are exceeded by what you bring.
   */
  receive(bytes: Uint8Array, nowMs: number): SessionEnd | undefined {
    if (this.ended !== undefined) return this.ended
    this.nowMs = nowMs
    this.settle()
    let at = 0
    while (at < bytes.length) {
      if (this.payload > 0) {
        const end = Math.min(bytes.length, at + this.payload)
        this.payload -= end - at
        this.arrive(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end), nowMs)
        at = end
        continue
      }
      const wrong = this.varint(bytes[at] ?? 0)
      at += 1
      if (wrong !== undefined) return this.violated(wrong)
    }
    this.fit()
    if (!this.isFull) this.fullDue = undefined
    if (this.unread * 4 > this.limits.maxUnread * 3) this.fullDue ??= nowMs + this.limits.slowReaderMs
    return undefined
  }

  /** Takes a byte of a header or length, and with the last of both the frame; says what is wrong, if anything. */
  private varint(byte: number): string | undefined {
    this.value += (byte & 0x7f) * this.scale
    this.size += 1
    if (byte >= 0x80) {
      this.scale *= 0x80
      return this.size < maxVarint ? undefined : "a number of more than 9 bytes"
    }
    if (byte === 0 && this.size > 1) return "a number that is not in its shortest form"
    const value = this.value
    this.value = 0
    this.scale = 1
    this.size = 0
    const { header } = this
    if (header === undefined) {
      if (value > Number.MAX_SAFE_INTEGER) return `a stream id above ${Frame.maxWireId}`
      this.header = value
      return undefined
    }
    this.header = undefined
    return this.frame(header, value)
  }

  private frame(header: number, length: number): string | undefined {
    this.counts.frames += 1
    const flag = header % 8
    const wireId = Math.floor(header / 8)
    if (flag > Frame.lastFlag) return `a message of unknown flag ${flag}`
    if (length > Frame.maxMessage) return `a message of ${length} bytes; at most ${Frame.maxMessage} are allowed`
    this.payload = length
    this.payloadStream = undefined
    this.payloadStray = false
    if (flag === Frame.newStream) return this.opened(wireId)
    // Odd: it was opened here.
    const kind = flag % 2 === 1 ? flag : flag - 1
    const carries = kind === Frame.message && length > 0
    if (!carries && !this.waste.frame(this.nowMs)) return this.waste.tooManyFrames
    const stream = this.streams.get(Frame.keyOf(wireId, (flag % 2 === 1) === this.dialer))
    if (stream === undefined) {
      this.counts.strayFrames += 1
      this.payloadStray = true
      return undefined
    }
    if (kind === Frame.reset) return this.remoteReset(stream)
    if (kind === Frame.close) this.finished(stream)
    else if (length > 0) {
      if (stream.remoteClosed) return `data on stream ${wireId} after its close`
      this.payloadStream = stream
    }
    return undefined
  }

  /** The name of the stream, which follows, is for people who debug: it is skipped. */
  private opened(wireId: number): string | undefined {
    const id = Frame.keyOf(wireId, !this.dialer)
    if (this.streams.has(id)) return `stream ${wireId} was opened twice`
    const admitted = this.admit(id)
    if (admitted === "refused") return undefined
    if (admitted !== "take") return admitted.wrong
    const stream = new StreamState(id, true)
    stream.announced = true
    this.addInbound(stream)
    return undefined
  }

  private arrive(bytes: Uint8Array, nowMs: number): void {
    const stream = this.payloadStream
    if (stream === undefined || stream.done) {
      if (this.payloadStray) this.counts.strayBytes += bytes.length
      return
    }
    this.deliver(stream, bytes, nowMs)
    if (stream.inbox.size > this.limits.maxUnreadPerStream && !this.slow.has(stream)) {
      this.slow.set(stream, nowMs + this.limits.slowReaderMs)
    }
  }

  private finished(stream: StreamState): void {
    // It grows no more: nobody has to wait for its reader.
    this.slow.delete(stream)
    this.remoteFin(stream)
  }

  // --- Slow readers ----------------------------------------------------------

  /** All streams together hold too much, since `fullDue` was set and until half was read. */
  private get isFull(): boolean {
    return this.fullDue !== undefined && this.unread * 2 > this.limits.maxUnread
  }

  override get paused(): boolean {
    return this.slow.size > 0 || this.isFull
  }

  protected freed(stream: StreamState): void {
    if (this.slow.size > 0 && stream.inbox.size * 2 <= this.limits.maxUnreadPerStream) this.slow.delete(stream)
  }

  protected get due(): number {
    const full = this.isFull && this.fullDue !== undefined ? this.fullDue : Number.POSITIVE_INFINITY
    if (this.slow.size === 0) return full
    const [first] = this.slow.values()
    return Math.min(full, first ?? full)
  }

  protected whenDue(nowMs: number): void {
    const { maxUnread, maxUnreadPerStream, slowReaderMs } = this.limits
    const tell = (scope: string, limit: number, current: number) =>
      `${describeLimit(new LimitExceeded({ scope, resource: "unread bytes", limit, current }))}, and its reader had ${slowReaderMs} ms`
    for (const [stream, due] of this.slow) {
      if (due > nowMs) break
      this.counts.shed += 1
      this.reset(stream, tell(`stream ${stream.id}`, maxUnreadPerStream, stream.inbox.size))
    }
    if (this.isFull && this.fullDue !== undefined && this.fullDue <= nowMs) {
      this.shed(maxUnread / 2, tell("connection", maxUnread, this.unread))
      this.fullDue = undefined
    }
  }

  // --- What the protocol has, and has not ------------------------------------

  private get ownParity(): number {
    return this.dialer ? 0 : 1
  }

  ping(): void {}

  protected sentAll(): void {}

  protected putGoodbye(): void {}

  protected putOpen(stream: StreamState): void {
    if (stream.announced || stream.done) return
    stream.announced = true
    const wireId = Frame.wireIdOf(stream.id)
    this.output.message(wireId * 8 + Frame.newStream, utf8.encode(String(wireId)))
  }

  protected putEnd(stream: StreamState): void {
    this.putOpen(stream)
    this.output.message(Frame.headerOf(Frame.wireIdOf(stream.id), Frame.close, stream.inbound), nothing)
  }

  protected putReset(id: number): void {
    this.output.message(Frame.headerOf(Frame.wireIdOf(id), Frame.reset, id % 2 !== this.ownParity), nothing)
  }

  protected isKnown(stream: StreamState): boolean {
    return stream.announced
  }

  protected forgotten(stream: StreamState): void {
    this.slow.delete(stream)
  }
}
