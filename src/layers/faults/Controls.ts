/** The table of faults. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { FaultControls, type FaultCounts, type FaultLink, type Faults } from "../../services/FaultControls.ts"

const all = "*"
const none: Faults = {}

/** Makes controls, with these faults for all hosts from the start. */
export const make = (initial?: Faults): FaultControls["Service"] => {
  const table = new Map<string, Faults>()
  const links = new Set<FaultLink>()
  const counts: Record<keyof FaultCounts, number> = { refused: 0, cut: 0, corrupted: 0, droppedDatagrams: 0 }
  if (initial !== undefined) table.set(all, initial)
  const of = (host: string): Faults => table.get(host) ?? table.get(all) ?? none
  const tell = (host: string | undefined): void => {
    for (const link of links) if (host === undefined || link.host === host) link.changed(of(link.host))
  }
  return FaultControls.of({
    set: (faults, host) =>
      Effect.sync(() => {
        table.set(host ?? all, faults)
        tell(host)
      }),
    clear: (host) =>
      Effect.sync(() => {
        if (host === undefined) table.clear()
        else table.delete(host)
        tell(host)
      }),
    cut: (host) =>
      Effect.sync(() => {
        const chosen = [...links].filter((link) => host === undefined || link.host === host)
        for (const link of chosen) link.cut()
        return chosen.length
      }),
    current: Effect.sync(() => new Map(table)),
    counts: Effect.sync(() => ({ ...counts })),
    of,
    attach: (link) => {
      links.add(link)
      return () => {
        links.delete(link)
      }
    },
    count: (what) => {
      counts[what]++
    }
  })
}

/**
 * Controls that start with no fault, or with these for all hosts.
 *
 * ```
 * const controls = yield* FaultControls
 * yield* controls.set({ delayMs: { min: 20, max: 200 }, corrupt: 0.001 })
 * yield* controls.set({ blackHole: true }, "192.0.2.7")
 * yield* controls.cut("192.0.2.8")
 * yield* controls.clear()
 * ```
 */
export const layer = (initial?: Faults): Layer.Layer<FaultControls> => Layer.sync(FaultControls, () => make(initial))
