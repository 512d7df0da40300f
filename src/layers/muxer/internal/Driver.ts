/**
 * Driver: a multiplexed connection, whatever its protocol: the session's core,
 * driven by one fiber, none per stream, and two more for as long as they have
 * something to do. All of them belong to the scope that the connection was made in.
 *
 * ```
 *            secured connection
 *          │                    ▲
 *       reader              (sender)         reader: feeds the core with each batch, in the call that brings it if it can
 *          │                    │            clock:  what is due at a time, such as keep-alive; one
 *          └────► session ◄─────┘                    for all connections, see Deadlines
 *                ▲   │    ▲                  sender: there while the connection takes no more
 *     streams ───┘   │    └── clock          keeper: there from the session's end; says goodbye
 *                (keeper)                            for at most the grace, resets the connection
 * ```
 *
 * The core only ever changes inside a plain function call. Who waits is woken
 * after a batch was taken whole, or from the scheduler's queue at the end of a
 * turn, never from inside the core; what those fibers then write goes out with
 * the acknowledgements and windows of that batch. Then the connection's account of
 * memory is set, once.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scheduler from "effect/Scheduler"
import type { ByteStream, StreamError } from "../../../services/ByteStream.ts"
import type { MemoryAccount } from "../../../services/ResourceManager.ts"
import type { MuxerErrorReason } from "../../../services/StreamMuxer.ts"
import type * as Deadlines from "../../internal/Deadlines.ts"
import { Account } from "./Account.ts"
import { byCalls } from "./ByCalls.ts"
import { noiseMessage } from "./Limits.ts"
import type { Session } from "./Session.ts"
import { reasonOf, type SessionEnd } from "./SessionEnd.ts"
import type { Carrier } from "./Stream.ts"
import type { StreamState } from "./StreamState.ts"
import { Waiters } from "./Waiters.ts"

/** Batches that are taken in a row before other fibers get a turn. */
const batchesPerTurn = 16

/** Below this, in bytes, what came together is one batch: those whom it wakes write once for all of it. */
const smallBatch = 4096

/** Writes of one turn are handed on when they are so many bytes: a full message of a secured connection, nearly. */
const fullMessage = noiseMessage - 16

/** What the connections of a muxer have in common. */
export interface Options<S extends StreamState> {
  /** The core of a connection, which this end has dialled or not, from the time in ms. */
  readonly session: (dialed: boolean, nowMs: number) => Session<S>
  /** While more waits to be sent, in bytes, and the connection takes none, nothing is read from it either. */
  readonly maxUnsent: number
  /** How long an answer to a ping may take, in ms. */
  readonly pingTimeoutMs: number
  readonly closeGraceMs: number
}

/** The same, with what it is driven by. */
export interface Shared<S extends StreamState> extends Options<S> {
  readonly clock: Clock.Clock
  readonly dispatcher: Scheduler.SchedulerDispatcher
  readonly deadlines: Deadlines.Deadlines
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

/** What the reader does, when it does not wait for bytes: lets others have a turn; waits until it may read on; ends. */
type Next = "yield" | "rest" | "end"

export class Driver<S extends StreamState> implements Carrier<S> {
  readonly session: Session<S>
  readonly ownedReads: boolean
  readonly ended: Deferred.Deferred<MuxerErrorReason>
  private readonly connection: ByteStream
  private readonly shared: Shared<S>
  readonly acceptors = new Waiters()
  readonly openers = new Waiters()
  readonly pingers = new Waiters()
  /** Wait for the connection to take more, or to have taken all. */
  private readonly senders = new Waiters()
  /** Wait until what arrived was read. */
  private readonly resting = new Waiters()
  private readonly account: Account<S>
  private takeBackTick: (() => void) | undefined
  /** When the clock wakes, in ms. */
  private tickAt = Number.POSITIVE_INFINITY
  /** The reader; there from the start to the end of the connection. */
  private reading: Fiber.Fiber<void> | undefined
  /** The sender runs: while the connection takes no more. */
  private sending = false
  private lastSender: Fiber.Fiber<void> | undefined
  /** The session's end was seen, and the connection is being ended. */
  private keeping = false
  private scheduled = false
  /** In a batch or a turn: its end sends and wakes. */
  private inTurn = false
  /** Answers to pings that were seen. */
  private pongs: number | undefined
  /** When that turn is, in ms, once somebody wanted to know. */
  private turnAt: number | undefined
  /** Something was asked for during a turn after its last sending. */
  private again = false
  private blocked = false
  private unflushed = false
  /** Nothing more comes from the remote. */
  private remoteEnded = false
  /** Nothing more can be sent. */
  private sendFailed = false

