/** What several routings have told, as one. Pure. */
import {
  AllRoutingsFailed,
  NotFound,
  type OneRoutingReason,
  type RoutedPeer,
  type RoutingError,
  type RoutingErrorReason,
  type RoutingProgress,
  RoutingTimeout,
  RoutingUnsupported
} from "../../../services/PeerRouting.ts"
import * as Bytes from "../../../data/Bytes.ts"
import { closest } from "./Closest.ts"

interface Failure {
  readonly router: string
  readonly reason: OneRoutingReason
}

/** Composites of composites are told of by what they are made of. */
const leaves = ({ reason, router }: RoutingError): ReadonlyArray<Failure> =>
  reason._tag === "AllRoutingsFailed" ? reason.failures : [{ router, reason }]

const askedIn = ({ reason }: Failure): number =>
  reason._tag === "NotFound" || reason._tag === "RoutingTimeout" ? reason.asked : 0

/**
 * One reason for the failures of all. When those who can answer agree (nobody
 * knew, or none had the time) it is that one; otherwise each is named.
 */
export const combine = (errors: ReadonlyArray<RoutingError>, deadlineMs: number): RoutingErrorReason => {
  const failures = errors.flatMap(leaves)
  const able = failures.filter(({ reason }) => reason._tag !== "RoutingUnsupported")
  const asked = able.reduce((sum, failure) => sum + askedIn(failure), 0)
  if (able.length === 0) {
    const detail = failures.map(({ reason, router }) => `${router}: ${"detail" in reason ? reason.detail : ""}`)
    return new RoutingUnsupported({ detail: detail.length === 0 ? "there is no routing to ask" : detail.join("; ") })
  }
  if (able.every(({ reason }) => reason._tag === "NotFound")) return new NotFound({ asked })
  if (able.every(({ reason }) => reason._tag === "RoutingTimeout")) {
    return new RoutingTimeout({ afterMs: deadlineMs, asked })
  }
  return new AllRoutingsFailed({ failures })
}

/** Keys, each once. */
export const distinct = (keys: Iterable<Uint8Array>): ReadonlyArray<Uint8Array> => {
  const byText = new Map<string, Uint8Array>()
  for (const key of keys) byText.set(Bytes.toHex(key), key)
  return [...byText.values()]
}

/** Tells which peers of a stream are new. It remembers so many, and lets no other through. */
export const makeOnce = (capacity: number): ((routed: RoutedPeer) => boolean) => {
  const seen = new Set<string>()
  return ({ peer }) => {
    const id = peer.toString()
    if (seen.has(id) || seen.size >= capacity) return false
    seen.add(id)
    return true
  }
}

/** Progress of one question that several routings are asked at once. */
export class MergedProgress {
  private readonly key: Uint8Array
  private readonly latest = new Map<number, RoutingProgress>()

  constructor(key: Uint8Array) {
    this.key = key
  }

  /** The step as one of them all. */
  add(index: number, step: RoutingProgress): RoutingProgress {
    this.latest.set(index, step)
    const all = [...this.latest.values()]
    const sum = (of: (progress: RoutingProgress) => number) => all.reduce((total, one) => total + of(one), 0)
    return {
      router: step.router,
      learnt: step.learnt,
      asked: sum(({ asked }) => asked),
      answered: sum(({ answered }) => answered),
      failed: sum(({ failed }) => failed),
      hops: Math.max(...all.map(({ hops }) => hops)),
      closest: closest(
        this.key,
        all.flatMap((one) => one.closest),
        Math.max(...all.map((one) => one.closest.length))
      )
    }
  }
}
