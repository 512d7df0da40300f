/**
 * TLS 1.3: `/tls/1.0.0`, on OpenSSL through `node:tls`. Certificates and the
 * stream are in `tls/`; here they meet the raw connection.
 *
 * Keys, nonces and signatures come from OpenSSL's own entropy, and `node:tls`
 * works by ticks of the event loop: in a simulation that must repeat, use Noise
 * or plaintext instead.
 *
 * The remote's certificate is judged at the moment its side of the handshake
 * is complete. A dialer that does not like it sends nothing more, not even who
 * it is. In TLS 1.3 the dialer is done before the listener has seen the dialer's
 * certificate: a refusal, which go-libp2p sends as an alert, is the error of the
 * dialer's first read, where the alert is named. What the dialer wrote by then
 * was not processed. Waiting for more would cost every connection a round trip.
 *
 * https://github.com/libp2p/specs/blob/master/tls/tls.md
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scheduler from "effect/Scheduler"
import * as tls from "node:tls"
import type { PublicKey } from "../../data/Keys.ts"
import * as PeerId from "../../data/PeerId.ts"
import type { ByteStream } from "../../services/ByteStream.ts"
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
import { Crypto } from "../../services/Crypto.ts"
import { Identity } from "../../services/Identity.ts"
import type { Bridge } from "./tls/Bridge.ts"
import * as Credentials from "./tls/Credentials.ts"
import * as Proof from "./tls/Proof.ts"
import { limit, TlsStream } from "./tls/TlsStream.ts"

/** The name of TLS in negotiation. */
export const id = "/tls/1.0.0"

/** The application protocol (ALPN) when no muxer is agreed inside the handshake. */
const withoutMuxer = "libp2p"

interface Remote {
  readonly peer: PeerId.PeerId
  readonly publicKey: PublicKey
  readonly earlyMuxer: string | undefined
}

type Verdict = Result.Result<Remote, SecurityErrorReason>

const badIdentity = (detail: string): Verdict => Result.fail(new BadIdentity({ detail }))

/** Starts TLS; `complete` is called once, from inside, when the remote's side of the handshake is complete. */
const start = (
  bridge: Bridge,
  secureContext: tls.SecureContext,
  { muxers, role }: SecureOptions,
  complete: (socket: tls.TLSSocket) => void
): tls.TLSSocket => {
  // The certificate is checked in `judge`; to Node it is only one that nobody it knows has signed.
  const options = { secureContext, rejectUnauthorized: false }
  if (role === "listener") {
    const socket = new tls.TLSSocket(bridge, {
      ...options,
      isServer: true,
      requestCert: true,
      ALPNCallback: ({ protocols }) => protocols.find((name) => name === withoutMuxer || muxers.includes(name))
    })
    socket.once("secure", () => complete(socket))
    return socket
  }
  const socket = tls.connect({
    ...options,
    socket: bridge,
    ALPNProtocols: [...muxers, withoutMuxer],
    checkServerIdentity: () => undefined
  })
  socket.once("secureConnect", () => complete(socket))
  return socket
}

