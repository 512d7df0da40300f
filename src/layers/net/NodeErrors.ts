/** The system's error codes as the typed reasons of Net and ByteStream. */
import { ConnectionLost, ResetByPeer, type StreamErrorReason } from "../../services/ByteStream.ts"
import {
  AddressInUse,
  AddressUnavailable,
  ConnectionRefused,
  ConnectTimeout,
  LookupFailed,
  NameNotFound,
  type NetErrorReason,
  SocketClosed,
  SystemRefused,
  Unreachable
} from "../../services/Net.ts"

/** The code of an error that Node gave, such as `ECONNREFUSED`. */
export const codeOf = (error: unknown): string => {
  if (typeof error === "object" && error !== null && "code" in error && typeof error.code === "string")
    return error.code
  return error instanceof Error ? error.name : "UNKNOWN"
}

/** Why a socket could not be connected, bound or used. */
export const netReason = (code: string): NetErrorReason => {
  switch (code) {
    case "ECONNREFUSED":
    // The other side accepted and reset before the handshake was seen as complete.
    case "ECONNRESET":
      return new ConnectionRefused()
    case "ENETUNREACH":
    case "EHOSTUNREACH":
    case "ENETDOWN":
    case "EHOSTDOWN":
    case "EAFNOSUPPORT":
      return new Unreachable({ code })
    case "ETIMEDOUT":
      return new ConnectTimeout()
    case "EADDRINUSE":
      return new AddressInUse()
    case "EADDRNOTAVAIL":
    case "EACCES":
      return new AddressUnavailable({ code })
    case "ERR_SERVER_NOT_RUNNING":
    case "ERR_SOCKET_DGRAM_NOT_RUNNING":
    case "ERR_SOCKET_CLOSED":
      return new SocketClosed()
    default:
      return new SystemRefused({ code })
  }
}

/** Why a connected socket failed. */
export const streamReason = (code: string): StreamErrorReason => {
  switch (code) {
    case "ECONNRESET":
    // Written after the other side had gone: its reset was not read yet.
    case "EPIPE":
      return new ResetByPeer()
    default:
      return new ConnectionLost({ detail: code })
  }
}

/** Why a name could not be looked up. Codes of getaddrinfo and of c-ares. */
export const lookupReason = (name: string, code: string): NetErrorReason => {
  switch (code) {
    case "ENOTFOUND":
    case "ENODATA":
    case "EAI_NONAME":
    case "EAI_NODATA":
      return new NameNotFound({ name })
    default:
      return new LookupFailed({ name, code })
  }
}
