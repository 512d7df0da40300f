/**
 * Noise: `/noise`, the security that every libp2p stack has. The state machine
 * is in `noise/`; here it meets the raw connection.
 *
 * https://github.com/libp2p/specs/blob/master/noise/README.md
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scheduler from "effect/Scheduler"
import * as SecureRandom from "effect/crypto/SecureRandom"
import type { PublicKey } from "../../data/Keys.ts"
import * as PeerId from "../../data/PeerId.ts"
import { type ByteStream, StreamError, UnexpectedEnd } from "../../services/ByteStream.ts"
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
import { Crypto, type DhKeyPair } from "../../services/Crypto.ts"
import { Identity } from "../../services/Identity.ts"
import { frame, FrameReader } from "./noise/Frames.ts"
import { HandshakeState } from "./noise/HandshakeState.ts"
import * as Proof from "./noise/Proof.ts"
import { SecureStream, type SecureStreamOptions } from "./noise/SecureStream.ts"
import { empty } from "./noise/SymmetricState.ts"

/** The name of Noise in negotiation. */
export const id = "/noise"

interface Remote {
  readonly peer: PeerId.PeerId
  readonly publicKey: PublicKey
  readonly earlyMuxer: string | undefined
}

class NoiseConnection extends SecureStream implements SecuredConnection {
  readonly security = id
  readonly remotePeer: PeerId.PeerId
  readonly remotePublicKey: PublicKey
  readonly earlyMuxer: string | undefined

  constructor(options: SecureStreamOptions, remote: Remote) {
    super(options)
    this.remotePeer = remote.peer
    this.remotePublicKey = remote.publicKey
    this.earlyMuxer = remote.earlyMuxer
  }
}

const fail = (reason: SecurityErrorReason): Effect.Effect<never, SecurityError> =>
  Effect.fail(new SecurityError({ protocol: id, reason }))

const interrupted = (cause: StreamError): SecurityError =>
  new SecurityError({ protocol: id, reason: new HandshakeInterrupted({ cause }) })

/** The next message. It is valid until the next one is asked for. */
const receive = (raw: ByteStream, frames: FrameReader): Effect.Effect<Uint8Array, SecurityError> =>
  Effect.suspend(() => {
    for (;;) {
      const message = frames.next()
      if (message !== undefined) return Effect.succeed(message)
      const batch = raw.tryRead()
      if (batch === undefined) {
        return Effect.flatMap(Effect.mapError(raw.readable, interrupted), () => receive(raw, frames))
      }
      if (batch === null) {
        return Effect.fail(
          interrupted(
            new StreamError({ reason: new UnexpectedEnd({ detail: "the remote closed during the noise handshake" }) })
          )
        )
      }
      // What follows the message is kept across a wait, longer than the bytes are lent.
      frames.feed(raw.ownedReads ? batch : Uint8Array.from(batch))
    }
  })

/** Hands over all of a message, without flushing. */
const send = (raw: ByteStream, bytes: Uint8Array): Effect.Effect<void, SecurityError> =>
  Effect.suspend(() => {
    const taken = raw.tryWrite(bytes)
    if (taken === bytes.length) return Effect.void
    return Effect.flatMap(Effect.mapError(raw.writable, interrupted), () => send(raw, bytes.subarray(taken)))
  })

/**
 * Makes the protocol, for {@link layer} or `ConnectionSecurity.layerPrefer`. The
 * static key of Noise is drawn once, and the identity signs it once.
 *
 * ```
 * const Security = ConnectionSecurity.layerPrefer([Noise.make])
 * ```
 */
export const make: Effect.Effect<SecurityProtocol, never, Identity | Crypto | SecureRandom.SecureRandom> = Effect.gen(
  function* () {
    const identity = yield* Identity
    const crypto = yield* Crypto
    const random = yield* SecureRandom.SecureRandom
    const dispatcher = (yield* Scheduler.Scheduler).makeDispatcher()
    const fork = Effect.runForkWith(yield* Effect.context())
    const staticKey = crypto.dhKeyPair(yield* random.randomBytes(32))
    const signature = identity.sign(Proof.signedBytes(staticKey.publicKey))
    const check = Proof.rememberingCheck(crypto.verify)
    const newKey = Effect.map(random.randomBytes(32), crypto.dhKeyPair)
    /** The ephemeral key of the next handshake, made while this one waits for the remote. */
    let spare: DhKeyPair | undefined
    const payloads = new WeakMap<ReadonlyArray<string>, Uint8Array>()
    /** Nodes offer the same muxers each time. */
    const payloadFor = (muxers: ReadonlyArray<string>): Uint8Array => {
      const known = payloads.get(muxers) ?? Proof.encode(identity.publicKey, signature, muxers)
      payloads.set(muxers, known)
      return known
    }

    const handshake = Effect.fnUntraced(function* (raw: ByteStream, options: SecureOptions) {
      const initiator = options.role === "dialer"
      const ephemeralKey = spare ?? (yield* newKey)
      spare = undefined
      const state = new HandshakeState(crypto, { role: initiator ? "initiator" : "responder", staticKey, ephemeralKey })
      const frames = new FrameReader()
      const payload = payloadFor(options.muxers)

      const write = (content: Uint8Array) =>
        Result.match(state.write(content), {
          onSuccess: (message) => send(raw, frame(message)),
          onFailure: ({ detail }) => fail(new BadHandshake({ detail }))
        })
      const read = Effect.flatMap(receive(raw, frames), (message) =>
        Result.match(state.read(message), {
          onSuccess: (content) => Effect.succeed(content),
          onFailure: ({ detail }) => fail(new BadHandshake({ detail }))
        })
      )
      const prove = (content: Uint8Array): Effect.Effect<Remote, SecurityError> => {
        const proven = check(content, state.remoteStatic)
        if (Result.isFailure(proven)) return fail(new BadIdentity({ detail: proven.failure.detail }))
        const { muxers, peer, publicKey } = proven.success
        const expected = options.expectedPeer
        if (expected !== undefined && !PeerId.equals(expected, peer)) {
          return fail(new WrongPeer({ expected: expected.toString(), actual: peer.toString() }))
        }
        const earlyMuxer = initiator
          ? Proof.chooseMuxer(options.muxers, muxers)
          : Proof.chooseMuxer(muxers, options.muxers)
        return Effect.succeed({ peer, publicKey, earlyMuxer })
      }

      let remote: Remote
      if (initiator) {
        yield* write(empty)
        raw.flush()
        spare ??= yield* newKey
        remote = yield* prove(yield* read)
        // Not flushed: it goes out with what the caller writes in this turn, or when the turn ends.
        yield* write(payload)
      } else {
        yield* read
        yield* write(payload)
        raw.flush()
        spare ??= yield* newKey
        remote = yield* prove(yield* read)
      }
      const ciphers = state.ciphers
      if (ciphers === undefined) return yield* fail(new BadHandshake({ detail: "the handshake is not complete" }))
      return new NoiseConnection({ raw, ...ciphers, early: frames.rest(), dispatcher, fork }, remote)
    })

    return {
      id,
      secure: (raw, options) =>
        Effect.onError(handshake(raw, options), () =>
          Effect.sync(() => raw.reset("the noise handshake did not complete"))
        )
    }
  }
)

/** Noise as the only security. */
export const layer: Layer.Layer<ConnectionSecurity, never, Identity | Crypto | SecureRandom.SecureRandom> = layerPrefer(
  [make]
)
