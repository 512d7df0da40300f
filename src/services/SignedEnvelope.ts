/**
 * Signed envelopes: a payload with the signature of a peer. The domain is part
 * of what is signed, so that a signature for one purpose is worth nothing for
 * another.
 *
 * Specification: RFC 0002 (signed envelopes); RFC 0003 (peer records).
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bytes from "../data/Bytes.ts"
import type { PublicKey } from "../data/Keys.ts"
import * as Envelope from "../data/messages/Envelope.ts"
import * as PeerRecord from "../data/messages/PeerRecord.ts"
import * as Multiaddr from "../data/Multiaddr.ts"
import * as PeerId from "../data/PeerId.ts"
import * as Varint from "../data/Varint.ts"
import type { Crypto } from "./Crypto.ts"
import { Identity } from "./Identity.ts"

/** The domain of peer records. */
export const peerRecordDomain = "libp2p-peer-record"
/** The multicodec of peer records, 0x0301. */
export const peerRecordType: Uint8Array = Uint8Array.of(0x03, 0x01)

/** An envelope, or what it holds, is refused. */
export class EnvelopeError extends Schema.TaggedError<EnvelopeError>()("EnvelopeError", { detail: Schema.String }) {
  override get message(): string {
    return `signed envelope: ${this.detail}`
  }
}

const encoder = new TextEncoder()

/** What is signed: domain, type and payload, each behind its length. */
const unsigned = (domain: string, type: Uint8Array, payload: Uint8Array): Uint8Array => {
  const name = encoder.encode(domain)
  return Bytes.concat([name, type, payload].flatMap((part) => [Varint.encode(part.length), part]))
}

/** Signs `payload` with this node's key. */
export const seal = (
  domain: string,
  payloadType: Uint8Array,
  payload: Uint8Array
): Effect.Effect<Uint8Array, never, Identity> =>
  Effect.map(Identity, (identity) =>
    Envelope.encode({
      publicKey: identity.publicKey,
      payloadType,
      payload,
      signature: identity.sign(unsigned(domain, payloadType, payload))
    })
  )

/** What an envelope held, and whose signature it bears. */
export interface Opened {
  readonly publicKey: PublicKey
  readonly payload: Uint8Array
}

/** Reads an envelope, and checks its signature and the type of its payload. */
export const open = (
  crypto: Crypto["Service"],
  domain: string,
  payloadType: Uint8Array,
  bytes: Uint8Array
): Result.Result<Opened, EnvelopeError> => {
  const refuse = (detail: string) => Result.fail(new EnvelopeError({ detail }))
  const envelope = Envelope.decode(bytes)
  if (Result.isFailure(envelope)) return refuse(envelope.failure.message)
  const { payload, publicKey, signature } = envelope.success
  if (!Bytes.equals(envelope.success.payloadType, payloadType)) return refuse("its payload is of another type")
  const verified = crypto.verify(publicKey, unsigned(domain, payloadType, payload), signature)
  if (Result.isFailure(verified)) return refuse(verified.failure.message)
  return verified.success ? Result.succeed({ publicKey, payload }) : refuse("its signature does not hold")
}

/**
 * Addresses of a record that are looked at; further ones are left out. A record
 * of 64 KiB may have 7,000, and to read them takes as long as a hundred signatures.
 */
export const maxAddresses = 128

/** The addresses that a peer signed. Only {@link openPeerRecord} gives one: it is proof that the signature holds. */
export class SignedPeerRecord {
  readonly peer: PeerId.PeerId
  readonly publicKey: PublicKey
  /** Of two records of a peer, the one with the greater number holds. */
  readonly sequence: bigint
  /** Those that this node can read, of the first {@link maxAddresses}. */
  readonly addresses: ReadonlyArray<Multiaddr.Multiaddr>
  readonly #envelope: Uint8Array

  private constructor(record: PeerRecord.PeerRecord, peer: PeerId.PeerId, publicKey: PublicKey, envelope: Uint8Array) {
    this.peer = peer
    this.publicKey = publicKey
    this.sequence = record.seq
    this.addresses = record.addresses.slice(0, maxAddresses).flatMap((address) => {
      const read = Multiaddr.fromBytes(address)
      return Result.isSuccess(read) ? [read.success] : []
    })
    // Its own: who gave it may write into that memory again, and this is still proof.
    this.#envelope = Bytes.copy(envelope)
  }

  /** As it came, to be kept and passed on. Do not change it. */
  get envelope(): Uint8Array {
    return this.#envelope
  }

  /** See {@link openPeerRecord}. */
  static open(crypto: Crypto["Service"], envelope: Uint8Array): Result.Result<SignedPeerRecord, EnvelopeError> {
    return Result.flatMap(open(crypto, peerRecordDomain, peerRecordType, envelope), ({ payload, publicKey }) => {
      const refuse = (detail: string) => Result.fail(new EnvelopeError({ detail }))
      const record = PeerRecord.decode(payload)
      if (Result.isFailure(record)) return refuse(record.failure.message)
      const peer = PeerId.fromBytes(record.success.peerId)
      if (Result.isFailure(peer)) return refuse(peer.failure.message)
      if (!PeerId.matchesPublicKey(peer.success, publicKey)) {
        return refuse(
          `it is about ${peer.success.toString()}, but ${PeerId.fromPublicKey(publicKey).toString()} signed it`
        )
      }
      return Result.succeed(new SignedPeerRecord(record.success, peer.success, publicKey, envelope))
    })
  }
}

/** This node's record: where it can be reached, in its own signature. */
export const sealPeerRecord = (
  addresses: ReadonlyArray<Multiaddr.Multiaddr>,
  sequence: bigint
): Effect.Effect<Uint8Array, never, Identity> =>
  Effect.flatMap(Identity, ({ peerId }) =>
    seal(
      peerRecordDomain,
      peerRecordType,
      PeerRecord.encode({
        peerId: peerId.bytes,
        seq: sequence,
        addresses: addresses.map((address) => address.bytes)
      })
    )
  )

/** Reads a peer record; refuses one that another peer than its subject has signed. */
export const openPeerRecord = (
  crypto: Crypto["Service"],
  bytes: Uint8Array
): Result.Result<SignedPeerRecord, EnvelopeError> => SignedPeerRecord.open(crypto, bytes)