/** Securing as `options` say, with what {@link Credentials} made. */
const secureWith = (secureContext: tls.SecureContext, crypto: Crypto["Service"]) => {
  const judge = (socket: tls.TLSSocket, { expectedPeer, muxers }: SecureOptions, now: number): Verdict => {
    // To be asked only once: Node takes the certificate out of a client's connection as it hands it over.
    const certificate = socket.getPeerX509Certificate()
    if (certificate === undefined) return badIdentity("the remote sent no certificate")
    // Whether or not it issued anything, the next certificate of the chain is found here.
    if (certificate.issuerCertificate !== undefined) return badIdentity("the remote sent more than one certificate")
    const proven = Proof.check(crypto.verify, certificate.raw, now)
    if (Result.isFailure(proven)) return badIdentity(proven.failure.detail)
    const publicKey = proven.success
    const peer = PeerId.fromPublicKey(publicKey)
    if (expectedPeer !== undefined && !PeerId.equals(expectedPeer, peer)) {
      return Result.fail(new WrongPeer({ expected: expectedPeer.toString(), actual: peer.toString() }))
    }
    // A remote of the first days, which knows no ALPN, chooses nothing.
    const chosen = socket.alpnProtocol
    if (typeof chosen !== "string" || chosen === withoutMuxer) {
      return Result.succeed({ peer, publicKey, earlyMuxer: undefined })
    }
    return muxers.includes(chosen)
      ? Result.succeed({ peer, publicKey, earlyMuxer: chosen })
      : Result.fail(new BadHandshake({ detail: `the remote chose ${chosen.slice(0, 64)}, which was not offered` }))
  }

  const scratch = Buffer.allocUnsafeSlow(limit)

  const fail = (reason: SecurityErrorReason) => Effect.fail(new SecurityError({ protocol: id, reason }))

  const handshake = Effect.fnUntraced(function* (raw: ByteStream, options: SecureOptions) {
    const clock = yield* Clock.Clock
    const scheduler = yield* Scheduler.Scheduler
    const fork = Effect.runForkWith(yield* Effect.context())
    let verdict: Verdict | undefined
    const stream = new TlsStream({
      raw,
      dispatcher: scheduler.makeDispatcher(),
      scratch,
      fork,
      open: (bridge) =>
        start(bridge, secureContext, options, (socket) => {
          verdict = judge(socket, options, clock.currentTimeMillisUnsafe())
          // Before TLS sends its last flight.
          if (Result.isFailure(verdict)) bridge.destroy()
        })
    })
    const outcome = Effect.suspend(function step(): Effect.Effect<Remote, SecurityError> {
      if (verdict !== undefined) {
        return Result.isSuccess(verdict) ? Effect.succeed(verdict.success) : fail(verdict.failure)
      }
      if (stream.fault !== undefined) return fail(new BadHandshake({ detail: stream.fault.detail }))
      if (stream.failure !== undefined) return fail(new HandshakeInterrupted({ cause: stream.failure }))
      // What has come already is answered before anything is sent: the answer goes out with what was agreed before.
      if (stream.pull()) return Effect.suspend(step)
      raw.flush()
      return Effect.flatMap(stream.advance, step)
    })
    // Not flushed after the last step: a dialer's last flight goes out with what the caller writes in this turn.
    const remote = yield* Effect.onError(outcome, () => Effect.sync(() => stream.reset(unfinished)))
    const connection: SecuredConnection = {
      ownedReads: stream.ownedReads,
      tryRead: stream.tryRead,
      readable: stream.readable,
      tryWrite: stream.tryWrite,
      writable: stream.writable,
      flush: stream.flush,
      closeWrite: stream.closeWrite,
      reset: stream.reset,
      remotePeer: remote.peer,
      remotePublicKey: remote.publicKey,
      security: id,
      earlyMuxer: remote.earlyMuxer
    }
    return connection
  })

  return (raw: ByteStream, options: SecureOptions): Effect.Effect<SecuredConnection, SecurityError> =>
    Effect.onError(handshake(raw, options), () => Effect.sync(() => raw.reset(unfinished)))
}

const unfinished = "the TLS handshake did not complete"

/**
 * Makes the protocol, for {@link layer} or `ConnectionSecurity.layerPrefer`. The
 * key and certificate are made once, with the first connection, and the identity
 * signs them once; they are valid by the node's Clock from an hour before the start.
 *
 * ```
 * const Security = ConnectionSecurity.layerPrefer([Noise.make, Tls.make])
 * ```
 */
export const make: Effect.Effect<SecurityProtocol, never, Identity | Crypto> = Effect.gen(function* () {
  const identity = yield* Identity
  const crypto = yield* Crypto
  const now = yield* Clock.currentTimeMillis
  // With the first connection that needs them: beside Noise, for most nodes none does.
  let secure: SecurityProtocol["secure"] | undefined
  return {
    id,
    secure: (raw, options) =>
      Effect.suspend(() => {
        secure ??= secureWith(Credentials.make(identity, crypto, now), crypto)
        return secure(raw, options)
      })
  }
})

/** TLS as the only security. */
export const layer: Layer.Layer<ConnectionSecurity, never, Identity | Crypto> = layerPrefer([make])