  constructor(
    connection: ByteStream,
    dialed: boolean,
    shared: Shared<S>,
    ended: Deferred.Deferred<MuxerErrorReason>,
    memory: MemoryAccount | undefined
  ) {
    this.connection = connection
    this.ownedReads = connection.ownedReads
    this.shared = shared
    this.ended = ended
    this.session = shared.session(dialed, this.now())
    this.session.batchesLent = !connection.ownedReads
    this.pongs = this.session.liveness?.pongs
    this.account = new Account(this.session, memory)
  }

  get pingTimeoutMs(): number {
    return this.shared.pingTimeoutMs
  }

  /** The time in ms. A turn has one time, which is read once. */
  readonly now = (): number => {
    if (this.turnAt !== undefined) return this.turnAt
    const now = Number(this.shared.clock.monotonicTimeNanosUnsafe()) / 1e6
    if (this.inTurn) this.turnAt = now
    return now
  }

  // --- Turns ---------------------------------------------------------------

  schedule(): void {
    if (this.inTurn) {
      this.again = true
      return
    }
    if (this.scheduled) return
    this.scheduled = true
    this.shared.dispatcher.scheduleTask(this.turn, 0)
  }

  wrote(): void {
    if (this.session.outputSize >= fullMessage) this.send()
    this.schedule()
  }

  took(answers: boolean): void {
    if (answers) return this.schedule()
    // In a turn, its end sees to it.
    if (!this.inTurn && (this.account.bytes > 0 || this.mayReadOn)) this.schedule()
  }

  private get mayReadOn(): boolean {
    return this.resting.size > 0 && (!this.session.paused || this.session.ended !== undefined)
  }

  private readonly turn = (): void => {
    this.scheduled = false
    try {
      this.settle()
    } catch (defect) {
      this.failed(defect)
    }
  }

  private readonly take = (bytes: Uint8Array): number => {
    const taken = this.connection.tryWrite(bytes)
    if (taken > 0) this.unflushed = true
    return taken
  }

  private send(): void {
    if (this.blocked || this.sendFailed) return
    if (!this.session.drain(this.take, this.now)) {
      this.blocked = true
      this.flush()
    }
  }

  private flush(): void {
    if (!this.unflushed) return
    this.unflushed = false
    this.connection.flush()
  }

  private wakeStreams(): void {
    for (const stream of this.session.takeTouched()) stream.owner?.wake()
  }

  private accountFor(): void {
    // What a session that has ended still holds is given back with the connection, within its grace.
    if (this.session.ended !== undefined) return
    const refusal = this.account.set()
    if (refusal === undefined) return
    this.wakeStreams()
    this.send()
    if (this.account.retry()) return
    this.session.refuse(refusal)
    this.again = true
  }

