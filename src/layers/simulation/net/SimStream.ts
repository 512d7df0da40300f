/**
 * One end of a simulated connection. It behaves as TCP does towards its user:
 * in order, flow-controlled, half-closable, resettable; lost packets are seen
 * as delay, and silence for two minutes as a lost connection. What a kernel
 * does happens inside timeline events; what the node does about it goes through
 * the node's turn (`schedule`), so that a paused node stays paused.
 *
 * The segments of a direction wait in one queue, with one event for its head.
 * Acknowledgements cost no event: the reader notes when they arrive, and the
 * writer looks them up, or waits for the next one, only when its window is full.
 */
import { Effect } from "effect"
import {
  ConnectionLost,
  ResetByPeer,
  ResetLocally,
  StreamError,
  type StreamErrorReason,
  WriteClosed
} from "../../../services/ByteStream.ts"
import type { Endpoint, Socket } from "../../../services/Net.ts"
import type { Timer } from "../Timeline.ts"
import { text } from "./Address.ts"
import type { Fabric } from "./Fabric.ts"
import type { SimHost } from "./Host.ts"
import { minRetransmitMs, nextRetry, type Path, stallMs, type Waiter } from "./Link.ts"
import { Pieces } from "./Pieces.ts"

/** The most bytes of a segment. */
const maxSegment = 64 * 1024
/** Acknowledgements noted one by one; more are joined. */
const maxCredits = 64
const noBytes = new Uint8Array(0)

type Resume = (effect: Effect.Effect<void, StreamError>) => void

/** `open` is the last step of the handshake; `deaf` says that the sender has stopped reading. */
type SegmentKind = "open" | "data" | "end" | "deaf" | "reset"

interface Segment {
  readonly kind: SegmentKind
  bytes: Uint8Array
  readonly sentAt: number
  /** The time from its first bit to its last. */
  spread: number
  arriveAt: number
  /** It has waited for the receiver's downlink. */
  admitted: boolean
}

const failure = (reason: StreamErrorReason): Effect.Effect<never, StreamError> =>
  Effect.suspend(() => Effect.fail(new StreamError({ reason })))

const twoWaiters = (side: string): Effect.Effect<never> => Effect.die(`two fibers wait on "${side}" of one byte stream`)

/** What an end needs of the network stack that it belongs to. */
export interface SocketOwner {
  readonly host: SimHost
  /** False once the host has crashed. */
  readonly alive: boolean
  /** The end is over, and nothing of it is under way. */
  readonly finished: (socket: SimSocket) => void
}

export class SimSocket implements Socket, Waiter {
  readonly ownedReads = true
  readonly owner: SocketOwner
  readonly local: Endpoint
  readonly remote: Endpoint
  /** Runs when the end is over: gives back ports and mappings. */
  onFinished: (() => void) | undefined
  /** Takes the connection that the remote has dialled; false to refuse it. */
  onOpen: (() => boolean) | undefined
  private readonly fabric: Fabric
  private readonly path: Path
  private readonly back: Path
  private peer: SimSocket | undefined
  private error: StreamErrorReason | undefined
  private finished = false
  /** The host knows nothing of it any more: what arrives is answered with a reset. */
  private gone = false

  // Reading.
  private readonly incoming = new Pieces()
  private inEnded = false
  private reader: Resume | undefined

  // Writing.
  private readonly pending = new Pieces()
  private outEnded = false
  private unheard = false
  private writer: Resume | undefined
  private flushScheduled = false
  private wakeScheduled = false
  /** Bytes taken and not yet known to have been read. */
  private outstanding = 0
  private credits: Array<{ at: number; bytes: number }> = []
  /** Acknowledgements that cannot leave the remote host. */
  private heldCredit = 0
  private creditTimer: Timer | undefined

  // Under way.
  private flight: Array<Segment> = []
  private timer: Timer | undefined
  private lastArrival = 0
  /** When the segment that does not get through was sent. */
  private stuckSince: number | undefined
  /** The segments under way were lost, not merely held. */
  private lost = false
  private stall: Timer | undefined

  constructor(fabric: Fabric, owner: SocketOwner, local: Endpoint, remote: Endpoint, path: Path, back: Path) {
    this.fabric = fabric
    this.owner = owner
    this.local = local
    this.remote = remote
    this.path = path
    this.back = back
  }

  /** Joins both ends and, if `opens`, tells the far one. */
  join(peer: SimSocket, opens: boolean): void {
    this.peer = peer
    if (opens) this.send("open", noBytes)
  }

  get remoteHost(): SimHost | undefined {
    return this.peer?.owner.host
  }

  get failed(): boolean {
    return this.error !== undefined
  }

  // ---- The byte stream.

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

