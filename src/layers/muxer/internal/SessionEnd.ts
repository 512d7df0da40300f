/** Why a session ended. */
import {
  KeepAliveTimeout,
  MuxerClosed,
  type MuxerErrorReason,
  MuxerViolation,
  RemoteGoAway,
  SendTimeout
} from "../../../services/StreamMuxer.ts"
import { describeLimit, type LimitExceeded } from "../../../services/ResourceManager.ts"

export type SessionEnd =
  | { readonly _tag: "Violation"; readonly detail: string }
  | { readonly _tag: "RemoteGoAway"; readonly code: number }
  | { readonly _tag: "KeepAliveTimeout"; readonly afterMs: number }
  | { readonly _tag: "SendTimeout"; readonly afterMs: number }
  | { readonly _tag: "Limit"; readonly refusal: LimitExceeded }
  | { readonly _tag: "Closed"; readonly detail: string }

/** In words, for the error of the streams that were still open. */
export const describe = (protocol: string, end: SessionEnd): string => {
  switch (end._tag) {
    case "Violation":
      return `the remote broke ${protocol}: ${end.detail}`
    case "RemoteGoAway":
      return `the remote said go-away with code ${end.code}`
    case "KeepAliveTimeout":
      return `the remote was silent for ${end.afterMs} ms after a keep-alive`
    case "SendTimeout":
      return `the remote took nothing of what was sent for ${end.afterMs} ms`
    case "Limit":
      return describeLimit(end.refusal)
    case "Closed":
      return end.detail
  }
}

/** As it is told to the users of the connection. */
export const reasonOf = (end: SessionEnd): MuxerErrorReason => {
  switch (end._tag) {
    case "Violation":
      return new MuxerViolation({ detail: end.detail })
    case "RemoteGoAway":
      return new RemoteGoAway({ code: end.code })
    case "KeepAliveTimeout":
      return new KeepAliveTimeout({ afterMs: end.afterMs })
    case "SendTimeout":
      return new SendTimeout({ afterMs: end.afterMs })
    case "Limit":
      return end.refusal
    case "Closed":
      return new MuxerClosed({ detail: end.detail })
  }
}
