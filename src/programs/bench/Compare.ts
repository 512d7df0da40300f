/** Whether a run is worse than an earlier one: by ratios, which another machine or another day changes little. */
import type { Report, Row } from "./Report.ts"
import { uncertainty } from "./Statistics.ts"

/** Less than this is not told from chance, whatever the spread. */
const leastTolerance = 0.1
/** More than this is a regression, whatever the spread. */
const mostTolerance = 0.5

export interface Change {
  readonly name: string
  readonly peer: string
  readonly before: number
  readonly now: number
  /** How much smaller the ratio may be, as a share. */
  readonly tolerance: number
  readonly regression: boolean
}

/** A ratio has the uncertainty of the two medians that it is made of; a change of ratios, that of four. */
export const toleranceOf = (before: Row, now: Row, peer: string): number => {
  const medians = [before.ours, now.ours, before.peers[peer], now.peers[peer]]
  const squares = medians.map((median) => (median === undefined ? 0 : uncertainty(median) ** 2))
  return Math.min(mostTolerance, Math.max(leastTolerance, Math.sqrt(squares.reduce((sum, square) => sum + square, 0))))
}

/** Every ratio that both have. */
export const compare = (before: Report, now: Report): ReadonlyArray<Change> =>
  now.rows.flatMap((row) => {
    const old = before.rows.find(({ name }) => name === row.name)
    if (old === undefined) return []
    return Object.entries(row.ratios).flatMap(([peer, ratio]) => {
      const was = old.ratios[peer]
      if (was === undefined) return []
      const tolerance = toleranceOf(old, row, peer)
      return [{ name: row.name, peer, before: was, now: ratio, tolerance, regression: ratio < was * (1 - tolerance) }]
    })
  })

/** What was asked for, is in the earlier report, and could not be measured now. */
export const lost = (before: Report, now: Report, asked: ReadonlyArray<string>): ReadonlyArray<string> =>
  before.rows
    .map(({ name }) => name)
    .filter((name) => asked.includes(name) && !now.rows.some((row) => row.name === name))

const percent = (share: number): string => `${Math.round(share * 100)} %`

/** For people: the regressions, or that there are none. */
export const describe = (changes: ReadonlyArray<Change>, missing: ReadonlyArray<string>, file: string): string => {
  const worse = changes.filter(({ regression }) => regression)
  if (worse.length === 0 && missing.length === 0) {
    return changes.length === 0
      ? `Nothing to compare: ${file} has none of these rows.`
      : `No regression: ${changes.length} ratios compared with ${file}.`
  }
  return [
    `REGRESSION compared with ${file}:`,
    ...missing.map((name) => `  ${name}: could not be measured`),
    ...worse.map(
      ({ before, name, now, peer, tolerance }) =>
        `  ${name}: ${now.toFixed(2)} times ${peer}, was ${before.toFixed(2)} (${percent(1 - now / before)} less, tolerance ${percent(tolerance)})`
    )
  ].join("\n")
}
