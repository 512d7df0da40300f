/**
 * Which connections to close when there are too many. Pure.
 *
 * Established connections, those older than the grace, are closed first, until
 * the low mark is reached; but half as many as the low mark stay, so that a
 * flood of newcomers cannot push out everyone this node has known for a while.
 * What is then still above the high mark are newcomers, and of them so many are
 * closed that the high mark is kept. Protected peers are spared throughout.
 *
 * Within each group, the first to go is the one whose peer is worth least; then
 * inbound before outbound, since who comes to us is not of our choosing; then
 * the one with the fewest streams; then the newest.
 */

/** A connection, as far as the choice goes. */
export interface Trimmable {
  readonly id: number
  readonly direction: "inbound" | "outbound"
  readonly openedAt: number
  readonly streams: number
  /** The sum of its peer's tags. */
  readonly worth: number
  readonly protected: boolean
}

export interface Marks {
  readonly lowWater: number
  readonly highWater: number
  /** Milliseconds that a new connection is spared. */
  readonly graceMs: number
}

/** One that was opened later than now is not young: the clock was set back. */
const isYoung = (one: Trimmable, now: number, graceMs: number): boolean =>
  one.openedAt <= now && now - one.openedAt < graceMs

const leastFirst = (a: Trimmable, b: Trimmable): number =>
  a.worth - b.worth ||
  Number(a.direction === "outbound") - Number(b.direction === "outbound") ||
  a.streams - b.streams ||
  b.openedAt - a.openedAt ||
  b.id - a.id

/**
 * The connections to close, the first to go first. Nothing at or below the high
 * mark, unless `always`: then above the low one.
 */
export const chooseToTrim = <A extends Trimmable>(
  connections: ReadonlyArray<A>,
  now: number,
  { graceMs, highWater, lowWater }: Marks,
  always = false
): ReadonlyArray<A> => {
  const total = connections.length
  if (total <= (always ? lowWater : highWater)) return []
  const established = connections.filter((one) => !isYoung(one, now, graceMs))
  const spare = established.length - Math.ceil(lowWater / 2)
  const old = established.filter((one) => !one.protected).toSorted(leastFirst)
  const chosen = old.slice(0, Math.max(0, Math.min(total - lowWater, spare)))
  const over = total - chosen.length - highWater
  if (over <= 0) return chosen
  const young = connections.filter((one) => isYoung(one, now, graceMs) && !one.protected).toSorted(leastFirst)
  return [...chosen, ...young.slice(0, over)]
}

/** When a connection that is too many will have had its grace; `undefined` when there is nothing to wait for. */
export const nextChange = (connections: ReadonlyArray<Trimmable>, now: number, marks: Marks): number | undefined => {
  if (connections.length <= marks.highWater) return undefined
  const ages = connections
    .filter((one) => !one.protected && isYoung(one, now, marks.graceMs))
    .map((one) => one.openedAt + marks.graceMs)
  return ages.length === 0 ? undefined : Math.min(...ages)
}
