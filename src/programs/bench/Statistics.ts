/** Medians of rounds, and ratios of them. */

export interface Statistics {
  readonly median: number
  readonly min: number
  readonly max: number
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

/** Nothing may cost nothing: a ratio stays a number that JSON can hold. */
const least = 1e-3

/** Above 1, ours is better, whichever way is better. */
export const ratioOf = (better: "higher" | "lower", ours: number, theirs: number): number => {
  const [above, below] = better === "higher" ? [ours, theirs] : [theirs, ours]
  return Math.max(above, least) / Math.max(below, least)
}

/** How far the median may be from the truth, as a share of it: half of the range of the rounds. */
export const uncertainty = ({ max, median, min }: Statistics): number =>
  median === 0 ? 0 : Math.abs((max - min) / median / 2)
