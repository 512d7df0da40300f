import { assert, describe, it } from "@effect/vitest"
import * as Mode from "../../../../src/layers/kad/core/Mode.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"

const options: Mode.Options = { wanted: "auto", network: "wan", upAfterMs: 30, downAfterMs: 600 }
const facts: Record<"public" | "private" | "unknown", Mode.Facts> = {
  public: { reachability: "public" },
  private: { reachability: "private" },
  unknown: { reachability: "unknown" }
}

/** The mode after what was known from each time on, and at the end. */
const after = (course: ReadonlyArray<readonly [at: number, keyof typeof facts]>, end: number, given = options) => {
  let state = Mode.start(given)
  for (const [at, name] of course) state = Mode.next(state, facts[name], at, given)
  const last = course.at(-1)
  return last === undefined ? state.mode : Mode.next(state, facts[last[1]], end, given).mode
}

describe("Mode", () => {
  it("serves on a public network once it has been reachable for a while", () => {
    assert.strictEqual(Mode.start(options).mode, "client")
    assert.strictEqual(after([[0, "public"]], 29), "client")
    assert.strictEqual(after([[0, "public"]], 30), "server")
    assert.strictEqual(after([[0, "unknown"]], 1e9), "client")
    assert.strictEqual(after([[0, "private"]], 1e9), "client")
    assert.strictEqual(
      after([[0, "private"]], 1e9, { ...options, network: "lan" }),
      "server",
      "neighbours need no public address"
    )
  })

  it("goes on serving through a moment of bad luck, and while nothing is known", () => {
    const served = [
      [0, "public"],
      [30, "public"]
    ] as const
    assert.strictEqual(after([...served, [100, "private"]], 699), "server")
    assert.strictEqual(after([...served, [100, "private"]], 700), "client")
    assert.strictEqual(after([...served, [100, "private"], [600, "public"], [650, "private"]], 1_249), "server")
    assert.strictEqual(after([...served, [100, "unknown"]], 1e9), "server")
    assert.strictEqual(after([...served, [100, "private"], [650, "unknown"], [651, "private"]], 1_250), "server")
  })

  it("does as it is told when it is told", () => {
    for (const wanted of ["client", "server"] as const) {
      for (const name of ["public", "private"] as const) {
        assert.strictEqual(after([[0, name]], 1e9, { ...options, wanted }), wanted)
      }
    }
  })

  it("changes at the time that it says, and never back within the time that the other way takes", () => {
    const prng = new Prng("mode")
    let state = Mode.start(options)
    let changed: number | undefined
    let now = 0
    for (let i = 0; i < 5_000; i++) {
      now += prng.below(100)
      const name = prng.pick(["public", "private", "unknown", "public", "private"] as const)
      const before = state
      const asked = Mode.next(state, facts[name], now, options)
      const at = Mode.changeAt(asked, options)
      if (at !== undefined) {
        assert.isAbove(at, now)
        assert.strictEqual(Mode.next(asked, facts[name], at - 1, options).mode, asked.mode)
        assert.notStrictEqual(Mode.next(asked, facts[name], at, options).mode, asked.mode)
      }
      state = asked
      if (state.mode === before.mode) continue
      const least = state.mode === "server" ? 30 : 600
      if (changed !== undefined) assert.isAtLeast(now - changed, least)
      changed = now
    }
    assert.isDefined(changed)
  })
})
