/** Pauses between tries that grow with each failure. Pure. */

export interface Pauses {
  readonly firstMs: number
  readonly longestMs: number
}

/**
 * How long to wait after this many failures in a row (1 or more): doubled each
 * time, up to the longest, and then between half of it and all of it, so that
 * those who lost the same peer do not all come back at once. `random` is in
 * `[0, 1)`.
 */
export const pauseMs = (failures: number, { firstMs, longestMs }: Pauses, random: number): number => {
  const whole = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 40))
  return whole / 2 + (whole / 2) * random
}
