/**
 * A byte stream on which a protocol is agreed: the negotiation is taken out of
 * it, and nothing that came with it is lost.
 *
 * With a single proposal nobody waits: the proposal goes out with the first
 * bytes that the owner writes, and the answer is checked when the owner reads.
 */
import * as Effect from "effect/Effect"
import {
  type ByteStream,
  ProtocolNotSupported,
  ProtocolViolation,
  StreamError,
  UnexpectedEnd
} from "../../../services/ByteStream.ts"
import {
  MalformedNegotiation,
  NegotiationError,
  type NegotiationErrorReason,
  NegotiationInterrupted,
  NoCommonProtocol
} from "../../../services/Protocols.ts"
import { Dialer, type Failure, Listener, type Step } from "./Multistream.ts"

/**
 * What the remote has said so far: nothing, something, something that is no multistream-select from its first byte on,
 * or that it speaks the protocol (which goes without saying, unless that was proposed alone).
 */
type Answer = "none" | "begun" | "foreign" | "agreed"

/** Its owner sees the bytes of the protocol alone. */
class NegotiatedStream implements ByteStream {
  readonly ownedReads: boolean
  readonly copiesWrites: boolean | undefined
  private readonly inner: ByteStream
  /** The negotiation whose answer has not come yet. */
  private pending: Dialer | undefined
  private readonly proposed: ReadonlyArray<string>
  /** Bytes that came with the negotiation; they are read before what follows. */
  private rest: Uint8Array | undefined
  private error: StreamError | undefined
  answer: Answer

  constructor(
    inner: ByteStream,
    options: {
      readonly rest?: Uint8Array | undefined
      readonly pending?: Dialer | undefined
      readonly proposed: ReadonlyArray<string>
    }
  ) {
    this.inner = inner
    this.ownedReads = inner.ownedReads
    this.copiesWrites = inner.copiesWrites
    this.rest = options.rest !== undefined && options.rest.length > 0 ? options.rest : undefined
    this.pending = options.pending
    this.proposed = options.proposed
    this.answer = options.pending === undefined ? "agreed" : "none"
  }

  tryRead(): Uint8Array | null | undefined {
    const rest = this.rest
    if (rest !== undefined) {
      this.rest = undefined
      return rest
    }
    while (this.pending !== undefined) {
      const bytes = this.inner.tryRead()
      if (bytes === undefined) return undefined
      if (bytes === null)
        return this.fail(
          new StreamError({ reason: new UnexpectedEnd({ detail: `before an answer to ${this.proposed.join(", ")}` }) })
        )
      this.answer = "begun"
      const step = this.pending.receive(bytes)
      if (step._tag === "Failed") {
        if (step.failure._tag === "Malformed" && !step.failure.begun) this.answer = "foreign"
        return this.fail(toStreamError(step.failure, this.proposed))
      }
      if (step._tag === "Selected") {
        this.pending = undefined
        this.answer = "agreed"
        if (step.rest.length > 0) return step.rest
      }
    }
    return this.error === undefined ? this.inner.tryRead() : undefined
  }

  get readable(): Effect.Effect<void, StreamError> {
    return this.error !== undefined
      ? Effect.fail(this.error)
      : this.rest !== undefined
        ? Effect.void
        : this.inner.readable
  }

  whenReadable(wake: () => void): boolean {
    if (this.error !== undefined || this.rest !== undefined) return false
    return this.inner.whenReadable?.(wake) ?? false
  }

  tryWrite(bytes: Uint8Array): number {
    return this.error === undefined ? this.inner.tryWrite(bytes) : 0
  }

  get writable(): Effect.Effect<void, StreamError> {
    return this.error !== undefined ? Effect.fail(this.error) : this.inner.writable
  }

  flush(): void {
    this.inner.flush()
  }

  get closeWrite(): Effect.Effect<void, StreamError> {
    return this.inner.closeWrite
  }

  reset(because: string): void {
    this.inner.reset(because)
  }

  private fail(error: StreamError): undefined {
    this.error = error
    this.pending = undefined
    this.inner.reset(error.message)
    return undefined
  }
}

const toStreamError = (failure: Failure, proposed: ReadonlyArray<string>): StreamError =>
  new StreamError({
    reason:
      failure._tag === "NotSupported"
        ? new ProtocolNotSupported({ protocols: proposed })
        : new ProtocolViolation({ layer: "multistream-select", detail: failure.detail })
  })

/** A stream and the protocol that is spoken on it. */
export interface Negotiated {
  readonly protocol: string
  readonly stream: ByteStream
  readonly answer: () => Answer
}

const agreed = (): Answer => "agreed"

const negotiationError = (proposed: ReadonlyArray<string>) => (reason: NegotiationErrorReason) =>
  new NegotiationError({ proposed, reason })

const fromFailure = (failure: Failure): NegotiationErrorReason =>
  failure._tag === "NotSupported"
    ? new NoCommonProtocol({})
    : new MalformedNegotiation({ detail: failure.detail, begun: failure.begun })

/** Takes a batch from the stream, or says how that failed; `begun` when it is not the first. */
const receive = (stream: ByteStream, begun: boolean): Effect.Effect<Uint8Array, NegotiationInterrupted> =>
  Effect.suspend((): Effect.Effect<Uint8Array, NegotiationInterrupted> => {
    const bytes = stream.tryRead()
    if (bytes === undefined) {
      return Effect.matchEffect(stream.readable, {
        onFailure: (cause) => Effect.fail(new NegotiationInterrupted({ cause, begun })),
        onSuccess: () => receive(stream, begun)
      })
    }
    // A fiber may be suspended between any two of its steps, and lent bytes would not outlast it.
    if (bytes !== null) return Effect.succeed(stream.ownedReads ? bytes : new Uint8Array(bytes))
    return Effect.fail(
      new NegotiationInterrupted({
        cause: new StreamError({ reason: new UnexpectedEnd({ detail: "in the middle of the negotiation" }) }),
        begun
      })
    )
  })

