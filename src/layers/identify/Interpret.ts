/** What an identify message says, held against the identity that its connection has proven. Pure. */
import * as Result from "effect/Result"
import * as Keys from "../../data/Keys.ts"
import * as Envelope from "../../data/messages/Envelope.ts"
import type { Identify as Message } from "../../data/messages/Identify.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as Bytes from "../../data/Bytes.ts"
import * as PeerId from "../../data/PeerId.ts"
import { isPrintable, printable } from "../../data/Printable.ts"
import type { Crypto } from "../../services/Crypto.ts"
import { type IdentifyInfo, IdentifyMalformed } from "../../services/Identify.ts"
import * as SignedEnvelope from "../../services/SignedEnvelope.ts"

/** Addresses of a peer that are kept; further ones are left out. */
export const maxAddresses = 64
/** Addresses that are looked at, whether or not they can be read and kept: to fail takes time as well. */
const maxAddressesRead = 2 * maxAddresses
/** Protocols of a peer that are kept; further ones are left out. */
export const maxProtocols = 256
/** The longest name of a protocol that is kept, in characters. */
export const maxProtocolLength = 256
/** Characters kept of what a peer calls itself. */
export const maxVersionLength = 128

/** What a message says. What it does not say is `undefined` or empty. */
export interface Told {
  readonly publicKey: Keys.PublicKey | undefined
  readonly protocolVersion: string | undefined
  readonly agentVersion: string | undefined
  /** Those that it signed, if it signed any; else those that it claims. */
  readonly listenAddresses: ReadonlyArray<Multiaddr.Multiaddr>
  readonly observedAddress: Multiaddr.Multiaddr | undefined
  readonly protocols: ReadonlyArray<string>
  /** Of the peer of the connection, about itself. */
  readonly signedPeerRecord: SignedEnvelope.SignedPeerRecord | undefined
}

/** Multiaddrs that this node can read (others are of transports that it does not know) and that lead to no other peer. */
const usable = (addresses: Iterable<Multiaddr.Multiaddr>, peer: PeerId.PeerId): ReadonlyArray<Multiaddr.Multiaddr> => {
  const kept = new Map<string, Multiaddr.Multiaddr>()
  for (const address of addresses) {
    if (kept.size === maxAddresses) break
    const leadsTo = Multiaddr.peerId(address)
    if (leadsTo === undefined || PeerId.equals(leadsTo, peer)) kept.set(address.toString(), address)
  }
  return [...kept.values()]
}

/** Reads one after another, so that no more are read than are kept. */
function* readable(addresses: ReadonlyArray<Uint8Array>): Generator<Multiaddr.Multiaddr> {
  for (const bytes of addresses.slice(0, maxAddressesRead)) {
    const address = Multiaddr.fromBytes(bytes)
    if (Result.isSuccess(address)) yield address.success
  }
}

const protocolsOf = (names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const kept = new Set<string>()
  for (const name of names) {
    if (kept.size === maxProtocols) break
    if (name !== "" && name.length <= maxProtocolLength && isPrintable(name)) kept.add(name)
  }
  return [...kept]
}

const refuse = (detail: string) => Result.fail(new IdentifyMalformed({ detail }))

/**
 * The record of a message. A record that is wrong refuses the message: what a
 * peer signed for another, or did not sign, is no slip. js-libp2p does the
 * same; go-libp2p and rust-libp2p leave the record out and believe the rest.
 * Records of another format, such as the older one of rust-libp2p, are not
 * wrong but unknown, and are passed over as an unknown field is.
 */
const recordOf = (
  bytes: Uint8Array | undefined,
  peer: PeerId.PeerId,
  crypto: Crypto["Service"]
): Result.Result<SignedEnvelope.SignedPeerRecord | undefined, IdentifyMalformed> => {
  if (bytes === undefined || bytes.length === 0) return Result.succeed(undefined)
  const envelope = Envelope.decode(bytes)
  const type = Result.isSuccess(envelope) ? envelope.success.payloadType : undefined
  if (type !== undefined && type.length > 0 && !Bytes.equals(type, SignedEnvelope.peerRecordType)) {
    return Result.succeed(undefined)
  }
  const record = SignedEnvelope.openPeerRecord(crypto, bytes)
  if (Result.isFailure(record)) return refuse(`its peer record: ${record.failure.message}`)
  if (!PeerId.equals(record.success.peer, peer)) {
    return refuse(`its peer record is that of another peer, ${record.success.peer.toString()}`)
  }
  return Result.succeed(record.success)
}

