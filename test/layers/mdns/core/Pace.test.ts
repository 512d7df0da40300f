/** When a link is asked. */
import { assert, describe, it } from "@effect/vitest"
import * as Pace from "../../../../src/layers/mdns/core/Pace.ts"

/** Neither soon nor late. */
const random = () => 0.5

/** A link that has been asked as often as is usual at the start, and when it was asked last. */
const settled = () => {
  const asking = new Pace.Asking(0, random)
  let at = 0
  while (asking.isQuick) {
    at = asking.nextAt
    asking.ask(at, random)
  }
  return { asking, at }
}

/** When it asks, of `seconds`, while others tell each tenth of a second of somebody whom it does not know. */
const asked = (seconds: number, asking: Pace.Asking, from: number): Array<number> => {
  const times: Array<number> = []
  for (let now = from; now < from + seconds * 1000; now += 100) {
    asking.suggest(now, random)
    if (asking.nextAt > now) continue
    asking.ask(now, random)
    times.push(now - from)
  }
  return times
}

describe("asking for one whom only others know", () => {
  it("is done soon and again, since the answer may be lost, and then not so often", () => {
    const { asking, at } = settled()
    assert.deepStrictEqual(asked(15, asking, at + 10_000), [500, 1800, 3100, 4400, 8900, 13_400])
  })

  it("is not done when another asks for it, and whoever answers is heard here too", () => {
    const { asking, at } = settled()
    const now = at + 10_000
    asking.suggest(now, random)
    assert.strictEqual(asking.nextAt, now + 500)
    asking.overhear(now + 100, random)
    assert.isAtLeast(asking.nextAt, now + 20_000)
    assert.deepStrictEqual(asked(2, asking, now + 200), [500, 1800])
  })

  it("is soon again once nobody has told of such a one for a while", () => {
    const { asking, at } = settled()
    asked(15, asking, at + 10_000)
    asking.ask(asking.nextAt, random)
    assert.deepStrictEqual(asked(4, asking, at + 40_000), [500, 1800, 3100])
  })
})
