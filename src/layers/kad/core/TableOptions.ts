/** What can be chosen of the routing table. */
import * as Diversity from "./Diversity.ts"

export interface Options {
  /** Peers of a bucket. Default 20. */
  readonly k?: number | undefined
  /** Peers that wait for a place in a bucket. Default 10. */
  readonly maxReplacements?: number | undefined
  /** Peers that take longer to answer are not added. Default 10,000. */
  readonly maxLatencyMs?: number | undefined
  /** Who was not heard of for so long is to be checked. Default 10 minutes. */
  readonly checkAfterMs?: number | undefined
  /** Who was of no use for so long gives way to a replacement, even if it answers. Default 1 hour. */
  readonly uselessAfterMs?: number | undefined
  /** A check that nobody reported on is forgotten after this. Default 1 minute. */
  readonly checkTimeoutMs?: number | undefined
  /** When nobody was heard of for so long, this node may be cut off. Default 1 minute. */
  readonly silentAfterMs?: number | undefined
  /** Who was heard of within this time stays while this node may be cut off. Default 30 minutes. */
  readonly keepSilentMs?: number | undefined
  /** A bucket is to be refreshed so often. Default 10 minutes. */
  readonly refreshEveryMs?: number | undefined
  readonly diversity?: Diversity.Limits | undefined
}

/** The options with what was not chosen. */
export type Settings = { readonly [Name in keyof Options]-?: NonNullable<Options[Name]> }

export const settings = (options: Options): Settings => ({
  k: Math.max(1, options.k ?? 20),
  maxReplacements: options.maxReplacements ?? 10,
  maxLatencyMs: options.maxLatencyMs ?? 10_000,
  checkAfterMs: options.checkAfterMs ?? 600_000,
  uselessAfterMs: options.uselessAfterMs ?? 3_600_000,
  checkTimeoutMs: options.checkTimeoutMs ?? 60_000,
  silentAfterMs: options.silentAfterMs ?? 60_000,
  keepSilentMs: options.keepSilentMs ?? 1_800_000,
  refreshEveryMs: options.refreshEveryMs ?? 600_000,
  diversity: options.diversity ?? Diversity.defaults
})
