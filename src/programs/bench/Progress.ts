/** What is going on and how long it goes on, on stderr. */
import process from "node:process"

const clock = (seconds: number): string =>
  `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`

/** Knows how long each part takes on an idle machine, and learns how slow this one is. */
export class Progress {
  private readonly estimates: ReadonlyArray<number>
  private readonly started = performance.now()
  private current = 0
  private begun = 0

  /** The parts' lengths, in seconds. */
  constructor(estimates: ReadonlyArray<number>) {
    this.estimates = estimates
  }

  /** The part of that number begins. */
  begin(index: number): void {
    this.current = index
    this.begun = this.elapsed()
  }

  /** Seconds that are left, when the parts before this one took `before`, and this one has taken `within` so far. */
  static left(estimates: ReadonlyArray<number>, current: number, before: number, within: number): number {
    const sum = (parts: ReadonlyArray<number>) => parts.reduce((total, part) => total + part, 0)
    const done = sum(estimates.slice(0, current))
    // The first seconds say little.
    const slowness = done > 5 ? Math.max(0.5, before / done) : 1
    const here = Math.max(0, (estimates[current] ?? 0) * slowness - within)
    return here + sum(estimates.slice(current + 1)) * slowness
  }

  readonly say = (text: string): void => {
    const left = Progress.left(this.estimates, this.current, this.begun, this.elapsed() - this.begun)
    process.stderr.write(`[${this.current + 1}/${this.estimates.length}, about ${clock(left)} left] ${text}\n`)
  }

  private elapsed(): number {
    return (performance.now() - this.started) / 1000
  }
}
