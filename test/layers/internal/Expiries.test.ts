import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Expiries } from "../../../src/layers/internal/Expiries.ts"

describe("expiries", () => {
  it.effect.prop(
    "are taken in the order of time, when they are due",
    [Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 }))), Schema.Boolean],
    ([times, replaced]) =>
      Effect.sync(() => {
        const expiries = new Expiries<{ readonly expiresAt: number }>()
        for (const expiresAt of times) expiries.add({ expiresAt })
        expiries.add({ expiresAt: Number.POSITIVE_INFINITY })
        if (replaced) expiries.replace(times.map((expiresAt) => ({ expiresAt })))
        assert.strictEqual(expiries.size, times.length)
        const due = () => {
          const all: Array<number> = []
          for (let next = expiries.takeDue(10); next !== undefined; next = expiries.takeDue(10))
            all.push(next.expiresAt)
          return all
        }
        const sorted = times.toSorted((a, b) => a - b)
        assert.deepStrictEqual(
          due(),
          sorted.filter((time) => time <= 10)
        )
        assert.strictEqual(expiries.size, sorted.filter((time) => time > 10).length)
        assert.isUndefined(expiries.takeDue(10))
      })
  )
})
