/**
 * What one end of a connection has sent and the other has not got yet: a queue
 * of segments, in order, with one event for its head. Here is what becomes of
 * them under loss, partitions, holds and crashes.
 *
 * It flows until the head arrives at a closed path or at nobody; then it is
 * stuck, and waits to be told that the path is open or the host is back. What
 * was lost is sent again at the time at which TCP would next try.
 */
import type { Timer } from "../Timeline.ts"
import type { Fabric } from "./Fabric.ts"
import type { SimHost } from "./Host.ts"
import { minRetransmitMs, nextRetry, type Path, stallMs, type Waiter } from "./Link.ts"

/** The most bytes of a segment. */
export const maxSegment = 64 * 1024
export const noBytes = new Uint8Array(0)

/** `open` is the last step of the handshake; `deaf` says that the sender has stopped reading. */
export type SegmentKind = "open" | "data" | "end" | "deaf" | "reset"

export interface Segment {
  readonly kind: SegmentKind
  bytes: Uint8Array
  readonly sentAt: number
  /** The time from its first bit to its last. */
  spread: number
  arriveAt: number
  /** It has waited for the receiver's downlink. */
  admitted: boolean
}

/** The end of a connection that a flight belongs to. */
export interface FlightEnd extends Waiter {
  readonly host: SimHost
  readonly local: { readonly host: string }
  readonly link: string
  readonly far: FlightEnd | undefined
  readonly receive: (segment: Segment) => "taken" | "unknown"
  readonly drained: () => void
  readonly refused: () => void
  readonly stalled: () => void
  /** Looks again at what waits for a receiver whose speed has changed. */
  readonly reconsider: () => void
}

export class Flight {
  private readonly fabric: Fabric
  private readonly path: Path
  private readonly back: Path
  private readonly end: FlightEnd
  private segments: Array<Segment> = []
  private timer: Timer | undefined
  private lastArrival = 0
  /** When the segment that does not get through was sent. */
  private stuckSince: number | undefined
  /** The segments under way were lost, not merely held. */
  private lost = false
  private stall: Timer | undefined

  constructor(fabric: Fabric, path: Path, back: Path, end: FlightEnd) {
    this.fabric = fabric
    this.path = path
    this.back = back
    this.end = end
  }

  get isEmpty(): boolean {
    return this.segments.length === 0
  }

  /** The time after which a lost segment is first sent again. */
  get retransmitMs(): number {
    return Math.max(minRetransmitMs, this.path.meanMs + this.back.meanMs)
  }

  /** The remote can be heard again. */
  heard(): void {
    if (this.stuckSince === undefined) this.clearStall()
  }

  /** Forgets everything that is under way. */
  drop(): void {
    const far = this.end.far?.host
    this.segments = []
    this.timer?.cancel()
    this.timer = undefined
    this.stuckSince = undefined
    this.lost = false
    this.clearStall()
    this.path.waiting.delete(this.end)
    this.back.waiting.delete(this.end)
    far?.waiting.delete(this.end)
    far?.slow?.waiting.delete(this.end)
  }

  /** The receiver's speed has changed: what waits for it is looked at again. */
  reconsider(): void {
    const head = this.segments[0]
    if (head === undefined || this.stuckSince !== undefined) return
    if (head.admitted) {
      head.admitted = false
      head.arriveAt = this.fabric.now
    }
    this.arm(head.arriveAt)
  }

  send(kind: SegmentKind, bytes: Uint8Array): void {
    const { now } = this.fabric
    // A reset is sent once, whether it arrives or not.
    if (kind === "reset" && this.path.blocked) return
    if (bytes.length > 0 && this.path.from !== this.path.to) this.fabric.overheard?.(this.end.host, bytes)
    const segment: Segment = { kind, bytes, sentAt: now, spread: 0, arriveAt: 0, admitted: false }
    this.segments.push(segment)
    if (this.stuckSince !== undefined) return
    if (this.path.blocked) return this.stick(true)
    this.depart(segment)
    if (this.timer === undefined) this.arm(segment.arriveAt)
  }

  private depart(segment: Segment): void {
    const { bytes } = segment
    let at = this.path.depart(bytes.length, this.fabric.now)
    const losses = this.path.losses(bytes.length)
    if (losses > 0) {
      at += this.retransmitMs * (2 ** losses - 1)
      this.fabric.stats.retransmitted += losses
      if (this.stall === undefined && at - this.fabric.now > stallMs) this.armStall(this.fabric.now)
    }
    segment.spread = this.path.spread
    segment.arriveAt = this.lastArrival = Math.max(at, this.lastArrival)
  }

  private arm(at: number): void {
    this.timer?.cancel()
    this.timer = this.fabric.timeline.after(at - this.fabric.now, () => this.arrive())
  }

