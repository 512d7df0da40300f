/**
 * Plaintext: `/plaintext/2.0.0`. For tests and for debugging only, and never on
 * by default: nothing is encrypted, and the remote proves nothing. Whoever is on
 * the path can read, change and forge everything; a node that has it beside
 * another security can be talked into using it.
 *
 * Both ends say who they are, then bytes go as they are. There is no early muxer.
 *
 * https://github.com/libp2p/specs/blob/master/plaintext/README.md
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Bytes from "../../data/Bytes.ts"
import * as Keys from "../../data/Keys.ts"
import * as LengthPrefix from "../../data/LengthPrefix.ts"
import * as Exchange from "../../data/messages/Exchange.ts"
import * as PeerId from "../../data/PeerId.ts"
import * as Varint from "../../data/Varint.ts"
import * as ByteStream from "../../services/ByteStream.ts"
import {
  BadHandshake,
  BadIdentity,
  type ConnectionSecurity,
  HandshakeInterrupted,
  layerPrefer,
  type SecuredConnection,
  type SecureOptions,
  SecurityError,
  type SecurityErrorReason,
  type SecurityProtocol,
  WrongPeer
} from "../../services/ConnectionSecurity.ts"
import { Identity } from "../../services/Identity.ts"

/** The name of plaintext in negotiation. */
export const id = "/plaintext/2.0.0"

const error = (reason: SecurityErrorReason): SecurityError => new SecurityError({ protocol: id, reason })

const interrupted = (cause: ByteStream.StreamError): SecurityError => error(new HandshakeInterrupted({ cause }))

interface Received {
  readonly message: Uint8Array
  /** What came behind it. */
  readonly rest: Uint8Array
}

/** Cuts the message off the front; `undefined` when it is not there whole, a text when it never will be. */
const cut = (bytes: Uint8Array): Received | string | undefined => {
  const length = Varint.decode(bytes, 0)
  if (length._tag === "Incomplete") return undefined
  if (length._tag === "Invalid") return `the exchange has a length that is ${length.reason}`
  if (length.value > Exchange.maxSize) {
    return `the exchange has ${length.value} bytes, over the limit of ${Exchange.maxSize}`
  }
  const end = length.size + length.value
  return bytes.length < end ? undefined : { message: bytes.subarray(length.size, end), rest: bytes.subarray(end) }
}

const receive = (raw: ByteStream.ByteStream, held: Uint8Array): Effect.Effect<Received, SecurityError> =>
  Effect.flatMap(Effect.mapError(ByteStream.read(raw), interrupted), (batch) => {
    if (batch === null) {
      const detail = "the remote closed during the plaintext exchange"
      return Effect.fail(interrupted(new ByteStream.StreamError({ reason: new ByteStream.UnexpectedEnd({ detail }) })))
    }
    const bytes = Bytes.concat([held, batch])
    const received = cut(bytes)
    if (received === undefined) return receive(raw, bytes)
    return typeof received === "string"
      ? Effect.fail(error(new BadHandshake({ detail: received })))
      : Effect.succeed(received)
  })

interface Remote {
  readonly peer: PeerId.PeerId
  readonly publicKey: Keys.PublicKey
}

const bad = (detail: string): Result.Result<never, SecurityErrorReason> => Result.fail(new BadIdentity({ detail }))

/** Whom a message says to be from. Its key must be the one that its id is made of. */
const check = (
  message: Uint8Array,
  expected: PeerId.PeerId | undefined
): Result.Result<Remote, SecurityErrorReason> => {
  const exchange = Exchange.decode(message)
  if (Result.isFailure(exchange)) {
    return Result.fail(new BadHandshake({ detail: `the exchange is malformed: ${exchange.failure.message}` }))
  }
  if (exchange.success.id === undefined) return bad("the exchange has no peer id")
  if (exchange.success.publicKey === undefined) return bad("the exchange has no public key")
  const publicKey = Keys.decodePublicKey(exchange.success.publicKey)
  if (Result.isFailure(publicKey)) return bad(`the public key is malformed: ${publicKey.failure.detail}`)
  const peer = PeerId.fromPublicKey(publicKey.success)
  if (!Bytes.equals(peer.bytes, exchange.success.id)) return bad("the peer id is not that of the public key")
  return expected === undefined || PeerId.equals(expected, peer)
    ? Result.succeed({ peer, publicKey: publicKey.success })
    : Result.fail(new WrongPeer({ expected: expected.toString(), actual: peer.toString() }))
}

/** The raw stream behind the exchange: `rest` of what was read comes first. */
const connection = (raw: ByteStream.ByteStream, rest: Uint8Array, remote: Remote): SecuredConnection => {
  let early = rest.length > 0 ? rest : undefined
  return {
    ownedReads: true,
    tryRead: () => {
      if (early === undefined) {
        const bytes = raw.tryRead()
        return bytes === null || bytes === undefined || raw.ownedReads ? bytes : new Uint8Array(bytes)
      }
      const bytes = early
      early = undefined
      return bytes
    },
    readable: Effect.suspend(() => (early === undefined ? raw.readable : Effect.void)),
    // Its methods may need their object, and its effects change with its state.
    tryWrite: (bytes) => raw.tryWrite(bytes),
    get writable() {
      return raw.writable
    },
    flush: () => raw.flush(),
    get closeWrite() {
      return raw.closeWrite
    },
    reset: (because) => {
      early = undefined
      raw.reset(because)
    },
    remotePeer: remote.peer,
    remotePublicKey: remote.publicKey,
    security: id,
    earlyMuxer: undefined
  }
}

/**
 * Makes the protocol, for {@link layer} or `ConnectionSecurity.layerPrefer`. For tests and debugging only.
 *
 * ```
 * const Security = ConnectionSecurity.layerPrefer([Plaintext.make])
 * ```
 */
export const make: Effect.Effect<SecurityProtocol, never, Identity> = Effect.gen(function* () {
  const { peerId, publicKey } = yield* Identity
  const ours = LengthPrefix.encode(Exchange.encode({ id: peerId.bytes, publicKey: Keys.encodePublicKey(publicKey) }))

  const exchange = Effect.fnUntraced(function* (raw: ByteStream.ByteStream, options: SecureOptions) {
    // At once, since neither end may be able to write all before the other reads.
    const [, { message, rest }] = yield* Effect.all(
      [Effect.mapError(ByteStream.write(raw, ours), interrupted), receive(raw, new Uint8Array(0))],
      { concurrency: 2 }
    )
    const remote = check(message, options.expectedPeer)
    if (Result.isFailure(remote)) return yield* error(remote.failure)
    return connection(raw, rest, remote.success)
  })

  return {
    id,
    secure: (raw, options) =>
      Effect.onError(exchange(raw, options), () =>
        Effect.sync(() => raw.reset("the plaintext exchange did not complete"))
      )
  }
})

/** Plaintext as the only security. For tests and debugging only. */
export const layer: Layer.Layer<ConnectionSecurity, never, Identity> = layerPrefer([make])
