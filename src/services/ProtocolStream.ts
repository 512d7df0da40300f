/**
 * A stream of a protocol, as its users see it: bytes as a `Stream` and a
 * `Sink`, or messages, on top of the pulled byte stream beneath.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import * as Bytes from "../data/Bytes.ts"
import * as LengthPrefix from "../data/LengthPrefix.ts"
import type { Multiaddr } from "../data/Multiaddr.ts"
import type { PeerId } from "../data/PeerId.ts"
import * as ByteStream from "./ByteStream.ts"

/** How the connection beneath a stream reaches the remote. A relayed one may be limited in time and bytes. */
export type ConnectionKind = { readonly _tag: "Direct" } | { readonly _tag: "Relayed"; readonly limited: boolean }

/** Messages on a stream: see {@link messages}. */
export interface Messages<A> {
  /** The next message, or `null` after the last. */
  readonly read: Effect.Effect<A | null, ByteStream.StreamError | Schema.SchemaError>
  readonly write: (message: A) => Effect.Effect<void, ByteStream.StreamError | Schema.SchemaError>
  /** Every message until the remote closes. */
  readonly stream: Stream.Stream<A, ByteStream.StreamError | Schema.SchemaError>
}

/** A stream, and what is known of it. */
export interface Facts {
  /** The byte stream beneath, for hot paths. */
  readonly bytes: ByteStream.ByteStream
  /** The protocol that was agreed, such as `/ipfs/ping/1.0.0`. */
  readonly protocol: string
  readonly remotePeer: PeerId
  /** Where the connection beneath leads. */
  readonly remoteAddress: Multiaddr
  /** Which connection that is: its `id` in the swarm. */
  readonly connectionId: number
  readonly direction: "inbound" | "outbound"
  readonly connection: ConnectionKind
}

/**
 * One stream of one protocol with one peer. Reading and writing are for one
 * fiber each at a time. A stream ends with the scope that it was opened in, or
 * with its handler.
 */
export interface ProtocolStream extends Facts {
  /** Everything that the remote writes until it closes its side. */
  readonly readable: Stream.Stream<Uint8Array, ByteStream.StreamError>
  /** Writes all that it is given, as `write` does; closes the writing side at the end. */
  readonly writable: Sink.Sink<void, Uint8Array, never, ByteStream.StreamError>
  /** The next batch, or `null` at the end. */
  readonly read: Effect.Effect<Uint8Array | null, ByteStream.StreamError>
  /**
   * Writes all of `bytes`, waiting while the remote does not take them. They are not copied, and may leave later: what
   * was given belongs to the stream, and must not change any more.
   */
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, ByteStream.StreamError>
  /** Half-close: the remote reads to the end; it can still write. */
  readonly closeWrite: Effect.Effect<void, ByteStream.StreamError>
  /** Ends both directions at once. */
  readonly reset: (because: string) => Effect.Effect<void>
}

/** What is computed is made when it is asked for: most streams are used in one way, and some are idle by the thousand. */
class View implements ProtocolStream {
  readonly bytes: ByteStream.ByteStream
  readonly protocol: string
  readonly remotePeer: PeerId
  readonly remoteAddress: Multiaddr
  readonly connectionId: number
  readonly direction: "inbound" | "outbound"
  readonly connection: ConnectionKind

  constructor(facts: Facts) {
    this.bytes = facts.bytes
    this.protocol = facts.protocol
    this.remotePeer = facts.remotePeer
    this.remoteAddress = facts.remoteAddress
    this.connectionId = facts.connectionId
    this.direction = facts.direction
    this.connection = facts.connection
  }

  get read(): Effect.Effect<Uint8Array | null, ByteStream.StreamError> {
    return ByteStream.read(this.bytes)
  }

  get write(): (bytes: Uint8Array) => Effect.Effect<void, ByteStream.StreamError> {
    const { bytes } = this
    return (chunk) => ByteStream.write(bytes, chunk)
  }

  get closeWrite(): Effect.Effect<void, ByteStream.StreamError> {
    return this.bytes.closeWrite
  }

  get reset(): (because: string) => Effect.Effect<void> {
    const { bytes } = this
    return (because) => Effect.sync(() => bytes.reset(because))
  }