/** Hands over all of `bytes`, to be sent when the turn ends or, if that is sooner, with what the owner flushes. */
const put = (stream: ByteStream, bytes: Uint8Array, begun: boolean): Effect.Effect<void, NegotiationInterrupted> =>
  Effect.suspend(() => {
    const taken = bytes.length === 0 ? 0 : stream.tryWrite(bytes)
    if (taken === bytes.length) return Effect.void
    return Effect.matchEffect(stream.writable, {
      onFailure: (cause) => Effect.fail(new NegotiationInterrupted({ cause, begun })),
      onSuccess: () => put(stream, bytes.subarray(taken), begun)
    })
  })

/** How long a dialer that was refused is given to read why. */
const lingerMs = 1000

/** Says no more, and drops what still comes, until the dialer has gone. */
const linger = (stream: ByteStream): Effect.Effect<void> => {
  const drop: Effect.Effect<void, StreamError> = Effect.suspend(() => {
    let bytes = stream.tryRead()
    // A turn for others after a few batches.
    for (let batch = 0; bytes !== undefined && bytes !== null && batch < 16; batch++) bytes = stream.tryRead()
    if (bytes === null) return Effect.void
    return Effect.andThen(bytes === undefined ? stream.readable : Effect.yieldNow, drop)
  })
  return Effect.andThen(stream.closeWrite, drop).pipe(Effect.timeoutOption(lingerMs), Effect.ignore)
}

/** Where nothing came behind the negotiation, the stream is that of the protocol from now on. */
const selected = (stream: ByteStream, protocol: string, rest: Uint8Array): Negotiated => ({
  protocol,
  stream: rest.length === 0 ? stream : new NegotiatedStream(stream, { rest, proposed: [protocol] }),
  answer: agreed
})

/** Runs either end to its verdict, from `first` if that came of its first bytes. */
const run = Effect.fnUntraced(function* (stream: ByteStream, core: Dialer | Listener, first: Step | undefined) {
  let step = first
  for (let begun = step !== undefined; ; begun = true) {
    if (step === undefined) {
      const output = core.takeOutput()
      if (output.length > 0) {
        yield* put(stream, output, begun)
        stream.flush()
      }
      step = core.receive(yield* receive(stream, begun))
    }
    if (step._tag === "More") {
      step = undefined
      continue
    }
    if (step._tag === "Failed") {
      // A dialer that did not wait for the answer to its proposal is to read it, and not a reset alone.
      const answer = core.takeOutput()
      if (answer.length > 0 && stream.tryWrite(answer) === answer.length) yield* linger(stream)
      stream.reset("no protocol was agreed")
      return yield* Effect.fail(fromFailure(step.failure))
    }
    yield* put(stream, core.takeOutput(), true)
    return selected(stream, step.protocol, step.rest)
  }
})

type Negotiation = Effect.Effect<Negotiated, NegotiationError>

/** What ends a negotiation that has to wait. One that need not is not slowed down by it. */
export type Within<E> = (waiting: Negotiation) => Effect.Effect<Negotiated, NegotiationError | E>

const forever: Within<never> = (waiting) => waiting

/**
 * Proposes `protocols` in order. With one protocol it returns at once and
 * failures show on the stream; with several it waits for the verdict, as long as
 * `within` lets it.
 */
export const propose = <E = never>(
  stream: ByteStream,
  protocols: ReadonlyArray<string>,
  within: Within<E> = forever
): Effect.Effect<Negotiated, NegotiationError | E> =>
  Effect.suspend(() => {
    const dialer = new Dialer(protocols)
    const [only, ...others] = protocols
    if (only === undefined || others.length > 0) {
      return within(Effect.mapError(run(stream, dialer, undefined), negotiationError(protocols)))
    }
    const pending = new NegotiatedStream(stream, { pending: dialer, proposed: protocols })
    const proposed: Negotiated = { protocol: only, stream: pending, answer: () => pending.answer }
    const proposal = dialer.takeOutput()
    const taken = stream.tryWrite(proposal)
    if (taken === proposal.length) return Effect.succeed(proposed)
    return within(
      Effect.mapError(Effect.as(put(stream, proposal.subarray(taken), false), proposed), negotiationError(protocols))
    )
  })

/**
 * Answers the dialer's proposals. The reply to the last one goes out with the
 * owner's first bytes, or when the turn ends. It waits as long as `within` lets it.
 */
export const answer = <E = never>(
  stream: ByteStream,
  supports: (protocol: string) => boolean,
  protocols: () => ReadonlyArray<string>,
  within: Within<E> = forever
): Effect.Effect<Negotiated, NegotiationError | E> =>
  Effect.suspend(() => {
    const listener = new Listener(supports, protocols)
    // The proposal came with the stream, nearly always.
    const bytes = stream.tryRead()
    const step = bytes === undefined || bytes === null ? undefined : listener.receive(bytes)
    if (step?._tag !== "Selected") {
      return within(Effect.mapError(run(stream, listener, step), negotiationError(protocols())))
    }
    const now = selected(stream, step.protocol, stream.ownedReads ? step.rest : new Uint8Array(step.rest))
    const reply = listener.takeOutput()
    const taken = stream.tryWrite(reply)
    if (taken === reply.length) return Effect.succeed(now)
    return within(
      Effect.mapError(Effect.as(put(stream, reply.subarray(taken), true), now), negotiationError(protocols()))
    )
  })
