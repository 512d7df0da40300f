/** Machine: how large the machine is, for limits that scale with it. */
import * as Context from "effect/Context"

export interface Machine {
  /** Memory that this process may use, in bytes. */
  readonly memory: number
  /** Files and sockets that it may have open. */
  readonly files: number
}

/** A small machine, unless a layer says otherwise: simulations must not depend on where they run. */
export const Machine: Context.Reference<Machine> = Context.Reference<Machine>("effect-libp2p/Machine", {
  defaultValue: () => ({ memory: 2 * 1024 ** 3, files: 4096 })
})
