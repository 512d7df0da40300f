/**
 * Ping 1.0: 32 bytes there and back, any number of times on one stream.
 *
 * Specification: ping/ping.md.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Bytes from "../../data/Bytes.ts"
import * as ByteStream from "../../services/ByteStream.ts"
import { Meter } from "../../services/Meter.ts"
import { Ping, PingError, PingStreamFailed, PingTimeout, protocol, WrongEcho } from "../../services/Ping.ts"
import { Protocols, type ProtocolTaken } from "../../services/Protocols.ts"
import type { ProtocolStream } from "../../services/ProtocolStream.ts"
import { Swarm } from "../../services/Swarm.ts"

const size = 32
/** The specification asks a dialer for one at a time; a few more cost nothing, and serve programs that ping side by side. */
const maxStreamsPerConnection = 32

/** Sends back what comes, until the remote closes. What it sends must be whole pings, which needs no checking here. */
const echo = (stream: ProtocolStream): Effect.Effect<void, ByteStream.StreamError> =>
  Effect.gen(function* () {
    for (;;) {
      const batch = yield* stream.read
      if (batch === null) return
      yield* stream.write(batch)
    }
  })

/** The next `size` bytes. */
const readEcho = Effect.fnUntraced(function* (stream: ProtocolStream) {
  let echoed: Uint8Array = new Uint8Array(0)
  while (echoed.length < size) {
    const batch = yield* stream.read
    if (batch === null) {
      return yield* new ByteStream.StreamError({
        reason: new ByteStream.UnexpectedEnd({ detail: "the remote closed before it echoed" })
      })
    }
    echoed = echoed.length === 0 ? batch : Bytes.concat([echoed, batch])
  }
  return echoed
})

const make = Effect.gen(function* () {
  const protocols = yield* Protocols
  const meter = yield* Meter
  const swarm = yield* Swarm
  const random = yield* SecureRandom.SecureRandom

  yield* protocols.handle(protocol, echo, { maxStreamsPerConnection })

  const once = (stream: ProtocolStream, deadline: Duration.Duration) =>
    Effect.gen(function* () {
      const fail = (reason: PingError["reason"]) => new PingError({ peer: stream.remotePeer.toString(), reason })
      const payload = yield* random.randomBytes(size)
      const sent = yield* Clock.monotonicTimeNanos
      const echoed = yield* stream.write(payload).pipe(
        Effect.andThen(readEcho(stream)),
        Effect.mapError((cause) => fail(new PingStreamFailed({ cause }))),
        Effect.timeoutOrElse({
          duration: deadline,
          orElse: () => Effect.fail(fail(new PingTimeout({ afterMs: Duration.toMillis(deadline) })))
        })
      )
      const back = yield* Clock.monotonicTimeNanos
      if (!Bytes.equals(echoed, payload)) return yield* fail(new WrongEcho({}))
      return Number(back - sent) / 1e6
    })

  return Ping.of({
    ping: (target, options) => {
      const deadline = Duration.fromInputUnsafe(options?.deadline ?? "10 seconds")
      const interval = options?.interval ?? "1 second"
      const count = options?.count ?? Number.POSITIVE_INFINITY
      return Stream.unwrap(
        Effect.map(swarm.openStream(target, protocol), (stream) => {
          let done = 0
          const next = Effect.gen(function* () {
            if (done >= count) return yield* Cause.done()
            if (done++ > 0) yield* Effect.sleep(interval)
            const roundTrip = yield* Effect.tapError(once(stream, deadline), ({ reason }) =>
              Effect.sync(() => meter.pinged(reason._tag, 0))
            )
            meter.pinged(undefined, roundTrip)
            return [roundTrip] as const
          })
          return Stream.fromPull(Effect.succeed(next))
        })
      )
    }
  })
})

export const layer: Layer.Layer<Ping, ProtocolTaken, Protocols | SecureRandom.SecureRandom | Swarm> = Layer.effect(
  Ping,
  make
)
