/** Drives a query in a time of its own against peers that answer, fail, are slow, or say nothing. */
import { assert } from "@effect/vitest"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import * as Query from "../../../../src/layers/kad/core/Query.ts"

/** What a peer does when it is asked. `undefined`: it never says anything. */
export type Behaviour = { readonly afterMs: number; readonly closer: ReadonlyArray<Key.Contact> | "fails" } | undefined

export interface Run {
  readonly query: Query.Query
  readonly finished: Query.Finished
  readonly asked: ReadonlyArray<Key.Contact>
  readonly learnt: ReadonlyArray<Key.Contact>
  readonly mostInFlight: number
  readonly endedAt: number
}

/** A lookup of which everybody knows everybody: it finds what there is. */
export const among = (target: Key.Key, all: ReadonlyArray<Key.Contact>, k: number): Query.Finished =>
  run({ target, self: target, seeds: Key.closest(target, all, k), k, alpha: k }, () => ({ afterMs: 1, closer: [] }))
    .finished

export const run = (
  options: Query.Options,
  behaviour: (peer: Key.Contact) => Behaviour,
  stopWhen: (learnt: ReadonlyArray<Key.Contact>, query: Query.Query, now: number) => boolean = () => false
): Run => {
  const query = new Query.Query(options)
  const asked: Array<Key.Contact> = []
  const learnt: Array<Key.Contact> = []
  const events: Array<{ readonly at: number; readonly peer: Key.Contact; readonly behaviour: NonNullable<Behaviour> }> =
    []
  let now = 0
  let mostInFlight = 0
  for (let steps = 0; steps < 100_000; steps++) {
    const { ask, wakeAt } = query.next(now)
    for (const peer of ask) {
      asked.push(peer)
      const does = behaviour(peer)
      if (does !== undefined) events.push({ at: now + does.afterMs, peer, behaviour: does })
    }
    mostInFlight = Math.max(mostInFlight, query.progress().inFlight)
    if (query.reason !== undefined) {
      const finished = Query.Finished.of(query) ?? assert.fail("ended and not finished")
      return { query, finished, asked, learnt, mostInFlight, endedAt: now }
    }
    events.sort((a, b) => a.at - b.at)
    const [event] = events
    assert.isDefined(wakeAt, "a query that goes on has a time to wake")
    assert.isTrue(event !== undefined || wakeAt > now || ask.length > 0, "it waits for nothing")
    if (event === undefined || (wakeAt ?? 0) < event.at) {
      now = Math.max(now, wakeAt ?? now)
      continue
    }
    events.shift()
    now = event.at
    if (event.behaviour.closer === "fails") query.failed(event.peer)
    else learnt.push(...query.answered(event.peer, event.behaviour.closer, now))
    if (stopWhen(learnt, query, now)) query.stop()
  }
  assert.fail("the query does not end")
}
