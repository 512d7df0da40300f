/**
 * Questions to several DHTs at once, the public and the local one, and their
 * answers as one: what either knows is known, and only when neither does, it is
 * said why.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import {
  NobodyToAsk,
  NotFound,
  type RoutedPeer,
  type RoutingErrorReason,
  type RoutingProgress,
  RoutingTimeout
} from "../../services/PeerRouting.ts"
import * as Key from "./core/Key.ts"
import { router } from "./Questions.ts"

type Asking<A> = Effect.Effect<A, RoutingErrorReason>

/** Why none of them knew: the one that says most. */
export const combine = (reasons: ReadonlyArray<RoutingErrorReason>): RoutingErrorReason => {
  let asked = 0
  let afterMs: number | undefined
  let notFound = false
  for (const reason of reasons) {
    if (reason._tag === "NotFound" || reason._tag === "RoutingTimeout") asked += reason.asked
    if (reason._tag === "NotFound") notFound = true
    if (reason._tag === "RoutingTimeout") afterMs = Math.max(afterMs ?? 0, reason.afterMs)
  }
  if (afterMs !== undefined) return new RoutingTimeout({ afterMs, asked })
  if (notFound) return new NotFound({ asked })
  const [first, ...others] = reasons
  if (first === undefined) return new NobodyToAsk({ detail: "this node is in no DHT" })
  const failed = [first, ...others].find(({ _tag }) => _tag !== "NobodyToAsk")
  if (failed !== undefined) return failed
  const details = reasons.flatMap((reason) => (reason._tag === "NobodyToAsk" ? [reason.detail] : []))
  return new NobodyToAsk({ detail: [...new Set(details)].join("; ") })
}

/** The first answer; the other questions end with it. */
export const first = <A>(questions: ReadonlyArray<Asking<A>>): Asking<A> =>
  Effect.suspend(() => {
    const reasons: Array<RoutingErrorReason> = []
    const all = questions.map((question) =>
      Effect.tapError(question, (reason) => Effect.sync(() => void reasons.push(reason)))
    )
    return all.length === 0 ? Effect.fail(combine([])) : Effect.mapError(Effect.raceAll(all), () => combine(reasons))
  })

/** All answers; fails when none of them succeeds. */
export const all = <A>(questions: ReadonlyArray<Asking<A>>): Asking<ReadonlyArray<A>> =>
  Effect.gen(function* () {
    const results = yield* Effect.forEach(questions, Effect.result, { concurrency: "unbounded" })
    const answers = results.filter(Result.isSuccess).map(({ success }) => success)
    if (answers.length > 0) return answers
    return yield* Effect.fail(combine(results.filter(Result.isFailure).map(({ failure }) => failure)))
  })

/**
 * What all of them find, as it is found. It fails at the end if none of them
 * came to its end, or one of them ran out of time.
 */
export const streamed = <A>(
  questions: (emit: (found: A) => void) => ReadonlyArray<Asking<unknown>>
): Stream.Stream<A, RoutingErrorReason> =>
  Stream.callback<A, RoutingErrorReason>((queue) =>
    Effect.gen(function* () {
      const asking = questions((found) => void Queue.offerUnsafe(queue, found))
      const results = yield* Effect.forEach(asking, Effect.result, { concurrency: "unbounded" })
      const reasons = results.filter(Result.isFailure).map(({ failure }) => failure)
      const late = reasons.some(({ _tag }) => _tag === "RoutingTimeout")
      if (late || reasons.length === results.length) Queue.failCauseUnsafe(queue, Cause.fail(combine(reasons)))
      else Queue.endUnsafe(queue)
    })
  )

/** Steps of several lookups of one key as steps of one. */
export const joinProgress = (
  key: Uint8Array,
  k: number
): ((realm: string, progress: RoutingProgress) => RoutingProgress) => {
  const target = Key.fromBytes(key)
  const latest = new Map<string, RoutingProgress>()
  return (realm, progress) => {
    latest.set(realm, progress)
    if (latest.size === 1) return progress
    const steps = [...latest.values()]
    const sum = (of: (step: RoutingProgress) => number) => steps.reduce((total, step) => total + of(step), 0)
    const peers = new Map<string, RoutedPeer>()
    for (const one of steps.flatMap(({ closest }) => closest)) {
      const known = peers.get(one.peer.toString())
      peers.set(one.peer.toString(), known === undefined ? one : joinAddresses(known, one))
    }
    const placed = [...peers.values()].map((peer) => ({ peer, key: Key.fromBytes(peer.peer.bytes) }))
    return {
      router,
      learnt: progress.learnt,
      asked: sum(({ asked }) => asked),
      answered: sum(({ answered }) => answered),
      failed: sum(({ failed }) => failed),
      hops: Math.max(...steps.map(({ hops }) => hops)),
      closest: Key.closest(target, placed, k).map(({ peer }) => peer)
    }
  }
}

const joinAddresses = (a: RoutedPeer, b: RoutedPeer): RoutedPeer => ({
  peer: a.peer,
  addresses: [...new Map([...a.addresses, ...b.addresses].map((address) => [address.toString(), address])).values()]
})