  get writable(): Effect.Effect<void, StreamError> {
    return Effect.callback<void, StreamError>((resume) => {
      const now = this.writeState()
      if (now !== undefined) return resume(now)
      if (this.writer !== undefined) return resume(twoWaiters("writable"))
      this.writer = resume
      this.awaitCredit()
      return Effect.sync(() => {
        if (this.writer === resume) this.writer = undefined
      })
    })
  }

  get closeWrite(): Effect.Effect<void, StreamError> {
    return Effect.suspend(() => {
      if (this.error !== undefined) return failure(this.error)
      if (this.outEnded) return Effect.void
      this.flush()
      this.outEnded = true
      this.send("end", noBytes)
      this.wakeLater()
      return Effect.void
    })
  }

  readonly tryRead = (): Uint8Array | null | undefined => {
    if (this.error !== undefined) return undefined
    const bytes = this.incoming.take()
    if (bytes === undefined) return this.inEnded ? null : undefined
    this.peer?.wasRead(bytes.length)
    return bytes
  }

  readonly tryWrite = (bytes: Uint8Array): number => {
    if (this.error !== undefined || this.outEnded || this.unheard) return 0
    const window = this.fabric.windowBytes
    if (this.outstanding + bytes.length > window) this.collectCredits()
    const taken = Math.min(bytes.length, window - this.outstanding)
    if (taken <= 0) return 0
    this.outstanding += taken
    for (let at = 0; at < taken; at += maxSegment) {
      const copy = new Uint8Array(Math.min(maxSegment, taken - at))
      copy.set(bytes.subarray(at, at + copy.length))
      this.pending.put(copy)
    }
    if (!this.flushScheduled) {
      this.flushScheduled = true
      this.owner.host.schedule(() => this.flushNow())
    }
    return taken
  }

  readonly flush = (): void => {
    if (this.pending.size === 0) return
    for (const bytes of this.pending.takeAll(maxSegment)) this.send("data", bytes)
  }

  readonly reset = (because: string): void => {
    if (this.error !== undefined) return
    const over = this.inEnded && this.outEnded
    this.fail(new ResetLocally({ because }))
    if (!over) {
      this.gone = true
      this.dropOutgoing()
      this.note("net.reset", `${this.link}: ${because}`)
      this.fabric.stats.resets++
      this.send("reset", noBytes)
    }
    this.finishIfDone()
  }

  /** What the closing of the scope does: see {@link file://../../internal/Pipe.ts}. */
  release(): void {
    if (this.error !== undefined) return
    if (!this.outEnded) return this.reset("its scope was closed")
    this.fail(new ResetLocally({ because: "its scope was closed" }))
    this.note("net.closed", this.link)
    if (!this.inEnded) this.send("deaf", noBytes)
    this.finishIfDone()
  }

  // ---- Faults.

  /** The end is gone without a word to the remote. */
  vanish(detail: string): void {
    this.gone = true
    this.dropOutgoing()
    if (this.error === undefined) this.fail(new ConnectionLost({ detail }))
    this.finishIfDone()
  }

  /** Somebody between the ends resets both. */
  cut(): void {
    const { peer } = this
    for (const end of peer === undefined ? [this] : [this, peer]) {
      end.dropOutgoing()
      if (end.error === undefined) {
        end.note("net.reset", `${end.link}: by the network`)
        end.fail(new ResetByPeer())
      }
      end.finishIfDone()
    }
  }

  /** The receiver's speed has changed: what waits for it is looked at again. */
  reconsider(): void {
    const head = this.flight[0]
    if (head === undefined || this.stuckSince !== undefined) return
    if (head.admitted) {
      head.admitted = false
      head.arriveAt = this.fabric.now
    }
    this.arm(head.arriveAt)
  }

  /** A path that it waited for is open, or the remote host (`undefined`) is back. */
  opened(path: Path | undefined): void {
    if (path !== undefined && path === this.back) this.creditsFlow()
    else this.unstick()
  }

  // ---- Reading side.

  private readState(): Effect.Effect<void, StreamError> | undefined {
    if (this.error !== undefined) return failure(this.error)
    return this.incoming.size > 0 || this.inEnded ? Effect.void : undefined
  }

  /** A segment of the other end arrives here. Says what to answer. */
  private receive(segment: Segment): "taken" | "unknown" {
    if (segment.kind === "open") {
      if (this.owner.alive && this.onOpen?.() === true) return "taken"
      this.vanish("refused")
      return "unknown"
    }
    // An end that was closed in order takes no more, and has said so.
    if (this.error !== undefined) return this.gone && segment.kind !== "reset" ? "unknown" : "taken"
    switch (segment.kind) {
      case "data":
        this.incoming.put(segment.bytes)
        break
      case "end":
        this.inEnded = true
        break
      case "deaf":
        this.unheard = !this.outEnded
        break
      case "reset":
        this.dropOutgoing()
        this.fail(new ResetByPeer())
        this.finishIfDone()
    }
    this.wakeLater()
    return "taken"
  }