/** Reads what a message of `peer` says; refuses one that bears the key or the record of another. */
export const interpret = (
  message: Message,
  peer: PeerId.PeerId,
  crypto: Crypto["Service"]
): Result.Result<Told, IdentifyMalformed> => {
  const key = message.publicKey === undefined ? undefined : Keys.decodePublicKey(message.publicKey)
  if (key !== undefined && Result.isFailure(key)) return refuse(key.failure.message)
  if (key !== undefined && !PeerId.matchesPublicKey(peer, key.success)) {
    return refuse(`its public key is that of ${PeerId.fromPublicKey(key.success).toString()}`)
  }
  return Result.map(recordOf(message.signedPeerRecord, peer, crypto), (record) => {
    const signed = usable(record?.addresses ?? [], peer)
    const observed = message.observedAddr === undefined ? undefined : Multiaddr.fromBytes(message.observedAddr)
    return {
      publicKey: key?.success,
      protocolVersion:
        message.protocolVersion === undefined ? undefined : printable(message.protocolVersion, maxVersionLength),
      agentVersion: message.agentVersion === undefined ? undefined : printable(message.agentVersion, maxVersionLength),
      listenAddresses: signed.length > 0 ? signed : usable(readable(message.listenAddrs), peer),
      observedAddress: observed !== undefined && Result.isSuccess(observed) ? observed.success : undefined,
      protocols: protocolsOf(message.protocols),
      signedPeerRecord: record
    }
  })
}

/** What is known of a peer after a message that leaves out what has not changed. `before` is what was known. */
export const update = (peer: PeerId.PeerId, before: IdentifyInfo | undefined, told: Told): IdentifyInfo | undefined => {
  const publicKey = told.publicKey ?? before?.publicKey ?? peer.publicKey
  if (publicKey === undefined) return undefined
  return {
    peer,
    publicKey,
    protocolVersion: told.protocolVersion ?? before?.protocolVersion,
    agentVersion: told.agentVersion ?? before?.agentVersion,
    listenAddresses: told.listenAddresses.length > 0 ? told.listenAddresses : (before?.listenAddresses ?? []),
    observedAddress: told.observedAddress ?? before?.observedAddress,
    protocols: told.protocols.length > 0 ? told.protocols : (before?.protocols ?? []),
    signedPeerRecord: told.signedPeerRecord?.envelope ?? before?.signedPeerRecord
  }
}

/** What an answer to identify says: it is whole, so it names a key. */
export const whole = (peer: PeerId.PeerId, told: Told): Result.Result<IdentifyInfo, IdentifyMalformed> => {
  const info = told.publicKey === undefined ? undefined : update(peer, undefined, told)
  return info === undefined ? refuse("it names no public key") : Result.succeed(info)
}

/** Two partial messages as one; what the later one sets holds. */
export const join = (earlier: Message, later: Message): Message => {
  const moved = later.listenAddrs.length > 0
  return {
    publicKey: later.publicKey ?? earlier.publicKey,
    listenAddrs: moved ? later.listenAddrs : earlier.listenAddrs,
    protocols: later.protocols.length > 0 ? later.protocols : earlier.protocols,
    observedAddr: later.observedAddr ?? earlier.observedAddr,
    protocolVersion: later.protocolVersion ?? earlier.protocolVersion,
    agentVersion: later.agentVersion ?? earlier.agentVersion,
    // An older record must not hide the addresses that came after it.
    signedPeerRecord: later.signedPeerRecord ?? (moved ? undefined : earlier.signedPeerRecord)
  }
}
