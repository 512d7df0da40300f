/** Why a session ended. */
export type SessionEnd =
  | { readonly _tag: "Violation"; readonly detail: string }
  | { readonly _tag: "RemoteGoAway"; readonly code: number }
  | { readonly _tag: "KeepAliveTimeout"; readonly afterMs: number }
  | { readonly _tag: "Closed"; readonly detail: string }

/** In words, for the error of the streams that were still open. */
export const describe = (end: SessionEnd): string => {
  switch (end._tag) {
    case "Violation":
      return `the remote broke yamux: ${end.detail}`
    case "RemoteGoAway":
      return `the remote said go-away with code ${end.code}`
    case "KeepAliveTimeout":
      return `the remote was silent for ${end.afterMs} ms after a keep-alive`
    case "Closed":
      return end.detail
  }
}
