/**
 * The record `/pk/<peer id>`: the public key of a peer whose id holds only the
 * hash of it (RSA, ECDSA). It proves itself: the id is made from the key. The
 * id is the bytes of its multihash, not text.
 *
 * Specification: kad-dht/README.md, "Entry validation"; peer-ids/peer-ids.md.
 */
import * as Result from "effect/Result"
import * as Bytes from "./Bytes.ts"
import * as Keys from "./Keys.ts"
import * as PeerId from "./PeerId.ts"

const prefix = Bytes.fromUtf8("/pk/")

/** The key under which the public key of a peer is found. */
export const keyOf = (peer: PeerId.PeerId): Uint8Array => Bytes.concat([prefix, peer.bytes])

/** The peer that a key is about; says what is wrong with it otherwise. */
const peerOf = (key: Uint8Array): PeerId.PeerId | string => {
  if (!Bytes.equals(key.subarray(0, prefix.length), prefix)) return "the key does not start with /pk/"
  return Result.match(PeerId.fromBytes(key.subarray(prefix.length)), {
    onSuccess: (peer): PeerId.PeerId | string => peer,
    onFailure: ({ detail }) => `the key holds no peer id: ${detail}`
  })
}

/** Says what is wrong with a value under a key; `undefined` when it is the key of that peer. */
export const validate = (key: Uint8Array, value: Uint8Array): string | undefined => {
  const peer = peerOf(key)
  if (typeof peer === "string") return peer
  const publicKey = Keys.decodePublicKey(value)
  if (Result.isFailure(publicKey)) return `the value is no public key: ${publicKey.failure.detail}`
  return PeerId.matchesPublicKey(peer, publicKey.success) ? undefined : `it is not the key of ${peer.toString()}`
}

/** A peer has one key in one encoding: of valid values the first is as good as any. */
export const select = (): number => 0
