/**
 * The XX handshake of the Noise framework (revision 34, §5.3 and §7.5) as a
 * plain state machine:
 *
 * ```
 * -> e
 * <- e, ee, s, es
 * -> s, se
 * ```
 *
 * Messages are written and read in turn. The first failure ends it: every later
 * call fails the same way.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../../data/Bytes.ts"
import type { DhKeyPair } from "../../../services/Crypto.ts"
import { type CipherState, empty, maxMessage, type NoiseCrypto, SymmetricState, tagSize } from "./SymmetricState.ts"

export type NoiseRole = "initiator" | "responder"

/** Why a handshake cannot go on. A plain value: failing is an everyday matter for a listener. */
export interface HandshakeFailure {
  readonly _tag: "HandshakeFailure"
  readonly detail: string
}

type Token = "e" | "s" | "ee" | "es" | "se"

const messages: ReadonlyArray<ReadonlyArray<Token>> = [["e"], ["e", "ee", "s", "es"], ["s", "se"]]

const dhSize = 32

export interface HandshakeOptions {
  readonly role: NoiseRole
  /** The long-lived pair. */
  readonly staticKey: DhKeyPair
  /** The pair of this handshake: never use it twice. */
  readonly ephemeralKey: DhKeyPair
  /** Bytes both sides must agree on. libp2p has none. */
  readonly prologue?: Uint8Array | undefined
}

/**
 * One side of a handshake.
 *
 * ```
 * const state = new HandshakeState(crypto, { role: "initiator", staticKey, ephemeralKey })
 * const first = state.write(new Uint8Array(0))   // send it; when the answer has come:
 * const payload = state.read(answer)
 * const last = state.write(ours)
 * const ciphers = state.ciphers
 * ```
 */
export class HandshakeState {
  private readonly symmetric: SymmetricState
  private readonly role: NoiseRole
  private readonly staticKey: DhKeyPair
  private readonly ephemeralKey: DhKeyPair
  private remoteEphemeral: Uint8Array = empty
  private next = 0
  private failure: HandshakeFailure | undefined
  /** The static key of the other side, once its message was read. Nobody has vouched for it yet. */
  remoteStatic: Uint8Array = empty
  /** The keys of the connection, once all messages are through. */
  ciphers: { readonly send: CipherState; readonly receive: CipherState } | undefined

  constructor(crypto: NoiseCrypto, options: HandshakeOptions) {
    this.symmetric = new SymmetricState(crypto, options.prologue ?? empty)
    this.role = options.role
    this.staticKey = options.staticKey
    this.ephemeralKey = options.ephemeralKey
  }

  /** Covers the whole handshake: the same on both sides, and unique to this connection. */
  get hash(): Uint8Array {
    return this.symmetric.hash
  }

  /** Makes the next message, which is this side's to send. */
  write(payload: Uint8Array): Result.Result<Uint8Array, HandshakeFailure> {
    const tokens = this.begin("write")
    if (tokens === undefined) return this.failed("it is not this side's turn to write")
    const parts: Array<Uint8Array> = []
    for (const token of tokens) {
      if (token === "e") {
        this.symmetric.mixHash(this.ephemeralKey.publicKey)
        parts.push(this.ephemeralKey.publicKey)
      } else if (token === "s") {
        const sealed = this.symmetric.encryptAndHash(this.staticKey.publicKey)
        if (sealed === undefined) return this.failed("the key is exhausted")
        parts.push(sealed)
      } else if (!this.agree(token)) {
        return this.failed("the remote's public key is of low order")
      }
    }
    const sealed = this.symmetric.encryptAndHash(payload)
    if (sealed === undefined) return this.failed("the key is exhausted")
    parts.push(sealed)
    const message = Bytes.concat(parts)
    if (message.length > maxMessage) {
      return this.failed(`a message of ${message.length} bytes is over the limit of ${maxMessage}`)
    }
    this.finish()
    return Result.succeed(message)
  }

  /** Reads the next message, which is the other side's, and gives its payload in memory of its own. */
  read(message: Uint8Array): Result.Result<Uint8Array, HandshakeFailure> {
    const tokens = this.begin("read")
    if (tokens === undefined) return this.failed("it is not this side's turn to read")
    if (message.length > maxMessage) {
      return this.failed(`a message of ${message.length} bytes is over the limit of ${maxMessage}`)
    }
    const number = this.next
    let at = 0
    for (const token of tokens) {
      if (token === "e") {
        if (message.length < at + dhSize) return this.failed(`message ${number} is too short for its ephemeral key`)
        this.remoteEphemeral = message.slice(at, at + dhSize)
        this.symmetric.mixHash(this.remoteEphemeral)
        at += dhSize
      } else if (token === "s") {
        const size = dhSize + tagSize
        if (message.length < at + size) return this.failed(`message ${number} is too short for its static key`)
        const opened = this.symmetric.decryptAndHash(message.subarray(at, at + size))
        if (opened === undefined) return this.failed(`the static key in message ${number} does not authenticate`)
        this.remoteStatic = opened
        at += size
      } else if (!this.agree(token)) {
        return this.failed(`the public key in message ${number} is of low order`)
      }
    }
    const payload = this.symmetric.decryptAndHash(message.subarray(at))
    if (payload === undefined) return this.failed(`the payload of message ${number} does not authenticate`)
    this.finish()
    return Result.succeed(payload)
  }

  /** The tokens of the next message, if `action` is what this side does with it. */
  private begin(action: "write" | "read"): ReadonlyArray<Token> | undefined {
    const ours = (this.next % 2 === 0) === (this.role === "initiator")
    const tokens = this.failure === undefined && ours === (action === "write") ? messages[this.next] : undefined
    if (tokens !== undefined) this.next += 1
    return tokens
  }

  private finish(): void {
    if (this.next < messages.length) return
    const [fromInitiator, fromResponder] = this.symmetric.split()
    this.ciphers =
      this.role === "initiator"
        ? { send: fromInitiator, receive: fromResponder }
        : { send: fromResponder, receive: fromInitiator }
  }

  /** The token names the initiator's key first. */
  private agree(token: "ee" | "es" | "se"): boolean {
    const [ours, theirs] = this.role === "initiator" ? [token[0], token[1]] : [token[1], token[0]]
    const pair = ours === "e" ? this.ephemeralKey : this.staticKey
    const secret = pair.agree(theirs === "e" ? this.remoteEphemeral : this.remoteStatic)
    if (Result.isFailure(secret)) return false
    this.symmetric.mixKey(secret.success)
    return true
  }

  private failed(detail: string): Result.Result<never, HandshakeFailure> {
    this.failure ??= { _tag: "HandshakeFailure", detail }
    return Result.fail(this.failure)
  }
}