  /** The end of a batch or a turn: wakes who need not wait any more, and sends all there is in one go. */
  settle(): void {
    if (this.inTurn) {
      this.again = true
      return
    }
    this.inTurn = true
    const { session } = this
    this.wakeStreams()
    if (session.hasBacklog || session.ended !== undefined) this.acceptors.wake()
    if (session.ended !== undefined || session.remoteGoAway !== undefined) this.openers.wake()
    else if (session.canOpen) this.openers.wake(session.openable)
    this.again = false
    this.send()
    if (session.writersWait && !this.blocked) {
      session.grantTurns()
      this.wakeStreams()
      this.again = false
      this.send()
    }
    this.accountFor()
    this.flush()
    if (session.ended !== undefined) {
      this.pingers.wake()
      if (!this.keeping) {
        this.keeping = true
        this.shared.fork(this.keeper(session.ended))
      }
    }
    this.inTurn = false
    this.turnAt = undefined
    if (this.blocked && !this.sendFailed && !this.sending) {
      this.sending = true
      this.lastSender = this.shared.fork(this.sender)
    }
    // A fiber may be interrupted between its waking and its use of it: the next one gets the chance.
    const more =
      this.again ||
      session.hasTouched ||
      (session.writersWait && !this.blocked) ||
      (this.openers.size > 0 && session.canOpen)
    if (more) this.schedule()
    if (session.deadline < this.tickAt) this.restartClock()
    if (this.mayReadOn) this.resting.wake()
  }

  // --- Fibers --------------------------------------------------------------

  /** What fails, by the connection or by a defect of ours, ends the session: who waits on it is told. */
  private endingSession(work: Effect.Effect<void, StreamError>, then: () => void): Effect.Effect<void> {
    return Effect.matchCauseEffect(work, {
      onFailure: (cause) => {
        const error = Cause.findErrorOption(cause)
        const told = Option.isSome(error) ? Effect.void : Effect.logError(`${this.session.protocol} fails`, cause)
        return Effect.map(told, () => {
          this.sendFailed = true
          this.inTurn = false
          this.turnAt = undefined
          const detail = Option.isSome(error) ? error.value.message : "the muxer failed; see the log"
          this.session.end({ _tag: "Closed", detail })
          then()
        })
      },
      onSuccess: () => Effect.sync(then)
    })
  }

  /** A defect where no fiber is, whose throw would end the process. */
  private failed(defect: unknown): void {
    this.shared.fork(this.endingSession(Effect.die(defect), () => this.settle()))
  }

  /** Feeds the core until nothing more comes; after the session's end it only drops what comes. */
  private get reader(): Effect.Effect<void> {
    return this.endingSession(
      Effect.suspend(() => this.read(this.feed())),
      () => {
        this.remoteEnded = true
        this.settle()
        this.senders.wake()
      }
    )
  }

  /** Goes on from what `feed` found. Between batches it holds nothing but its place. */
  private read(next: Next | undefined): Effect.Effect<void, StreamError> {
    const { session } = this
    if (next === undefined) {
      const feed = () => this.feed()
      return Effect.flatMap(byCalls(this.connection, feed), (found) => this.read(found))
    }
    if (next === "end") {
      session.end(
        session.remoteGoAway === undefined
          ? { _tag: "Closed", detail: "the remote closed the connection" }
          : { _tag: "RemoteGoAway", code: session.remoteGoAway }
      )
      return Effect.void
    }
    if (this.mustSendFirst) return Effect.flatMap(this.senders.wait, () => this.read(next))
    if (session.paused && session.ended === undefined) return Effect.flatMap(this.resting.wait, () => this.read(next))
    return next === "yield" ? Effect.flatMap(Effect.yieldNow, () => this.read(this.feed())) : this.read(this.feed())
  }

  /** A remote that does not read what its frames ask for is not read from either. */
  private get mustSendFirst(): boolean {
    return this.blocked && this.session.ended === undefined && this.session.outputSize > this.shared.maxUnsent
  }

