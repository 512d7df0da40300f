/**
 * Perf 1.0, both ends. Not for public nodes: it sends whoever asks as many bytes
 * as they ask for.
 *
 * Specification: perf/perf.md.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ByteStream from "../../services/ByteStream.ts"
import { Perf, PerfError, protocol } from "../../services/Perf.ts"
import { Protocols, type ProtocolTaken } from "../../services/Protocols.ts"
import type { ProtocolStream } from "../../services/ProtocolStream.ts"
import { Swarm } from "../../services/Swarm.ts"

const block = new Uint8Array(64 * 1024)
const headerSize = 8

const header = (wanted: number): Uint8Array => {
  const bytes = new Uint8Array(headerSize)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(Math.max(0, Math.trunc(wanted))))
  return bytes
}

const sendBytes = Effect.fnUntraced(function* (stream: ByteStream.ByteStream, amount: number) {
  let left = amount
  while (left > 0) {
    const taken = stream.tryWrite(left < block.length ? block.subarray(0, left) : block)
    left -= taken
    if (taken === 0) yield* stream.writable
  }
  stream.flush()
})

/** Counts what comes until the end; gives the first eight bytes too. */
const drain = Effect.fnUntraced(function* (stream: ByteStream.ByteStream) {
  const first = new Uint8Array(headerSize)
  let received = 0
  for (;;) {
    const batch = stream.tryRead()
    if (batch === undefined) {
      yield* stream.readable
    } else if (batch === null) {
      return { received, first }
    } else {
      if (received < headerSize) first.set(batch.subarray(0, headerSize - received), received)
      received += batch.length
    }
  }
})

const serve = Effect.fnUntraced(function* ({ bytes }: ProtocolStream) {
  const { first, received } = yield* drain(bytes)
  if (received < headerSize) {
    return yield* new ByteStream.StreamError({
      reason: new ByteStream.UnexpectedEnd({ detail: "before the amount wanted was known" })
    })
  }
  // A client may ask for more than 2^53 bytes; it gets them until it stops reading.
  yield* sendBytes(bytes, Number(new DataView(first.buffer).getBigUint64(0)))
})

const make = Effect.gen(function* () {
  const protocols = yield* Protocols
  const swarm = yield* Swarm
  yield* protocols.handle(protocol, serve, { maxStreamsPerConnection: 1 })

  return Perf.of({
    measure: (target, { uploadBytes, downloadBytes }) =>
      Effect.gen(function* () {
        const stream = yield* swarm.openStream(target, protocol)
        const peer = stream.remotePeer.toString()
        const started = yield* Clock.monotonicTimeNanos
        const transfer = Effect.gen(function* () {
          yield* stream.write(header(downloadBytes))
          yield* sendBytes(stream.bytes, uploadBytes)
          yield* stream.closeWrite
          const uploaded = yield* Clock.monotonicTimeNanos
          return { uploaded, ...(yield* drain(stream.bytes)) }
        })
        const { received, uploaded } = yield* Effect.mapError(
          transfer,
          (cause) => new PerfError({ peer, reason: { _tag: "PerfStreamFailed", cause } })
        )
        const ended = yield* Clock.monotonicTimeNanos
        if (received !== downloadBytes) {
          return yield* new PerfError({ peer, reason: { _tag: "WrongAmount", asked: downloadBytes, received } })
        }
        return {
          uploadBytes,
          downloadBytes,
          uploadMs: Number(uploaded - started) / 1e6,
          downloadMs: Number(ended - uploaded) / 1e6
        }
      }).pipe(Effect.scoped)
  })
})

export const layer: Layer.Layer<Perf, ProtocolTaken, Protocols | Swarm> = Layer.effect(Perf, make)
