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
import * as Effect from "effect/Effect"
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
import { Flight, type FlightEnd, maxSegment, noBytes, type Segment } from "./Flight.ts"
import { type Path, stallMs } from "./Link.ts"
import { Pieces } from "./Pieces.ts"

/** Acknowledgements noted one by one; more are joined. */
const maxCredits = 64

type Resume = (effect: Effect.Effect<void, StreamError>) => void

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

export class SimSocket implements Socket, FlightEnd {
  readonly ownedReads = true
  readonly copiesWrites = true
  readonly owner: SocketOwner
  readonly local: Endpoint
  readonly remote: Endpoint
  /** Runs when the end is over: gives back ports and mappings. */
  onFinished: (() => void) | undefined
  /** Takes the connection that the remote has dialled; false to refuse it. */
  onOpen: (() => boolean) | undefined
  private readonly fabric: Fabric
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

  private readonly flight: Flight

  constructor(fabric: Fabric, owner: SocketOwner, local: Endpoint, remote: Endpoint, path: Path, back: Path) {
    this.fabric = fabric
    this.owner = owner
    this.local = local
    this.remote = remote
    this.back = back
    this.flight = new Flight(fabric, path, back, this)
  }

  /** Joins both ends and, if `opens`, tells the far one. */
  join(peer: SimSocket, opens: boolean): void {
    this.peer = peer
    if (opens) this.flight.send("open", noBytes)
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

  whenReadable(wake: () => void): boolean {
    if (this.readState() !== undefined || this.reader !== undefined) return false
    this.reader = wake
    return true
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
      this.flight.send("end", noBytes)
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
    for (const bytes of this.pending.takeAll(maxSegment)) this.flight.send("data", bytes)
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
      this.flight.send("reset", noBytes)
    }
    this.finishIfDone()
  }

  /** What the closing of the scope does: see {@link file://../../internal/Pipe.ts}. */
  release(): void {
    if (this.error !== undefined) return
    if (!this.outEnded) return this.reset("its scope was closed")
    this.fail(new ResetLocally({ because: "its scope was closed" }))
    this.note("net.closed", this.link)
    if (!this.inEnded) this.flight.send("deaf", noBytes)
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

  /** The receiver's speed has changed. */
  reconsider(): void {
    this.flight.reconsider()
  }

  /** A path that it waited for is open, or the remote host (`undefined`) is back. */
  opened(path: Path | undefined): void {
    if (path !== undefined && path === this.back) this.creditsFlow()
    else this.flight.opened()
  }

  // ---- What becomes of its segments; see Flight.ts.

  get host(): SimHost {
    return this.owner.host
  }

  /** The other end, where its segments go. */
  get far(): SimSocket | undefined {
    return this.peer
  }

  /** Everything has arrived, or been dropped. */
  drained(): void {
    this.finishIfDone()
  }

  /** The remote host knows nothing of the connection. */
  refused(): void {
    if (this.error !== undefined) return
    this.dropOutgoing()
    this.fail(new ResetByPeer())
    this.finishIfDone()
  }

  /** No progress for too long. */
  stalled(): void {
    this.gone = true
    this.dropOutgoing()
    if (this.error === undefined) {
      this.fabric.stats.timedOut++
      this.note("net.lost", `${this.link}: no progress for ${stallMs / 1000} s`)
      this.fail(new ConnectionLost({ detail: "timed out: no progress for two minutes (ETIMEDOUT)" }))
    }
    this.finishIfDone()
  }

  // ---- Reading side.

  private readState(): Effect.Effect<void, StreamError> | undefined {
    if (this.error !== undefined) return failure(this.error)
    return this.incoming.size > 0 || this.inEnded ? Effect.void : undefined
  }

  /** A segment of the other end arrives here. Says what to answer. */
  receive(segment: Segment): "taken" | "unknown" {
    if (segment.kind === "open") {
      const opened = this.owner.alive && this.onOpen?.() === true
      // It holds on to the handshake, which is over.
      this.onOpen = undefined
      if (opened) return "taken"
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
    this.flight.heard()
    // The sender's next attempt brings the answer that was lost.
    if (bytes > 0) this.addCredit(bytes, this.fabric.now + this.back.meanMs + this.flight.retransmitMs)
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
    if (count > 0 && count === this.credits.length) this.credits = []
    else if (count > 0) this.credits.splice(0, count)
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

  /** Both endpoints, for notes. */
  get link(): string {
    return `${text(this.local)} ${text(this.remote)}`
  }

  private note(kind: string, detail: string): void {
    this.fabric.note(this.owner.host.name, kind, detail)
  }

  private dropOutgoing(): void {
    this.pending.drop()
    this.flight.drop()
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
    if (this.finished || this.error === undefined || !this.flight.isEmpty) return
    this.finished = true
    this.flight.drop()
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
