/** Writes that are known by a number alone: who makes them and who looks for them need share nothing else. */
import { Effect } from "effect"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import * as PeerId from "../../../../src/data/PeerId.ts"
import type * as SqlitePeerStore from "../../../../src/layers/peerstore/SqlitePeerStore.ts"
import type { PeerStore } from "../../../../src/services/PeerStore.ts"

/** A peer of a number: one whose id is a hash. */
export const peerOf = (number: number): PeerId.PeerId => {
  const bytes = new Uint8Array(34)
  bytes.set([0x12, 0x20])
  new DataView(bytes.buffer).setUint32(2, number)
  const peer = PeerId.fromBytes(bytes)
  if (peer._tag === "Failure") throw peer.failure
  return peer.success
}

export const addressOf = (number: number): Multiaddr.Multiaddr =>
  Multiaddr.fromStringUnsafe(`/ip4/192.0.2.1/tcp/${1 + (number % 65_535)}`)

/** Some files wait for the disk, some do not: neither may lose anything when their process is killed. */
export const optionsOf = (path: string, file: number): SqlitePeerStore.Options => ({
  path,
  maxPeers: 100_000,
  durability: file % 2 === 0 ? "power" : "process"
})

/** 500 bytes, so that the log is soon long enough to be written back. */
const valueOf = (number: number): Uint8Array => Bytes.fromUtf8(`${number}.`.repeat(100)).subarray(0, 500)

/** Write `number`: an address or a metadata value of a peer that 20 numbers in a row share. */
export const write = (store: PeerStore["Service"], number: number) => {
  const peer = peerOf(Math.floor(number / 20))
  return number % 2 === 0
    ? store.addAddresses(peer, [addressOf(number)], "claimed", "1 day")
    : store.setMetadata(peer, `${number}`, valueOf(number))
}

/** True if write `number` is there. */
export const found = (store: PeerStore["Service"], number: number) =>
  Effect.map(store.get(peerOf(Math.floor(number / 20))), (info) => {
    if (info === undefined) return false
    if (number % 2 === 0) return info.addresses.some(({ address }) => Multiaddr.equals(address, addressOf(number)))
    const value = info.metadata[`${number}`]
    return value !== undefined && Bytes.equals(value, valueOf(number))
  })
