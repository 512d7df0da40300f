/**
 * What this node says of itself, as identify messages: which addresses to whom,
 * in its own signature.
 *
 * Specifications: identify/README.md; RFC 0003 (peer records).
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Bytes from "../../data/Bytes.ts"
import * as Keys from "../../data/Keys.ts"
import * as IdentifyMessage from "../../data/messages/Identify.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { Identity } from "../../services/Identity.ts"
import * as SignedEnvelope from "../../services/SignedEnvelope.ts"

export const protocolVersion = "ipfs/0.1.0"

/** The largest message sent, in bytes: rust-libp2p reads no larger one. What does not fit goes into further messages. */
export const maxPart = 4096
/** Messages that one answer may be split over; go-libp2p and js-libp2p read no more. */
export const maxParts = 10
/** Bytes of addresses that are announced; they are sent twice, once signed. */
const maxAddressBytes = 1400

/**
 * Those of `addresses` that mean the same at both ends of a connection whose
 * remote end is `reach` away: loopback addresses only on this machine, private
 * ones only within a private network.
 */
export const shared = (
  addresses: ReadonlyArray<Multiaddr.Multiaddr>,
  reach: Multiaddr.Reach
): ReadonlyArray<Multiaddr.Multiaddr> =>
  reach === "loopback"
    ? addresses
    : addresses.filter((address) => {
        const far = Multiaddr.reach(address)
        return far === "public" || (far === "private" && reach === "private")
      })

/** What there is to say. */
export interface Facts {
  /** All that are announced, the best known first. */
  readonly addresses: ReadonlyArray<Multiaddr.Multiaddr>
  readonly protocols: ReadonlyArray<string>
}

/** The first addresses, as many as fit and are read. */
const fitting = (addresses: ReadonlyArray<Multiaddr.Multiaddr>): ReadonlyArray<Multiaddr.Multiaddr> => {
  let size = 0
  const some = addresses.slice(0, SignedEnvelope.maxAddresses)
  return some.filter(({ bytes }) => (size += bytes.length) <= maxAddressBytes)
}

const nothing = { listenAddrs: [], protocols: [] }

/** A whole message, cut where it is too long. Joined end to end, the parts read as one. */
export const cut = (message: IdentifyMessage.Identify): ReadonlyArray<Uint8Array> => {
  const whole = IdentifyMessage.encode(message)
  if (whole.length <= maxPart) return [whole]
  const { protocols, signedPeerRecord, ...rest } = message
  const parts: Array<Uint8Array> = []
  let head: IdentifyMessage.Identify = { ...rest, protocols: [] }
  let some: Array<string> = []
  let room = maxPart - IdentifyMessage.encode(head).length
  for (const name of protocols) {
    const size = Bytes.fromUtf8(name).length + 3
    if (size > room && some.length > 0) {
      // The last part is for the record.
      if (parts.length === maxParts - 2) break
      parts.push(IdentifyMessage.encode({ ...head, protocols: some }))
      head = nothing
      some = []
      room = maxPart
    }
    some.push(name)
    room -= size
  }
  parts.push(IdentifyMessage.encode({ ...head, protocols: some }))
  if (signedPeerRecord !== undefined) parts.push(IdentifyMessage.encode({ ...nothing, signedPeerRecord }))
  return parts
}

/** Makes the messages of a node. */
export const make = (identity: Identity["Service"], agentVersion: string) => {
  const publicKey = Keys.encodePublicKey(identity.publicKey)
  const sealed = new Map<Multiaddr.Reach, { readonly addresses: string; readonly envelope: Uint8Array }>()
  let sequence = 0n

  /**
   * The signed record for peers that are `reach` away. One is signed when the
   * addresses for them have changed, not for each connection. Its number is the
   * time of that, in milliseconds, and greater than any before: a peer that is
   * met in two ways holds the latest.
   */
  const record = (reach: Multiaddr.Reach, addresses: ReadonlyArray<Multiaddr.Multiaddr>): Effect.Effect<Uint8Array> =>
    Effect.suspend(() => {
      const text = addresses.join(" ")
      const held = sealed.get(reach)
      if (held?.addresses === text) return Effect.succeed(held.envelope)
      return Effect.gen(function* () {
        const now = BigInt(Math.floor(yield* Clock.currentTimeMillis))
        sequence = now > sequence ? now : sequence + 1n
        const envelope = yield* SignedEnvelope.sealPeerRecord(addresses, sequence)
        sealed.set(reach, { addresses: text, envelope })
        return envelope
      }).pipe(Effect.provideService(Identity, identity))
    })

  /** The messages for a peer at `remote`. */
  return (facts: Facts, remote: Multiaddr.Multiaddr): Effect.Effect<ReadonlyArray<Uint8Array>> => {
    const reach = Multiaddr.reach(remote)
    const addresses = fitting(shared(facts.addresses, reach))
    return Effect.map(record(reach, addresses), (signedPeerRecord) =>
      cut({
        publicKey,
        listenAddrs: addresses.map(({ bytes }) => bytes),
        protocols: facts.protocols,
        observedAddr: remote.bytes,
        protocolVersion,
        agentVersion,
        signedPeerRecord
      })
    )
  }
}
