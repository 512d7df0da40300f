/**
 * How long to wait for an answer before others are asked in its stead: a
 * multiple of the median of the answers so far, within bounds. Before there are
 * enough of them, a fixed time.
 */
export interface PatienceOptions {
  /** Before there are enough answers. Default 2,000. */
  readonly initialMs?: number | undefined
  /** Default 300. */
  readonly minMs?: number | undefined
  /** Default 5,000. */
  readonly maxMs?: number | undefined
  /** Times the median. Default 3. */
  readonly factor?: number | undefined
  /** After this, a request is given up. Default 10,000. */
  readonly giveUpMs?: number | undefined
}

/** When nobody else is left to ask, those that are late are waited for this many times as long, and at least so long. */
const lastFactor = 4
const lastMinMs = 2_000

/** Fewer answers than this say little: the first to come are the fastest. */
const enough = 3

export class Patience {
  readonly giveUpMs: number
  readonly #initialMs: number
  readonly #minMs: number
  readonly #maxMs: number
  readonly #factor: number
  /** Sorted. */
  readonly #times: Array<number> = []

  constructor(options: PatienceOptions = {}) {
    this.giveUpMs = options.giveUpMs ?? 10_000
    this.#initialMs = options.initialMs ?? 2_000
    this.#minMs = options.minMs ?? 300
    this.#maxMs = options.maxMs ?? 5_000
    this.#factor = options.factor ?? 3
  }

  /** An answer took so long. */
  add(ms: number): void {
    const at = this.#times.findIndex((one) => one > ms)
    this.#times.splice(at === -1 ? this.#times.length : at, 0, ms)
  }

  /** How long to wait now. */
  get ms(): number {
    const median = this.#times.length < enough ? undefined : this.#times[this.#times.length >>> 1]
    if (median === undefined) return Math.min(this.#initialMs, this.giveUpMs)
    return Math.min(this.giveUpMs, this.#maxMs, Math.max(this.#minMs, median * this.#factor))
  }

  /** How long to wait for one that is late when nobody else is left to ask. */
  get lastMs(): number {
    return Math.min(this.giveUpMs, Math.max(lastMinMs, this.ms * lastFactor))
  }
}
