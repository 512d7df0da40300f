import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Candidates, defaults } from "../../../../src/layers/discovery/core/Candidates.ts"
import { peerOf, routed } from "../../../support/routing.ts"

const small = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))
const Operation = Schema.Union([
  Schema.Struct({ do: Schema.Literals(["give", "learn", "succeed", "fail"]), peer: small(12) }),
  Schema.Struct({ do: Schema.Literal("pass"), ms: small(200_000) })
])
const idOf = (n: number) => peerOf(n).toString()
const nobody = () => false
const limits = { ...defaults, learnt: 4, addresses: 2 }

describe("the order in which peers are tried", () => {
  it("is: who answered last, who was never tried, who failed least", () => {
    const list = new Candidates()
    for (const n of [1, 2, 3, 4]) list.give(routed(n))
    list.learn({ ...routed(5), seenAt: 100 })
    list.learn({ ...routed(6), seenAt: 200 })
    list.failed(idOf(3), 0, 0)
    list.failed(idOf(3), 0, 0)
    list.failed(idOf(1), 0, 0)
    const now = 3_600_000
    const order = list.choose(10, now, nobody).map(({ peer }) => peer.toString())
    assert.deepStrictEqual(order, [6, 5, 2, 4, 1, 3].map(idOf))
    assert.deepStrictEqual(
      list.choose(2, now, (id) => id === idOf(6)).map(({ peer }) => peer.toString()),
      [5, 2].map(idOf)
    )
    assert.lengthOf(list.choose(-1, now, nobody), 0)
  })

  it("leaves one that failed alone for longer each time, and not for ever when the clock is set back", () => {
    const list = new Candidates()
    list.give(routed(1))
    let now = 1_000_000_000
    let before = 0
    for (let i = 0; i < 20; i++) {
      list.failed(idOf(1), now, 0.999)
      assert.lengthOf(list.choose(1, now, nobody), 0)
      const wait = list.nextIn(now, nobody) ?? 0
      assert.isTrue(wait >= before && wait <= defaults.pauses.longestMs)
      before = wait
      now += wait
      assert.lengthOf(list.choose(1, now, nobody), 1)
    }
    assert.isAtLeast(before, defaults.pauses.longestMs / 2)
    list.failed(idOf(1), now, 0)
    assert.lengthOf(list.choose(1, 0, nobody), 1)
  })

  it("keeps the user's addresses, and adds those learnt to a peer that was learnt", () => {
    const list = new Candidates(limits)
    list.give(routed(1))
    list.learn({ ...routed(1, 9), seenAt: 5 })
    assert.deepStrictEqual(list.all()[0]?.addresses, routed(1).addresses)
    for (const port of [1, 2, 3]) list.learn({ ...routed(2, port), seenAt: 5 })
    assert.deepStrictEqual(list.all()[1]?.addresses, [...routed(2, 3).addresses, ...routed(2, 2).addresses])
    list.give(routed(2, 7))
    assert.deepStrictEqual(list.all()[1]?.addresses[0], routed(2, 7).addresses[0])
    assert.lengthOf(list.learnt(), 0)
  })

  it.prop(
    "whatever happens: none that is busy or failed a moment ago, bounded, and all in the end",
    [Schema.Array(Operation), small(4)],
    ([operations, count]) => {
      const list = new Candidates(limits)
      const given = new Set<string>()
      const pausedUntil = new Map<string, number>()
      let now = 10_000_000
      for (const operation of operations) {
        if (operation.do === "pass") {
          now += operation.ms
          continue
        }
        const id = idOf(operation.peer)
        if (operation.do === "give") {
          list.give(routed(operation.peer))
          given.add(id)
        } else if (operation.do === "learn") {
          list.learn({ ...routed(operation.peer), seenAt: now })
          pausedUntil.delete(id)
        } else if (operation.do === "succeed") {
          list.succeeded(id, now)
          pausedUntil.delete(id)
        } else if (list.has(id)) {
          list.failed(id, now, 0)
          // With this chance, a pause is half of the whole one.
          pausedUntil.set(id, now + defaults.pauses.firstMs / 2)
        }
        const busy = (one: string) => one === idOf(0)
        const chosen = list.choose(count, now, busy).map(({ peer }) => peer.toString())
        assert.isAtMost(chosen.length, count)
        assert.strictEqual(new Set(chosen).size, chosen.length)
        for (const one of chosen) assert.isTrue(one !== idOf(0) && (pausedUntil.get(one) ?? 0) <= now)
        assert.isAtMost(list.learnt().length, limits.learnt)
        for (const one of given) assert.isTrue(list.has(one), "the user's peers stay")
        const wait = list.nextIn(now, nobody)
        if (wait !== undefined) assert.isNotEmpty(list.choose(1, now + wait, nobody))
      }
      assert.lengthOf(list.choose(100, now + defaults.pauses.longestMs, nobody), list.all().length)
    }
  )

  it.prop(
    "of a list with one that is alive, finds it, having tried each of the others no more than once",
    [small(30), small(30)],
    ([size, at]) => {
      const list = new Candidates()
      for (let n = 0; n <= size; n++) list.give(routed(n))
      const alive = idOf(at % (size + 1))
      let tries = 0
      for (let found = false; !found;) {
        const chosen = list.choose(3, 0, nobody)
        assert.isNotEmpty(chosen, "it has given up")
        for (const { peer } of chosen) {
          tries++
          found ||= peer.toString() === alive
          if (peer.toString() !== alive) list.failed(peer.toString(), 0, 0.5)
        }
      }
      assert.isAtMost(tries, size + 1)
      list.succeeded(alive, 1)
      assert.strictEqual(list.choose(1, 10_000_000, nobody)[0]?.peer.toString(), alive)
    }
  )
})
