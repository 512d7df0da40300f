/**
 * The names under which peers are found. Pure.
 *
 * ```
 * _p2p._udp.local                          all peers
 * _p2p-chat._udp.local                     those of the service "chat"
 * _p2p-<fingerprint>._udp.local            those of a private network
 * <peer name>._p2p._udp.local              one of them
 * <hash>._peer._p2p._udp.local             the one with this peer id
 * <hash>._key._p2p._udp.local              those who have the content of this key
 * <hash>._record._p2p._udp.local           those who hold a record under this key
 * ```
 *
 * Specification: libp2p/specs, discovery/mdns.md.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Bytes from "../../../data/Bytes.ts"

/** Asked to learn which services there are; RFC 6763, section 9. */
export const meta = "_services._dns-sd._udp.local"

/** What a service may be called: it becomes a part of a DNS label of at most 63 characters. */
export const isServiceName = (text: string): boolean => /^[a-z0-9](?:[a-z0-9-]{0,18}[a-z0-9])?$/.test(text)

/** The name of a service: of all peers, of those of a service, of those of a private network, or both. The fingerprint is in base 16. */
export const serviceOf = (service?: string, fingerprint?: string): string => {
  const parts = ["_p2p", ...(fingerprint === undefined ? [] : [fingerprint])]
  return `${[...parts, ...(service === undefined ? [] : [service])].join("-")}._udp.local`
}

/** Whether a name is one that {@link serviceOf} gives. */
export const isService = (name: string): boolean => /^_p2p(?:-[a-z0-9-]{1,57})?\._udp\.local$/.test(name)

const letters = "abcdefghijklmnopqrstuvwxyz0123456789"

/** A name for a peer, which says nothing of it. `random` is in `[0, 1)`. */
export const peerName = (random: () => number): string =>
  Array.from({ length: 32 }, () => letters[Math.floor(random() * letters.length)] ?? "a").join("")

/** Sixteen bytes that stand for others, in hexadecimal. */
export const hashed = (bytes: Uint8Array): string => Bytes.toHex(sha256(bytes).subarray(0, 16))

/** Asks for the peer of an id, which is not told to those who do not know it. */
export const ofPeer = (id: Uint8Array, service: string): string => `${hashed(id)}._peer.${service}`

/** Asks for those who have the content of a key. */
export const ofKey = (key: Uint8Array, service: string): string => `${hashed(key)}._key.${service}`

/** Asks for those who hold a record under a key. */
export const ofRecord = (key: Uint8Array, service: string): string => `${hashed(key)}._record.${service}`

/** Where the list of what a query knows already is. */
export const knownOf = (service: string): string => `_known.${service}`

/** Thirty-two bits of a name, by which a list says that it is known (FNV-1a). */
export const digest = (name: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash >>> 0
}