  /** Delivers what has arrived. */
  private arrive(): void {
    this.timer = undefined
    const peer = this.end.far
    if (peer === undefined) return
    let taken = 0
    for (; taken < this.segments.length; taken++) {
      const segment = this.segments[taken]
      if (segment === undefined || segment.arriveAt > this.fabric.now) break
      const away = !peer.host.owns(peer.local.host) || !peer.host.up
      if (this.path.blocked || away) {
        // A reset is sent once.
        if (segment.kind === "reset") continue
        this.segments.splice(0, taken)
        return this.stick(true)
      }
      if (this.path.held) {
        this.segments.splice(0, taken)
        return this.stick(false)
      }
      if (segment.kind === "data" && !segment.admitted && !this.admit(segment, taken, peer.host)) break
      this.deliver(segment, peer)
      if (this.segments.length === 0) break
    }
    if (taken > 0 && taken === this.segments.length) this.segments = []
    else if (taken > 0) this.segments.splice(0, taken)
    const head = this.segments[0]
    if (head !== undefined && this.timer === undefined) this.arm(head.arriveAt)
    this.end.drained()
  }

  /** Lets a segment through the receiver's downlink; false when it has to wait there. */
  private admit(segment: Segment, index: number, host: SimHost): boolean {
    const { now } = this.fabric
    let at = now
    if (host.downlink !== undefined && host !== this.end.host) {
      at = host.downlink.pass(segment.bytes.length, now - segment.spread, now)
    }
    if (host.slow !== undefined) {
      // In small pieces, so that a slow reader reads slowly and not now and then.
      const size = Math.max(1, Math.floor(host.slow.bytesPerSecond / 10))
      if (segment.bytes.length > size) {
        const rest: Segment = { ...segment, bytes: segment.bytes.subarray(size) }
        segment.bytes = segment.bytes.subarray(0, size)
        this.segments.splice(index + 1, 0, rest)
      }
      at = Math.max(at, host.slow.rate.pass(segment.bytes.length, now, now))
      host.slow.waiting.add(this.end)
    }
    if (at <= now) return true
    segment.admitted = true
    segment.arriveAt = at
    this.lastArrival = Math.max(this.lastArrival, at)
    return false
  }

  private deliver(segment: Segment, peer: FlightEnd): void {
    const { stats } = this.fabric
    stats.segments++
    stats.bytes += segment.bytes.length
    if (this.fabric.traceSegments)
      this.fabric.note(this.end.host.name, "net.segment", `${this.end.link} ${segment.kind} ${segment.bytes.length}`)
    this.stuckSince = undefined
    if (this.back.stopped) {
      // It arrives, but nothing ever tells this end.
      if (this.stall === undefined) this.armStall(this.fabric.now)
      this.back.waiting.add(this.end)
    } else {
      this.clearStall()
    }
    if (this.path.corrupt(segment.bytes)) stats.corrupted++
    if (peer.receive(segment) === "taken") return
    // Nobody is there: the host answers with a reset.
    this.segments = []
    if (this.back.stopped) return
    this.fabric.timeline.after(this.back.sampleMs(), () => this.end.refused())
  }

  /** Nothing gets through any more; `lost` if what was under way has to be sent again. */
  private stick(lost: boolean): void {
    const head = this.segments[0]
    if (head === undefined) return
    this.timer?.cancel()
    this.timer = undefined
    this.lost ||= lost
    this.stuckSince ??= head.sentAt
    if (this.stall === undefined) this.armStall(this.stuckSince)
    if (this.path.stopped) this.path.waiting.add(this.end)
    else this.end.far?.host.waiting.add(this.end)
  }

  /** The path is open, or the remote host is back: when the next attempt is. */
  opened(): void {
    if (this.stuckSince === undefined || this.segments.length === 0) return
    const { now } = this.fabric
    const at = this.lost ? nextRetry(this.stuckSince, now, this.retransmitMs) : now
    this.timer?.cancel()
    this.timer = this.fabric.timeline.after(at - now, () => this.resend())
  }

  private resend(): void {
    this.timer = undefined
    if (this.lost && this.path.blocked) return this.stick(true)
    const { lost } = this
    this.lost = false
    this.lastArrival = this.fabric.now
    for (const segment of this.segments) {
      if (lost) {
        this.depart(segment)
        this.fabric.stats.retransmitted++
      } else {
        segment.arriveAt = this.fabric.now
      }
    }
    const head = this.segments[0]
    // The queue moves again; whether the other end is there is seen on arrival.
    const since = this.stuckSince
    this.stuckSince = undefined
    if (head === undefined) return
    if (since !== undefined && this.stall === undefined) this.armStall(since)
    this.arm(head.arriveAt)
  }

  private armStall(since: number): void {
    this.stall = this.fabric.timeline.after(Math.max(0, since + stallMs - this.fabric.now), () => {
      this.stall = undefined
      this.end.stalled()
    })
  }

  private clearStall(): void {
    this.stall?.cancel()
    this.stall = undefined
  }
}
