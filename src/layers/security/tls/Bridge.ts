/**
 * The raw byte stream as the Duplex that `node:tls` wants for a socket.
 *
 * Reading is by hand: {@link Bridge.feed} passes a batch on as a 'data' event,
 * in which TLS takes it whole before the call returns. So a batch may be one
 * that is only lent, nothing waits here, and the raw stream is read when the
 * owner of the secured stream asks, never otherwise.
 *
 * Writing: what the raw stream does not take is kept, TLS is told that the write
 * goes on, and one fiber waits for room. It ends with the rest or the raw stream.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { Duplex } from "node:stream"
import type { ByteStream, StreamError } from "../../../services/ByteStream.ts"
import { release } from "../../internal/Buffers.ts"

/** Runs a fiber that waits for the raw stream. */
export type Fork = (effect: Effect.Effect<void>) => Fiber.Fiber<void>

type Pieces = ReadonlyArray<Uint8Array>

export class Bridge extends Duplex {
  private readonly raw: ByteStream
  private readonly fork: Fork
  private readonly lost: (error: StreamError) => void

  /** `lost` is told when the raw stream fails under a write. */
  constructor(raw: ByteStream, fork: Fork, lost: (error: StreamError) => void) {
    super({ allowHalfOpen: true })
    this.raw = raw
    this.fork = fork
    this.lost = lost
    // Errors are told to `lost`; one that comes after the end is of no interest, and must not crash the process.
    this.on("error", () => {})
  }

  /** Passes bytes to TLS, which has copied what it keeps when this returns. */
  feed(bytes: Uint8Array): void {
    this.emit("data", bytes)
  }

  override _read(): void {}

  override _write(piece: Uint8Array, _: BufferEncoding, done: () => void): void {
    this.send([piece], done)
  }

  override _writev(chunks: ReadonlyArray<{ readonly chunk: Uint8Array }>, done: () => void): void {
    this.send(
      chunks.map(({ chunk }) => chunk),
      done
    )
  }

  override _final(done: () => void): void {
    this.raw.flush()
    this.await(this.raw.closeWrite, done)
  }

  private send(pieces: Pieces, done: () => void): void {
    const rest = this.handOver(pieces)
    if (rest === undefined) return this.settle(pieces, done)
    this.raw.flush()
    this.await(this.drain(rest), () => this.settle(pieces, done))
  }

  /** All was taken. What TLS gives to be written is a copy that nobody else has. */
  private settle(pieces: Pieces, done: () => void): void {
    if (this.raw.copiesWrites === true) for (const piece of pieces) release(piece)
    done()
  }

  /** Writes to the raw stream, and gives what it did not take. */
  private handOver(pieces: Pieces): Pieces | undefined {
    for (const [i, piece] of pieces.entries()) {
      const taken = this.raw.tryWrite(piece)
      if (taken < piece.length) return [piece.subarray(taken), ...pieces.slice(i + 1)]
    }
    return undefined
  }

  private drain(pieces: Pieces): Effect.Effect<void, StreamError> {
    return Effect.flatMap(this.raw.writable, () => {
      const rest = this.handOver(pieces)
      this.raw.flush()
      return rest === undefined ? Effect.void : this.drain(rest)
    })
  }

  private await(effect: Effect.Effect<void, StreamError>, done: () => void): void {
    this.fork(
      Effect.match(effect, {
        onFailure: (error) => {
          if (!this.destroyed) this.lost(error)
        },
        onSuccess: done
      })
    )
  }
}
