/**
 * What the nodes of a Kademlia DHT ask and answer. `proto/kad.proto`.
 *
 * One type serves question and answer. Bounds hold while it is read, so that
 * nothing is kept of what is over them.
 *
 * https://github.com/libp2p/specs/blob/master/kad-dht/README.md#rpc-messages
 */
import * as Result from "effect/Result"
import { type DecodeError, Reader, Writer } from "../Protobuf.ts"

/** In the order of their numbers. */
export const types = ["PutValue", "GetValue", "AddProvider", "GetProviders", "FindNode", "Ping"] as const
export type Type = (typeof types)[number]

/** Whether the sender is connected with a peer, or could be. In the order of their numbers. */
export const connections = ["NotConnected", "Connected", "CanConnect", "CannotConnect"] as const
export type ConnectionType = (typeof connections)[number]

export interface Record {
  readonly key: Uint8Array
  readonly value: Uint8Array
  /** In RFC 3339, as the sender's clock had it; for people. */
  readonly timeReceived: string
}

export interface Peer {
  /** See `PeerId.fromBytes`. */
  readonly id: Uint8Array
  /** Multiaddrs in binary; see `Multiaddr.fromBytes`. */
  readonly addrs: ReadonlyArray<Uint8Array>
  readonly connection: ConnectionType
}

export interface Kad {
  readonly type: Type
  /** What is asked for: a peer id, a multihash, or the key of a record. */
  readonly key: Uint8Array
  readonly record: Record | undefined
  readonly closerPeers: ReadonlyArray<Peer>
  readonly providerPeers: ReadonlyArray<Peer>
}

/** The largest question read, in bytes: a record of 64 KiB and its key fit well. */
export const maxRequestSize = 131_072
/** The largest answer read, in bytes. Others accept 4 MiB; a full answer takes a tenth of this. */
export const maxSize = 1_048_576
/** The longest key, in bytes. */
export const maxKeySize = 1024
/** More closer peers than this are an error: who answers chooses their number, which is twenty. */
export const maxCloserPeers = 256
/**
 * Providers after these, and addresses of a peer after those, are left out: they are others' words passed on, so
 * that who says too much of itself would spoil the answers of all who mention it.
 */
export const maxProviderPeers = 1024
export const maxAddresses = 64

const none: Uint8Array = new Uint8Array(0)

const writePeers = (writer: Writer, field: number, peers: ReadonlyArray<Peer>): void => {
  for (const peer of peers) {
    writer.message(field, (inner) => {
      if (peer.id.length > 0) inner.bytes(1, peer.id)
      for (const address of peer.addrs) inner.bytes(2, address)
      const connection = connections.indexOf(peer.connection)
      if (connection > 0) inner.uint64(3, BigInt(connection))
    })
  }
}

export const encode = (message: Kad): Uint8Array => {
  const writer = new Writer()
  const type = types.indexOf(message.type)
  if (type > 0) writer.uint64(1, BigInt(type))
  if (message.key.length > 0) writer.bytes(2, message.key)
  if (message.record !== undefined) {
    const { key, timeReceived, value } = message.record
    writer.message(3, (inner) => {
      if (key.length > 0) inner.bytes(1, key)
      if (value.length > 0) inner.bytes(2, value)
      if (timeReceived !== "") inner.string(5, timeReceived)
    })
  }
  writePeers(writer, 8, message.closerPeers)
  writePeers(writer, 9, message.providerPeers)
  return writer.finish()
}

const readKey = (fields: Reader): Uint8Array => {
  const key = fields.bytes()
  if (key.length > maxKeySize) fields.fail(`a key of ${key.length} bytes, over the limit of ${maxKeySize}`)
  return key
}

const readPeer = (fields: Reader): Peer => {
  let id = none
  const addrs: Array<Uint8Array> = []
  let connection: ConnectionType = "NotConnected"
  while (fields.next()) {
    if (fields.number === 1) id = fields.bytes()
    else if (fields.number === 2) {
      if (addrs.length < maxAddresses) addrs.push(fields.bytes())
    } else if (fields.number === 3) connection = connections[Number(fields.uint64())] ?? "NotConnected"
  }
  return { id, addrs, connection }
}

/** Reads a message of at most `limit` bytes. Unknown fields are skipped, and so is the cluster level, which nobody uses. */
export const decode = (bytes: Uint8Array, limit: number = maxSize): Result.Result<Kad, DecodeError> => {
  const fields = new Reader("Kad", bytes, limit)
  let type: Type = "PutValue"
  let key = none
  let record: Record | undefined
  const closerPeers: Array<Peer> = []
  const providerPeers: Array<Peer> = []
  while (fields.next()) {
    switch (fields.number) {
      case 1: {
        const number = fields.uint64()
        const known = types[Number(number)]
        if (known === undefined) fields.fail(`the unknown type ${number}`)
        else type = known
        break
      }
      case 2:
        key = readKey(fields)
        break
      case 3:
        fields.message((inner) => {
          let { key, timeReceived, value } = record ?? { key: none, value: none, timeReceived: "" }
          while (inner.next()) {
            if (inner.number === 1) key = readKey(inner)
            else if (inner.number === 2) value = inner.bytes()
            else if (inner.number === 5) timeReceived = inner.string()
          }
          record = { key, value, timeReceived }
        })
        break
      case 8:
        if (closerPeers.length === maxCloserPeers) fields.fail(`more than ${maxCloserPeers} closer peers`)
        else fields.message((inner) => void closerPeers.push(readPeer(inner)))
        break
      case 9:
        if (providerPeers.length < maxProviderPeers) {
          fields.message((inner) => void providerPeers.push(readPeer(inner)))
        }
    }
  }
  return fields.error === undefined
    ? Result.succeed({ type, key, record, closerPeers, providerPeers })
    : Result.fail(fields.error)
}

/** A message of one type with nothing in it but what is given. */
export const make = (type: Type, fields?: Partial<Omit<Kad, "type">>): Kad => ({
  type,
  key: none,
  record: undefined,
  closerPeers: [],
  providerPeers: [],
  ...fields
})
