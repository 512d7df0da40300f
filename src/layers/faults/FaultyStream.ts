/**
 * A byte stream with faults. While none is set and nothing is held back, every
 * call goes straight to the stream within. Else:
 *
 * - Reading: the owner's calls fetch what has arrived into a line, which gives
 *   it later. Only the owner ever waits on the inner `readable`.
 * - Writing: bytes wait in a line, and a fiber that lives as long as the line is
 *   not empty writes them to the inner stream. It belongs to the stream: the
 *   closing of its scope ends it.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { type ByteStream, StreamError, WriteClosed } from "../../services/ByteStream.ts"
import type { FaultLink, Faults } from "../../services/FaultControls.ts"
import { holds, Line } from "./Line.ts"
import { Signal, type Tools } from "./Tools.ts"

const writeClosed = Effect.suspend(() => Effect.fail(new StreamError({ reason: new WriteClosed() })))

export class FaultyStream implements ByteStream, FaultLink {
  readonly host: string
  readonly ownedReads: boolean
  readonly copiesWrites: boolean | undefined
  readonly readable: Effect.Effect<void, StreamError>
  readonly writable: Effect.Effect<void, StreamError>
  readonly closeWrite: Effect.Effect<void, StreamError>

  private readonly inner: ByteStream
  private readonly tools: Tools
  private faults: Faults
  private holding: boolean
  private readonly signal: Signal
  private readonly incoming: Line
  private readonly outgoing: Line
  /** The inner stream alone answers from now on. */
  private over = false
  /** The inner stream has nothing more to read: its end is in the line, or it failed. */
  private drained = false
  /** The end has been read. */
  private readEnd = false
  /** The end of writing is in the line, or has passed it. */
  private closing = false
  /** The inner stream takes no more: it tells why. */
  private writeFailed = false
  /** The owner waits on the inner `writable`. */
  private ownerWaits = false
  private pump: Fiber.Fiber<void> | undefined
  private pumping = false

  constructor(tools: Tools, inner: ByteStream, host: string) {
    this.tools = tools
    this.inner = inner
    this.host = host
    this.ownedReads = inner.ownedReads
    this.copiesWrites = inner.copiesWrites
    this.faults = tools.controls.of(host)
    this.holding = holds(this.faults)
    this.signal = new Signal(tools.dispatcher)
    this.incoming = new Line(tools)
    this.outgoing = new Line(tools)
    this.readable = Effect.suspend(() => this.awaitReadable())
    this.writable = Effect.suspend(() => this.awaitWritable())
    this.closeWrite = Effect.suspend(() => {
      if (this.writesPass) return inner.closeWrite
      if (this.closing) return Effect.void
      this.closing = true
      this.outgoing.put(null, this.faults)
      this.startPump()
      this.signal.notify()
      return Effect.void
    })
  }

  readonly changed = (faults: Faults): void => {
    this.faults = faults
    this.holding = holds(faults)
    this.signal.notify()
  }

  readonly cut = (): void => {
    this.tools.controls.count("cut")
    this.reset("cut by a fault")
  }

  // Reading

  private get readsPass(): boolean {
    return this.over || this.readEnd || (!this.holding && this.incoming.isEmpty)
  }

  private fetch(): void {
    if (this.faults.blackHole === true) return
    while (!this.drained && this.incoming.room > 0) {
      const bytes = this.inner.tryRead()
      if (bytes === undefined) return
      // Lent bytes would not outlast the wait.
      this.incoming.put(bytes === null || this.inner.ownedReads ? bytes : new Uint8Array(bytes), this.faults)
      if (bytes === null) this.drained = true
    }
  }

  readonly tryRead = (): Uint8Array | null | undefined => {
    if (this.readsPass) return this.inner.tryRead()
    this.fetch()
    if (this.incoming.wait(this.faults) !== 0) return undefined
    const bytes = this.incoming.take(this.faults)
    if (bytes === null) this.readEnd = true
    return bytes
  }

  private awaitReadable(): Effect.Effect<void, StreamError> {
    if (this.readsPass) return this.inner.readable
    const { seen } = this.signal
    this.fetch()
    const wait = this.incoming.wait(this.faults)
    if (wait === 0) return Effect.void
    // It failed, and all that came before has been read.
    if (wait === undefined && this.drained) return this.inner.readable
    const waits: Array<Effect.Effect<void>> = [this.signal.after(seen)]
    if (wait !== undefined && wait !== Number.POSITIVE_INFINITY) waits.push(Effect.sleep(Math.ceil(wait)))
    if (!this.drained && this.faults.blackHole !== true && this.incoming.room > 0) {
      waits.push(
        this.inner.readable.pipe(
          Effect.catchTag("StreamError", () =>
            Effect.sync(() => {
              this.drained = true
              this.failWrites()
            })
          )
        )
      )
    }
    return Effect.andThen(Effect.raceAllFirst(waits), this.readable)
  }

  // Writing

  private get writesPass(): boolean {
    if (this.over || this.writeFailed) return true
    return !this.holding && !this.pumping && this.outgoing.isEmpty
  }

  readonly tryWrite = (bytes: Uint8Array): number => {
    if (this.writesPass) return this.inner.tryWrite(bytes)
    if (this.closing || bytes.length === 0) return 0
    const taken = Math.min(bytes.length, this.outgoing.room)
    if (taken === 0) return 0
    // Not `slice`: that of a Buffer shares its memory, and a flipped bit must not show in the writer's own.
    this.outgoing.put(new Uint8Array(bytes.subarray(0, taken)), this.faults)
    this.startPump()
    return taken
  }

  readonly flush = (): void => this.inner.flush()

  private awaitWritable(): Effect.Effect<void, StreamError> {
    if (this.writesPass) {
      this.ownerWaits = true
      return Effect.ensuring(
        this.inner.writable,
        Effect.sync(() => {
          this.ownerWaits = false
          this.signal.notify()
        })
      )
    }
    if (this.closing) return writeClosed
    if (this.outgoing.room > 0) return Effect.void
    return Effect.andThen(this.signal.after(this.signal.seen), this.writable)
  }

  private startPump(): void {
    if (this.pumping) return this.signal.notify()
    this.pumping = true
    this.pump = Effect.runForkWith(this.tools.context)(Effect.andThen(Effect.yieldNow, this.pumpNext))
  }

  private readonly stopPump = (): void => {
    this.pumping = false
    this.signal.notify()
  }

  /** Sends what is due, until nothing is held. */
  private readonly pumpNext: Effect.Effect<void> = Effect.suspend(() => {
    if (this.over || this.writeFailed) return Effect.sync(this.stopPump)
    const { seen } = this.signal
    const wait = this.outgoing.wait(this.faults)
    if (wait === undefined) return Effect.sync(this.stopPump)
    if (wait > 0) {
      const changed = this.signal.after(seen)
      const waiting =
        wait === Number.POSITIVE_INFINITY ? changed : Effect.raceFirst(Effect.sleep(Math.ceil(wait)), changed)
      return Effect.andThen(waiting, this.pumpNext)
    }
    const bytes = this.outgoing.take(this.faults)
    this.signal.notify()
    const sent = bytes === null || bytes === undefined ? this.inner.closeWrite : this.send(bytes)
    return sent.pipe(
      Effect.catch(() => Effect.sync(() => this.failWrites())),
      Effect.andThen(this.pumpNext)
    )
  })

  private failWrites(): void {
    this.writeFailed = true
    this.outgoing.drop()
    this.signal.notify()
  }

  private send(bytes: Uint8Array): Effect.Effect<void, StreamError> {
    return Effect.suspend(() => {
      const taken = this.inner.tryWrite(bytes)
      if (taken === bytes.length) {
        this.inner.flush()
        return Effect.void
      }
      const rest = this.send(bytes.subarray(taken))
      // Only one may wait on the inner stream; the owner was first.
      if (this.ownerWaits) return Effect.andThen(this.signal.after(this.signal.seen), rest)
      return Effect.andThen(this.inner.writable, rest)
    })
  }

  readonly reset = (because: string): void => {
    this.finish()
    this.inner.reset(because)
  }

  private finish(): void {
    this.over = true
    this.incoming.drop()
    this.outgoing.drop()
    this.signal.notify()
  }

  private readonly awaitPump: Effect.Effect<void> = Effect.suspend(() =>
    this.pumping ? Effect.andThen(this.signal.after(this.signal.seen), this.awaitPump) : Effect.void
  )

  /** Before the inner stream is closed: what was written before `closeWrite` may still leave. Takes at most the linger time. */
  readonly release: Effect.Effect<void> = Effect.suspend(() => {
    const lingering =
      this.closing && this.pumping
        ? Effect.interruptible(Effect.ignore(Effect.timeout(this.awaitPump, this.tools.lingerMs)))
        : Effect.void
    return Effect.andThen(
      lingering,
      Effect.suspend(() => {
        this.finish()
        return this.pump === undefined ? Effect.void : Effect.asVoid(Fiber.interrupt(this.pump))
      })
    )
  })
}

/** Gives a stream the faults of a host, until the scope closes. It must have been opened in the same scope, before. */
export const decorate = (
  tools: Tools,
  inner: ByteStream,
  host: string
): Effect.Effect<FaultyStream, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const stream = new FaultyStream(tools, inner, host)
        return { stream, detach: tools.controls.attach(stream) }
      }),
      ({ detach, stream }) => Effect.andThen(stream.release, Effect.sync(detach))
    ),
    ({ stream }) => stream
  )
