/**
 * Whether this node answers others (server) or only asks (client), when that is
 * left to itself: on the public network it serves once it is publicly reachable,
 * and for good reason only: a server that nobody reaches costs each lookup of
 * others a wait. On a local network it serves from the start.
 *
 * It takes time until a change of reachability is believed, longer for the
 * worse: what was seen in a moment of bad luck does not make a server leave.
 */

type Mode = "client" | "server"

/** What the program asked for. */
export type Wanted = Mode | "auto"

/** What is known of how this node is reached. */
export interface Facts {
  /** Whether others of the public network can reach it; see Reachability.ts. */
  readonly reachability: "public" | "private" | "unknown"
}

export interface Options {
  readonly wanted: Wanted
  readonly network: "wan" | "lan"
  /** How long it must look reachable before it serves. Default 30 seconds. */
  readonly upAfterMs?: number | undefined
  /** How long it must look unreachable before it serves no more. Default 10 minutes. */
  readonly downAfterMs?: number | undefined
}

/** The mode, and since when the facts speak for another. */
export interface State {
  readonly mode: Mode
  readonly otherSince: number | undefined
}

export const start = ({ network, wanted }: Options): State => ({
  mode: wanted === "auto" ? (network === "lan" ? "server" : "client") : wanted,
  otherSince: undefined
})

/** The mode that the facts speak for; `undefined` when they speak for none. */
const evidence = ({ reachability }: Facts): Mode | undefined => {
  if (reachability === "unknown") return undefined
  return reachability === "public" ? "server" : "client"
}

/** The state at the time `now`. Call it when the facts have changed, and at {@link changeAt}. */
export const next = (state: State, facts: Facts, now: number, options: Options): State => {
  if (options.wanted !== "auto" || options.network === "lan") return start(options)
  const towards = evidence(facts)
  // Without evidence nothing changes: a server that is cut off is still where it was.
  if (towards === undefined || towards === state.mode) {
    return state.otherSince === undefined ? state : { mode: state.mode, otherSince: undefined }
  }
  const since = state.otherSince ?? now
  return now - since >= patience(towards, options)
    ? { mode: towards, otherSince: undefined }
    : { ...state, otherSince: since }
}

/** When the mode will change if the facts stay as they are; `undefined` when it will not. */
export const changeAt = ({ mode, otherSince }: State, options: Options): number | undefined =>
  otherSince === undefined ? undefined : otherSince + patience(mode === "client" ? "server" : "client", options)

const patience = (towards: Mode, { downAfterMs, upAfterMs }: Options): number =>
  towards === "server" ? (upAfterMs ?? 30_000) : (downAfterMs ?? 600_000)
