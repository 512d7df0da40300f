/** Where a run is, on the screen: a line that is written over on a terminal, a line now and then elsewhere. */
import process from "node:process"
import type { Progress } from "../../layers/simulation/Simulate.ts"

/** Between two lines, in milliseconds. */
const onTerminalMs = 200
const elsewhereMs = 5000
/** The same where a stage begins, which may be with something that takes long and says nothing meanwhile. */
const stagesMs = 200

export const minutes = (ms: number): string => `${(ms / 60_000).toFixed(1)} min`

/** Text for whoever watches; results go to standard output. */
export const say = (text: string): void => {
  process.stderr.write(`${text}\n`)
}

const clear = process.stderr.isTTY ? "\r\u001b[2K" : ""

export interface Shown {
  readonly show: (progress: Progress) => void
  /** Takes the line away. */
  readonly clear: () => void
  readonly wallMs: () => number
}

/** For one run. `label` says which, where there are several. */
export const make = (durationMs: number, label = ""): Shown => {
  const began = performance.now()
  let shown = began
  let what = ""
  return {
    show: ({ events, faultsAlive, stage, virtualMs }) => {
      const now = performance.now()
      const pauseMs = clear !== "" ? onTerminalMs : stage.what === what ? elsewhereMs : stagesMs
      if (now - shown < pauseMs) return
      shown = now
      what = stage.what
      const done = stage.of === undefined ? "" : `, ${stage.done ?? 0} of ${stage.of}`
      const time = virtualMs > durationMs ? minutes(virtualMs) : `${minutes(virtualMs)} of ${minutes(durationMs)}`
      const rate = Math.round(events / Math.max(0.001, (now - began) / 1000))
      const faults = faultsAlive === 0 ? "" : `, ${faultsAlive} faults alive`
      const line = `${label}${what}${done}: ${time} virtual, ${events} events, ${rate} a second${faults}`
      process.stderr.write(clear === "" ? `${line}\n` : `${clear}${line}`)
    },
    clear: () => void process.stderr.write(clear),
    wallMs: () => performance.now() - began
  }
}