  // ---- Writing side.

  private writeState(): Effect.Effect<void, StreamError> | undefined {
    if (this.error !== undefined) return failure(this.error)
    if (this.unheard) return failure(new ResetByPeer())
    if (this.outEnded) return failure(new WriteClosed())
    this.collectCredits()
    return this.outstanding < this.fabric.windowBytes ? Effect.void : undefined
  }

  private flushNow(): void {
    this.flushScheduled = false
    this.flush()
  }

  private creditsFlow(): void {
    const bytes = this.heldCredit
    this.heldCredit = 0
    if (this.stuckSince === undefined) this.clearStall()
    // The sender's next attempt brings the answer that was lost.
    if (bytes > 0) this.addCredit(bytes, this.fabric.now + this.back.meanMs + this.retransmitMs)
  }

  /** The remote has read so many bytes. */
  private wasRead(bytes: number): void {
    if (this.error !== undefined) return
    if (this.back.stopped) {
      this.heldCredit += bytes
      this.back.waiting.add(this)
      return
    }
    this.addCredit(bytes, this.fabric.now + this.back.meanMs)
  }

  private addCredit(bytes: number, at: number): void {
    const last = this.credits[this.credits.length - 1]
    if (last !== undefined && (last.at >= at || this.credits.length >= maxCredits)) {
      last.at = Math.max(last.at, at)
      last.bytes += bytes
    } else {
      this.credits.push({ at, bytes })
    }
    if (this.writer !== undefined) this.awaitCredit()
  }

  private collectCredits(): void {
    const { now } = this.fabric
    let count = 0
    for (const credit of this.credits) {
      if (credit.at > now) break
      this.outstanding -= credit.bytes
      count++
    }
    if (count > 0) this.credits.splice(0, count)
  }

  private awaitCredit(): void {
    const next = this.credits[0]
    if (next === undefined || this.creditTimer !== undefined) return
    this.creditTimer = this.fabric.timeline.after(next.at - this.fabric.now, () => this.creditArrived())
  }

  private creditArrived(): void {
    this.creditTimer = undefined
    this.wakeLater()
  }

  // ---- On the way.

  private get retransmitMs(): number {
    return Math.max(minRetransmitMs, this.path.meanMs + this.back.meanMs)
  }

  private get link(): string {
    return `${text(this.local)} ${text(this.remote)}`
  }

  private note(kind: string, detail: string): void {
    this.fabric.note(this.owner.host.name, kind, detail)
  }

  private send(kind: SegmentKind, bytes: Uint8Array): void {
    const { now } = this.fabric
    // A reset is sent once, whether it arrives or not.
    if (kind === "reset" && this.path.blocked) return
    const segment: Segment = { kind, bytes, sentAt: now, spread: 0, arriveAt: 0, admitted: false }
    this.flight.push(segment)
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
    const { peer } = this
    if (peer === undefined) return
    let taken = 0
    for (; taken < this.flight.length; taken++) {
      const segment = this.flight[taken]
      if (segment === undefined || segment.arriveAt > this.fabric.now) break
      const away = !peer.owner.host.owns(peer.local.host) || !peer.owner.host.up
      if (this.path.blocked || away) {
        // A reset is sent once.
        if (segment.kind === "reset") continue
        this.flight.splice(0, taken)
        return this.stick(true)
      }
      if (this.path.held) {
        this.flight.splice(0, taken)
        return this.stick(false)
      }
      if (segment.kind === "data" && !segment.admitted && !this.admit(segment, taken, peer.owner.host)) break
      this.deliver(segment, peer)
      if (this.flight.length === 0) break
    }
    if (taken > 0) this.flight.splice(0, taken)
    const head = this.flight[0]
    if (head !== undefined && this.timer === undefined) this.arm(head.arriveAt)
    this.finishIfDone()
  }

  /** Lets a segment through the receiver's downlink; false when it has to wait there. */
  private admit(segment: Segment, index: number, host: SimHost): boolean {
    const { now } = this.fabric
    let at = now
    if (host.downlink !== undefined && host !== this.owner.host) {
      at = host.downlink.pass(segment.bytes.length, now - segment.spread, now)
    }
    if (host.slow !== undefined) {
      // In small pieces, so that a slow reader reads slowly and not now and then.
      const size = Math.max(1, Math.floor(host.slow.bytesPerSecond / 10))
      if (segment.bytes.length > size) {
        const rest: Segment = { ...segment, bytes: segment.bytes.subarray(size) }
        segment.bytes = segment.bytes.subarray(0, size)
        this.flight.splice(index + 1, 0, rest)
      }
      at = Math.max(at, host.slow.rate.pass(segment.bytes.length, now, now))
      host.slow.waiting.add(this)
    }
    if (at <= now) return true
    segment.admitted = true
    segment.arriveAt = at
    this.lastArrival = Math.max(this.lastArrival, at)
    return false
  }