  get readable(): Stream.Stream<Uint8Array, ByteStream.StreamError> {
    return Stream.fromPull(
      Effect.succeed(
        Effect.flatMap(this.read, (batch) => (batch === null ? Cause.done() : Effect.succeed([batch] as const)))
      )
    )
  }

  get writable(): Sink.Sink<void, Uint8Array, never, ByteStream.StreamError> {
    const { bytes } = this
    return Sink.forEach((chunk: Uint8Array) => ByteStream.write(bytes, chunk)).pipe(
      Sink.mapEffect(() => bytes.closeWrite)
    )
  }
}

/**
 * Makes the user's view of a byte stream. To change something of one, make
 * another: `make({ ...stream, bytes: counted(stream.bytes) })`.
 */
export const make = (facts: Facts): ProtocolStream => new View(facts)

/** The message limit was passed, or the stream ended in the middle of a message. */
const badMessage = (protocol: string, detail: string) =>
  new ByteStream.StreamError({ reason: new ByteStream.ProtocolViolation({ layer: protocol, detail }) })

const endedEarly = () =>
  new ByteStream.StreamError({ reason: new ByteStream.UnexpectedEnd({ detail: "in the middle of a message" }) })

/**
 * Reads and writes length-prefixed messages. `maxSize`, in bytes, bounds what
 * the remote may announce (default 4 MiB); a longer one resets the stream.
 */
export const byteMessages = (
  stream: ProtocolStream,
  options?: { readonly maxSize?: number | undefined }
): {
  readonly read: Effect.Effect<Uint8Array | null, ByteStream.StreamError>
  readonly write: (message: Uint8Array) => Effect.Effect<void, ByteStream.StreamError>
} => {
  const decoder = new LengthPrefix.Decoder(options?.maxSize)
  const read: Effect.Effect<Uint8Array | null, ByteStream.StreamError> = Effect.suspend(() => {
    const message = decoder.next()
    if (message instanceof Uint8Array) return Effect.succeed(message)
    if (message !== undefined) {
      stream.bytes.reset(message.detail)
      return Effect.fail(badMessage(stream.protocol, message.detail))
    }
    return Effect.flatMap(stream.read, (batch): Effect.Effect<Uint8Array | null, ByteStream.StreamError> => {
      if (batch === null) return decoder.partial ? Effect.fail(endedEarly()) : Effect.succeed(null)
      decoder.push(batch)
      return read
    })
  })
  return { read, write: (message) => ByteStream.write(stream.bytes, LengthPrefix.encode(message)) }
}

const Utf8 = Schema.Uint8Array.pipe(
  Schema.decodeTo(
    Schema.String,
    SchemaTransformation.transform({
      decode: (bytes: Uint8Array) => Bytes.toUtf8(bytes),
      encode: (text: string) => Bytes.fromUtf8(text)
    })
  )
)

/** A Schema as JSON in UTF-8 bytes, for {@link messages}. */
export const json = <A, I>(schema: Schema.Codec<A, I>): Schema.Codec<A, Uint8Array> =>
  Utf8.pipe(Schema.decodeTo(Schema.fromJsonString(schema)))

/**
 * Reads and writes length-prefixed messages of a Schema whose encoded side is
 * bytes.
 *
 * ```
 * const chat = ProtocolStream.messages(stream, ProtocolStream.json(Schema.Struct({ text: Schema.String })))
 * yield* chat.write({ text: "hello" })
 * ```
 */
export const messages = <A>(
  stream: ProtocolStream,
  schema: Schema.Codec<A, Uint8Array>,
  options?: { readonly maxSize?: number | undefined }
): Messages<A> => {
  const raw = byteMessages(stream, options)
  const decode = Schema.decodeEffect(schema)
  const encode = Schema.encodeEffect(schema)
  const read = Effect.flatMap(raw.read, (message): Effect.Effect<A | null, Schema.SchemaError> =>
    message === null ? Effect.succeed(null) : decode(message)
  )
  return {
    read,
    write: (message) => Effect.flatMap(encode(message), raw.write),
    stream: Stream.fromPull(
      Effect.succeed(
        Effect.flatMap(read, (message) => (message === null ? Cause.done() : Effect.succeed([message] as const)))
      )
    )
  }
}
