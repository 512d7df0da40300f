import { assert, describe, it } from "@effect/vitest"
import { defaults } from "../../../../src/layers/muxer/yamux/Limits.ts"
import { Liveness } from "../../../../src/layers/muxer/yamux/Liveness.ts"

const { keepAliveIntervalMs: interval, keepAliveTimeoutMs: timeout } = defaults

describe("Liveness", () => {
  it("gives a silent remote up in time", () => {
    const liveness = new Liveness(defaults, 0)
    assert.strictEqual(liveness.check(interval - 1), "nothing")
    assert.strictEqual(liveness.check(interval), "ask")
    assert.strictEqual(liveness.check(interval + timeout - 1), "nothing")
    assert.strictEqual(liveness.check(interval + timeout), "gone")
  })

  it("asks once more after a halt of the process: the answer may not have been read yet", () => {
    const liveness = new Liveness(defaults, 0)
    assert.strictEqual(liveness.check(interval), "ask")
    const back = interval + 60_000
    assert.strictEqual(liveness.check(back), "ask")
    assert.isDefined(liveness.ping(back))
    assert.strictEqual(liveness.check(back + timeout), "gone")
  })

  it("asks once more only once: checks that are always late do not keep a dead remote", () => {
    const liveness = new Liveness(defaults, 0)
    liveness.check(interval)
    assert.strictEqual(liveness.check(interval + 60_000), "ask")
    assert.strictEqual(liveness.check(interval + 120_000), "gone")
  })

  it("excuses a halt again once the remote was heard", () => {
    const liveness = new Liveness(defaults, 0)
    liveness.check(interval)
    liveness.check(interval + 60_000)
    liveness.heard(100_000)
    assert.strictEqual(liveness.check(100_000 + interval), "ask")
    assert.strictEqual(liveness.check(100_000 + interval + 60_000), "ask")
  })
})
