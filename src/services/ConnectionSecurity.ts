/**
 * ConnectionSecurity: proves who is at the other end of a raw connection and
 * encrypts it. Layers: Noise. Several are combined in order of preference.
 *
 * Specification: connections/README.md (upgrading), connections/inlined-muxer-negotiation.md.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { PublicKey } from "../data/Keys.ts"
import type { PeerId } from "../data/PeerId.ts"
import { type ByteStream, StreamError } from "./ByteStream.ts"

/** Which end of the connection this is. */
export type Role = "dialer" | "listener"

/** The peer that answered is not the one that was dialled. */
export class WrongPeer extends Schema.TaggedClass<WrongPeer>()("WrongPeer", {
  expected: Schema.String,
  actual: Schema.String
}) {}

/** The remote's proof of identity does not hold. */
export class BadIdentity extends Schema.TaggedClass<BadIdentity>()("BadIdentity", { detail: Schema.String }) {}

/** A message of the handshake is malformed, too long, or does not authenticate. */
export class BadHandshake extends Schema.TaggedClass<BadHandshake>()("BadHandshake", { detail: Schema.String }) {}

/** The connection ended or failed during the handshake. */
export class HandshakeInterrupted extends Schema.TaggedClass<HandshakeInterrupted>()("HandshakeInterrupted", {
  cause: StreamError
}) {}

export const SecurityErrorReason = Schema.Union([WrongPeer, BadIdentity, BadHandshake, HandshakeInterrupted])
export type SecurityErrorReason = typeof SecurityErrorReason.Type

/** Securing a connection failed. The connection has been reset. */
export class SecurityError extends Schema.TaggedError<SecurityError>()("SecurityError", {
  protocol: Schema.String,
  reason: SecurityErrorReason
}) {
  override get message(): string {
    const reason = this.reason
    switch (reason._tag) {
      case "WrongPeer":
        return `${this.protocol}: dialled ${reason.expected}, but ${reason.actual} answered`
      case "HandshakeInterrupted":
        return `${this.protocol}: the handshake was cut off: ${reason.cause.message}`
      default:
        return `${this.protocol}: ${reason.detail}`
    }
  }
}

/** A connection whose remote has proven its identity. */
export interface SecuredConnection extends ByteStream {
  readonly remotePeer: PeerId
  readonly remotePublicKey: PublicKey
  /** The protocol that secured it, such as `/noise`. */
  readonly security: string
  /** The muxer agreed inside the handshake; `undefined` when the remote did not offer early negotiation or none is shared. */
  readonly earlyMuxer: string | undefined
}

export interface SecureOptions {
  readonly role: Role
  /** The peer that must answer; a listener does not know it in advance. */
  readonly expectedPeer: PeerId | undefined
  /** Muxers to offer inside the handshake, in order of preference. */
  readonly muxers: ReadonlyArray<string>
}

/** One way of securing a connection. */
export interface SecurityProtocol {
  /** Its name in negotiation, such as `/noise`. */
  readonly id: string
  /** Runs the handshake. On failure or interruption `raw` is reset. It has no deadline of its own: the caller sets one. */
  readonly secure: (raw: ByteStream, options: SecureOptions) => Effect.Effect<SecuredConnection, SecurityError>
}

export class ConnectionSecurity extends Context.Service<
  ConnectionSecurity,
  {
    /** In order of preference. */
    readonly protocols: ReadonlyArray<SecurityProtocol>
  }
>()("effect-libp2p/ConnectionSecurity") {}

/** Combines securities, the preferred one first. */
export const layerPrefer = <R>(
  protocols: ReadonlyArray<Effect.Effect<SecurityProtocol, never, R>>
): Layer.Layer<ConnectionSecurity, never, R> =>
  Layer.effect(
    ConnectionSecurity,
    Effect.map(Effect.all(protocols), (protocols) => ({ protocols }))
  )
