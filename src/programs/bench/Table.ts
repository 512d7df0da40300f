/** Results: medians of the rounds, and how they are shown. */

export interface Statistics {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** One benchmark. A ratio is of the medians; above 1, ours is better. */
export interface Row {
  readonly name: string
  readonly unit: string
  readonly better: "higher" | "lower"
  readonly ours: Statistics
  readonly peers: Readonly<Record<string, Statistics>>
  readonly ratios: Readonly<Record<string, number>>
}

export const statistics = (values: ReadonlyArray<number>): Statistics => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? 0
  return {
    median: sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2,
    min: sorted[0] ?? 0,
    max: sorted.at(-1) ?? 0
  }
}

/** Three significant digits, and no exponent. */
const number = (value: number): string => {
  if (!Number.isFinite(value)) return "-"
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)))
}

const cell = ({ max, median, min }: Statistics): string => `${number(median)} (${number(min)}–${number(max)})`

/** A line a benchmark: the median, the least and the most of each side, and the ratios. */
export const render = (rows: ReadonlyArray<Row>, peers: ReadonlyArray<string>): string => {
  const lines = [
    ["", "unit", "better", "ours", ...peers.flatMap((peer) => [peer, `ours to ${peer}`])],
    ...rows.map(({ better, name, ours, peers: theirs, ratios, unit }) => [
      name,
      unit,
      better,
      cell(ours),
      ...peers.flatMap((peer) => {
        const statistics = theirs[peer]
        return statistics === undefined ? ["-", "-"] : [cell(statistics), `${number(ratios[peer] ?? Number.NaN)}x`]
      })
    ])
  ]
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map((line) =>
      line
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}
