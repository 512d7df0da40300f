/**
 * What a peer says of itself. `proto/identify.proto`.
 *
 * https://github.com/libp2p/specs/blob/master/identify/README.md
 */
import * as Result from "effect/Result"
import { type DecodeError, Reader, Writer } from "../Protobuf.ts"

export interface Identify {
  /** The public key in its protobuf encoding; see `Keys.decodePublicKey`. */
  readonly publicKey?: Uint8Array | undefined
  /** Multiaddrs in binary; see `Multiaddr.fromBytes`. */
  readonly listenAddrs: ReadonlyArray<Uint8Array>
  readonly protocols: ReadonlyArray<string>
  /** The multiaddr, in binary, that the receiver of the message has for its sender. */
  readonly observedAddr?: Uint8Array | undefined
  readonly protocolVersion?: string | undefined
  readonly agentVersion?: string | undefined
  /** An envelope that holds a peer record; see `Envelope` and `PeerRecord`. */
  readonly signedPeerRecord?: Uint8Array | undefined
}

/** The largest message read, in bytes. Others send at most 8 KiB in one message. */
export const maxSize = 16_384

export const encode = (message: Identify): Uint8Array => {
  const writer = new Writer()
  if (message.publicKey !== undefined) writer.bytes(1, message.publicKey)
  for (const address of message.listenAddrs) writer.bytes(2, address)
  for (const protocol of message.protocols) writer.string(3, protocol)
  if (message.observedAddr !== undefined) writer.bytes(4, message.observedAddr)
  if (message.protocolVersion !== undefined) writer.string(5, message.protocolVersion)
  if (message.agentVersion !== undefined) writer.string(6, message.agentVersion)
  if (message.signedPeerRecord !== undefined) writer.bytes(8, message.signedPeerRecord)
  return writer.finish()
}

/**
 * Reads a message of at most 16 KiB. Unknown fields are skipped. A sender may
 * split one over several messages: joined end to end, they read as one.
 */
export const decode = (bytes: Uint8Array): Result.Result<Identify, DecodeError> => {
  const fields = new Reader("Identify", bytes, maxSize)
  let publicKey: Uint8Array | undefined
  const listenAddrs: Array<Uint8Array> = []
  const protocols: Array<string> = []
  let observedAddr: Uint8Array | undefined
  let protocolVersion: string | undefined
  let agentVersion: string | undefined
  let signedPeerRecord: Uint8Array | undefined
  while (fields.next()) {
    switch (fields.number) {
      case 1:
        publicKey = fields.bytes()
        break
      case 2:
        listenAddrs.push(fields.bytes())
        break
      case 3:
        protocols.push(fields.string())
        break
      case 4:
        observedAddr = fields.bytes()
        break
      case 5:
        protocolVersion = fields.string()
        break
      case 6:
        agentVersion = fields.string()
        break
      case 8:
        signedPeerRecord = fields.bytes()
    }
  }
  return fields.error === undefined
    ? Result.succeed({
        publicKey,
        listenAddrs,
        protocols,
        observedAddr,
        protocolVersion,
        agentVersion,
        signedPeerRecord
      })
    : Result.fail(fields.error)
}
