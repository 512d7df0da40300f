/**
 * Whether others of the public network can reach this node, by who came from
 * there of his own accord, while nobody dials back on request (AutoNAT).
 *
 * - What peers say they see is no proof: behind a NAT they see the address that
 *   it maps for connections that left, and most NATs let nobody else in there.
 * - Who comes in without having been called is proof: strangers of several
 *   networks who connected got through. One who was called within the hour is no
 *   stranger: a NAT lets back in who was sent to.
 * - A node with a public address on an interface of its own is taken for
 *   reachable, since a client is in no tables and nobody would come to find out.
 *   If it then knows so many networks that somebody must have come, and nobody
 *   comes for long, a firewall is in front of it; it is tried again hours later.
 * - A node that has met nobody outside for an hour is cut off, and nothing is known.
 *
 * Pure: it knows no clock and no connections.
 */
export interface Options {
  /** Networks from which strangers must have come. Default 3. */
  readonly minNetworks?: number | undefined
  /** How long it counts that somebody came or was called. Default one hour. */
  readonly forgetAfterMs?: number | undefined
  /** How long a server waits for the first stranger. Default 30 minutes. */
  readonly trialMs?: number | undefined
  /** Networks that it must have called meanwhile, so that silence says something. Default 64. */
  readonly trialNetworks?: number | undefined
  /** After a trial in which nobody came, until the next. Default 6 hours. */
  readonly retryAfterMs?: number | undefined
}

/** Of this node, now. */
export interface Own {
  /** It listens on a public address of an interface of its own. */
  readonly hasPublicAddress: boolean
  /** It answers others, and so is in their tables. */
  readonly serves: boolean
}

/** Networks that are remembered, each way; the one not met for longest is forgotten. */
const maxNetworks = 256

const note = (times: Map<string, number>, network: string, now: number): void => {
  times.delete(network)
  times.set(network, now)
  if (times.size > maxNetworks) {
    const [oldest] = times.keys()
    if (oldest !== undefined) times.delete(oldest)
  }
}

export class Reachability {
  readonly #minNetworks: number
  readonly #forgetAfterMs: number
  readonly #trialMs: number
  readonly #trialNetworks: number
  readonly #retryAfterMs: number
  /** When strangers last came, and peers were last called, by network. */
  readonly #came = new Map<string, number>()
  readonly #called = new Map<string, number>()
  /** Since when it has served and nobody came. */
  #waitsSince: number | undefined
  #failedAt: number | undefined

  constructor(options: Options = {}) {
    this.#minNetworks = options.minNetworks ?? 3
    this.#forgetAfterMs = options.forgetAfterMs ?? 3_600_000
    this.#trialMs = options.trialMs ?? 1_800_000
    this.#trialNetworks = options.trialNetworks ?? 64
    this.#retryAfterMs = options.retryAfterMs ?? 21_600_000
  }

  /** This node has dialled a peer there, or is connected since it did. */
  called(network: string, now: number): void {
    note(this.#called, network, now)
  }

  /** A peer there has dialled this node. */
  came(network: string, now: number): void {
    const called = this.#called.get(network)
    if (called !== undefined && now - called < this.#forgetAfterMs) return
    note(this.#came, network, now)
    this.#failedAt = undefined
  }

  /** A connection that came from there is open still: if it was a stranger's, it goes on to count. */
  stayed(network: string, now: number): void {
    if (this.#came.has(network)) note(this.#came, network, now)
  }

  assess({ hasPublicAddress, serves }: Own, now: number): "public" | "private" | "unknown" {
    this.#forget(this.#came, now)
    this.#forget(this.#called, now)
    if (this.#came.size > 0 || !serves) this.#waitsSince = undefined
    else this.#waitsSince ??= now
    if (this.#came.size >= this.#minNetworks) return "public"
    if (this.#came.size === 0 && this.#called.size === 0) return hasPublicAddress ? "public" : "unknown"
    if (!hasPublicAddress) return "private"
    const waited = this.#waitsSince === undefined ? 0 : now - this.#waitsSince
    if (waited >= this.#trialMs && this.#called.size >= this.#trialNetworks) this.#failedAt ??= now
    if (this.#failedAt !== undefined && now - this.#failedAt >= this.#retryAfterMs) {
      this.#failedAt = undefined
      this.#waitsSince = undefined
    }
    return this.#failedAt === undefined ? "public" : "private"
  }

  #forget(times: Map<string, number>, now: number): void {
    for (const [network, at] of times) if (now - at >= this.#forgetAfterMs) times.delete(network)
  }
}