  private deliver(segment: Segment, peer: SimSocket): void {
    const { stats } = this.fabric
    stats.segments++
    stats.bytes += segment.bytes.length
    if (this.fabric.traceSegments) this.note("net.segment", `${this.link} ${segment.kind} ${segment.bytes.length}`)
    this.stuckSince = undefined
    if (this.back.stopped) {
      // It arrives, but nothing ever tells this end.
      if (this.stall === undefined) this.armStall(this.fabric.now)
      this.back.waiting.add(this)
    } else {
      this.clearStall()
    }
    if (this.path.corrupt(segment.bytes)) stats.corrupted++
    if (peer.receive(segment) === "taken") return
    // Nobody is there: the host answers with a reset.
    this.flight = []
    if (this.back.stopped) return
    this.fabric.timeline.after(this.back.sampleMs(), () => {
      if (this.error !== undefined) return
      this.dropOutgoing()
      this.fail(new ResetByPeer())
      this.finishIfDone()
    })
  }

  /** Nothing gets through any more; `lost` if what was under way has to be sent again. */
  private stick(lost: boolean): void {
    const head = this.flight[0]
    if (head === undefined) return
    this.timer?.cancel()
    this.timer = undefined
    this.lost ||= lost
    this.stuckSince ??= head.sentAt
    if (this.stall === undefined) this.armStall(this.stuckSince)
    if (this.path.stopped) this.path.waiting.add(this)
    else this.peer?.owner.host.waiting.add(this)
  }

  private unstick(): void {
    if (this.stuckSince === undefined || this.flight.length === 0) return
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
    for (const segment of this.flight) {
      if (lost) {
        this.depart(segment)
        this.fabric.stats.retransmitted++
      } else {
        segment.arriveAt = this.fabric.now
      }
    }
    const head = this.flight[0]
    // The queue moves again; whether the other end is there is seen on arrival.
    const since = this.stuckSince
    this.stuckSince = undefined
    if (head === undefined) return
    if (since !== undefined && this.stall === undefined) this.armStall(since)
    this.arm(head.arriveAt)
  }

  private armStall(since: number): void {
    this.stall = this.fabric.timeline.after(Math.max(0, since + stallMs - this.fabric.now), () => this.stalled())
  }

  private clearStall(): void {
    this.stall?.cancel()
    this.stall = undefined
  }

  private stalled(): void {
    this.stall = undefined
    this.gone = true
    this.dropOutgoing()
    if (this.error === undefined) {
      this.fabric.stats.timedOut++
      this.note("net.lost", `${this.link}: no progress for ${stallMs / 1000} s`)
      this.fail(new ConnectionLost({ detail: "timed out: no progress for two minutes (ETIMEDOUT)" }))
    }
    this.finishIfDone()
  }

  private dropOutgoing(): void {
    this.flight = []
    this.pending.drop()
    this.timer?.cancel()
    this.timer = undefined
    this.stuckSince = undefined
    this.lost = false
    this.clearStall()
    this.path.waiting.delete(this)
    this.back.waiting.delete(this)
    this.peer?.owner.host.waiting.delete(this)
  }

  private fail(reason: StreamErrorReason): void {
    if (this.error !== undefined) return
    this.error = reason
    this.incoming.drop()
    this.credits = []
    this.creditTimer?.cancel()
    this.creditTimer = undefined
    this.wakeLater()
  }

  /** Gives everything back once the end is over and all it said has arrived. */
  private finishIfDone(): void {
    if (this.finished || this.error === undefined || this.flight.length > 0) return
    this.finished = true
    this.clearStall()
    this.peer?.owner.host.slow?.waiting.delete(this)
    this.onFinished?.()
    this.owner.finished(this)
  }

  // ---- The node's turn.

  private wakeLater(): void {
    if (this.wakeScheduled || (this.reader === undefined && this.writer === undefined)) return
    this.wakeScheduled = true
    this.owner.host.schedule(() => this.wake())
  }

  private wake(): void {
    this.wakeScheduled = false
    const { reader, writer } = this
    if (reader !== undefined) {
      const now = this.readState()
      if (now !== undefined) {
        this.reader = undefined
        reader(now)
      }
    }
    if (writer !== undefined && this.writer === writer) {
      const now = this.writeState()
      if (now === undefined) return this.awaitCredit()
      this.writer = undefined
      writer(now)
    }
  }
}
