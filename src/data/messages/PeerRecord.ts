/**
 * The addresses of a peer, as it signs them in an envelope.
 * `proto/peer_record.proto`.
 *
 * https://github.com/libp2p/specs/blob/master/RFC/0003-routing-records.md
 */
import * as Result from "effect/Result"
import { type DecodeError, Reader, Writer } from "../Protobuf.ts"

export interface PeerRecord {
  /** See `PeerId.fromBytes`. */
  readonly peerId: Uint8Array
  /** Of two records of a peer, the one with the greater number holds. Often a time in nanoseconds: beyond 2^53. */
  readonly seq: bigint
  /** Multiaddrs in binary; see `Multiaddr.fromBytes`. */
  readonly addresses: ReadonlyArray<Uint8Array>
}

/** The largest record read, in bytes. */
export const maxSize = 65_536

export const encode = (record: PeerRecord): Uint8Array => {
  const writer = new Writer()
  if (record.peerId.length > 0) writer.bytes(1, record.peerId)
  if (record.seq !== 0n) writer.uint64(2, record.seq)
  for (const address of record.addresses) {
    writer.message(3, (info) => {
      if (address.length > 0) info.bytes(1, address)
    })
  }
  return writer.finish()
}

/** Reads a record of at most 64 KiB. Unknown fields are skipped. */
export const decode = (bytes: Uint8Array): Result.Result<PeerRecord, DecodeError> => {
  const fields = new Reader("PeerRecord", bytes, maxSize)
  let peerId: Uint8Array = new Uint8Array(0)
  let seq = 0n
  const addresses: Array<Uint8Array> = []
  while (fields.next()) {
    if (fields.number === 1) peerId = fields.bytes()
    else if (fields.number === 2) seq = fields.uint64()
    else if (fields.number === 3) {
      let address: Uint8Array = new Uint8Array(0)
      fields.message((inner) => {
        while (inner.next()) if (inner.number === 1) address = inner.bytes()
      })
      addresses.push(address)
    }
  }
  return fields.error === undefined ? Result.succeed({ peerId, seq, addresses }) : Result.fail(fields.error)
}