  /** Feeds the core with what is there, for a turn at most; `undefined` when there is no more. */
  private feed(): Next | undefined {
    const { connection, session } = this
    let bytes = connection.tryRead()
    for (let batch = 1; bytes !== null; batch += 1) {
      if (bytes === undefined) return undefined
      session.receive(bytes, this.now())
      const lastOfTurn = batch % batchesPerTurn === 0
      const mayJoin = this.ownedReads && bytes.length < smallBatch && !lastOfTurn
      const joined = mayJoin ? connection.tryRead() : undefined
      if (joined !== undefined && joined !== null) {
        bytes = joined
        continue
      }
      this.settle()
      // What nobody has read at once is kept; the rest of a lent batch need not be.
      if (!this.ownedReads) session.settle()
      if (session.liveness?.pongs !== this.pongs) {
        this.pongs = session.liveness?.pongs
        this.pingers.wake()
      }
      if (lastOfTurn) return "yield"
      if (this.mustSendFirst || (session.paused && session.ended === undefined)) return "rest"
      bytes = connection.tryRead()
    }
    return "end"
  }

  /** Goes on sending when the connection takes more again, until it has taken all. */
  private get sender(): Effect.Effect<void> {
    return this.endingSession(Driver.resend(this), () => {
      if (!this.sendFailed) return
      this.settle()
      this.senders.wake()
    })
  }

  private static readonly resend = Effect.fnUntraced(function* <S extends StreamState>(driver: Driver<S>) {
    while (driver.blocked) {
      yield* driver.connection.writable
      driver.blocked = false
      driver.settle()
      driver.senders.wake()
    }
    driver.sending = false
  })

  start(): void {
    this.reading = this.shared.fork(this.reader)
    this.restartClock()
  }

  /** Says goodbye, and waits for the end. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.session.close("the connection was closed here")
      this.settle()
      return Effect.asVoid(Deferred.await(this.ended))
    })
  }

  /** Says goodbye, and ends the fibers and the clock. */
  get stop(): Effect.Effect<void> {
    return Effect.andThen(
      this.close,
      Effect.suspend(() => {
        const { lastSender, reading } = this
        this.stopClock()
        return Fiber.interruptAll([reading, lastSender].filter((fiber) => fiber !== undefined))
      })
    )
  }

  /** Does what is due, each time that it is. */
  private readonly tick = (): void => {
    // Until it is computed again, no deadline is early.
    this.tickAt = Number.NEGATIVE_INFINITY
    try {
      this.session.tick(this.now())
      this.settle()
    } catch (defect) {
      this.failed(defect)
    }
    this.restartClock()
  }

  /** Starts the clock, or has it wake earlier. */
  private restartClock(): void {
    this.stopClock()
    this.tickAt = this.session.deadline
    if (this.tickAt === Number.POSITIVE_INFINITY) return
    this.takeBackTick = this.shared.deadlines.after(Math.max(1, Math.ceil(this.tickAt - this.now())), this.tick)
  }

  private stopClock(): void {
    this.takeBackTick?.()
    this.takeBackTick = undefined
  }

  /** After the end of the session, ends the connection. */
  private keeper(end: SessionEnd): Effect.Effect<void> {
    // To a remote that is gone there is nothing to say.
    const gone = end._tag === "KeepAliveTimeout" || end._tag === "SendTimeout"
    const goodbye = gone ? Effect.void : this.goodbye
    const { closeGraceMs, deadlines } = this.shared
    return deadlines
      .within(goodbye, closeGraceMs, () => Effect.void)
      .pipe(
        Effect.ignoreCause,
        Effect.andThen(
          Effect.sync(() => {
            const reason = reasonOf(end)
            this.connection.reset(`${this.session.protocol}: the session has ended`)
            this.account.close()
            Deferred.doneUnsafe(this.ended, Effect.succeed(reason))
          })
        )
      )
  }

  /** Sends what is left, closes the writing side, and waits until the remote has closed its own. */
  private get goodbye(): Effect.Effect<void> {
    const sent: Effect.Effect<void> = Effect.suspend(() =>
      this.blocked && !this.sendFailed ? Effect.andThen(this.senders.wait, sent) : Effect.void
    )
    const answered: Effect.Effect<void> = Effect.suspend(() =>
      this.remoteEnded ? Effect.void : Effect.andThen(this.senders.wait, answered)
    )
    return sent.pipe(Effect.andThen(Effect.ignore(this.connection.closeWrite)), Effect.andThen(answered))
  }
}
