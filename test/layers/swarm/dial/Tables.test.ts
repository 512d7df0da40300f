import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import * as BackOff from "../../../../src/layers/swarm/dial/BackOff.ts"
import * as BlackHole from "../../../../src/layers/swarm/dial/BlackHole.ts"
import * as Facts from "../../../../src/layers/swarm/dial/Facts.ts"
import { Slots } from "../../../../src/layers/swarm/dial/Slots.ts"

describe("BackOff", () => {
  it("doubles from five seconds to five minutes, and success clears it", () => {
    const table = new BackOff.BackOff()
    const times: Array<number> = []
    let now = 1000
    for (let i = 0; i < 9; i++) {
      table.failed("a", now, 0)
      times.push(table.remaining("a", now) / 1000)
      now += table.remaining("a", now)
      assert.strictEqual(table.remaining("a", now), 0)
    }
    assert.deepStrictEqual(times, [5, 10, 20, 40, 80, 160, 300, 300, 300])
    table.succeeded("a")
    table.failed("a", now, 0)
    assert.strictEqual(table.remaining("a", now), 5000)
    assert.strictEqual(table.remaining("b", now), 0)
  })

  it("jitter shortens it, by a quarter at most", () => {
    const table = new BackOff.BackOff()
    table.failed("a", 0, 1)
    table.failed("b", 0, 0.5)
    assert.deepStrictEqual([table.remaining("a", 0), table.remaining("b", 0)], [3750, 4375])
  })

  it("old failures are forgotten, and the table is bounded", () => {
    const table = new BackOff.BackOff({ ...BackOff.defaults, capacity: 100 })
    for (let i = 0; i < 1000; i++) table.failed(`${i}`, i, 0)
    assert.strictEqual(table.size, 100)
    // One that fails again is not the oldest any more.
    table.failed("900", 1000, 0)
    table.failed("new", 1000, 0)
    assert.deepStrictEqual([table.remaining("900", 1000) > 0, table.remaining("901", 1000)], [true, 0])
    assert.strictEqual(table.remaining("899", 1000), 0)
    assert.isAbove(table.remaining("900", 1000), 0)
    table.failed("last", 1000 + 10 * 60_000, 0)
    assert.strictEqual(table.size, 1)
    table.failed("last", 1000 + 30 * 60_000, 0)
    assert.strictEqual(table.remaining("last", 1000 + 30 * 60_000), 5000)
  })

  it.prop(
    "is never longer than its bound, nor shorter than three quarters of the first",
    [Schema.Array(Schema.Natural)],
    ([noise]) => {
      const table = new BackOff.BackOff({ firstMs: 100, maxMs: 1000, capacity: 3 })
      let now = 0
      for (const word of noise) {
        now += word % 3000
        const key = `${word % 5}`
        table.failed(key, now, (word % 101) / 100)
        assert.isAtLeast(table.remaining(key, now), 75)
        assert.isAtMost(table.remaining(key, now), 1000)
        assert.isAtMost(table.size, 3)
      }
    }
  )
})

const factsOf = (text: string) => Facts.of(Multiaddr.fromStringUnsafe(text))

describe("BlackHoles", () => {
  const v6 = factsOf("/ip6/2001:db8::1/tcp/1")
  const v4 = factsOf("/ip4/192.0.2.1/tcp/1")
  const quic6 = factsOf("/ip6/2001:db8::1/udp/1/quic-v1")
  const record = (holes: BlackHole.BlackHoles, times: number, success: boolean) => {
    for (let i = 0; i < times; i++) holes.record(v6, success)
  }

  it("a kind of which hardly any answers is blocked, but for one dial in a hundred", () => {
    const holes = new BlackHole.BlackHoles()
    record(holes, 4, true)
    record(holes, 95, false)
    assert.isUndefined(holes.dial()(v6))
    record(holes, 1, false)
    const blocked = Array.from({ length: 500 }, () => holes.dial()).filter((dial) => dial(v6) === "IPv6").length
    assert.strictEqual(blocked, 495)
    assert.isUndefined(holes.dial()(v4))
  })

  it("enough successes allow it, a window that slides past them blocks it, one success clears it", () => {
    const holes = new BlackHole.BlackHoles()
    record(holes, 5, true)
    record(holes, 95, false)
    assert.isFalse(holes.blocked("IPv6"))
    record(holes, 1, false)
    assert.isTrue(holes.blocked("IPv6"))
    record(holes, 1, true)
    assert.isFalse(holes.blocked("IPv6"))
    record(holes, 99, false)
    assert.isFalse(holes.blocked("IPv6"))
    record(holes, 1, false)
    assert.isTrue(holes.blocked("IPv6"))
  })

  it("a dial counts once, however many addresses it knows", () => {
    const holes = new BlackHole.BlackHoles({ window: 10, minSuccesses: 1 })
    record(holes, 10, false)
    const dials = Array.from({ length: 20 }, () => holes.dial())
    const passed = dials.map((dial) => [dial(v6), dial(v6), dial(v6)].filter((kind) => kind === undefined).length)
    assert.deepStrictEqual(
      passed.filter((count) => count > 0),
      [3, 3]
    )
  })

  it("while UDP is being probed it passes by IPv6 too", () => {
    const holes = new BlackHole.BlackHoles({ window: 10, minSuccesses: 1 })
    record(holes, 10, false)
    assert.isUndefined(holes.dial()(quic6))
    for (let i = 0; i < 10; i++) holes.record(factsOf("/ip4/192.0.2.1/udp/1/quic-v1"), true)
    assert.strictEqual(holes.dial()(quic6), "IPv6")
  })

  it("only public, direct addresses count", () => {
    const holes = new BlackHole.BlackHoles({ window: 3, minSuccesses: 1 })
    for (const text of ["/ip6/fd00::1/tcp/1", "/ip6/::1/tcp/1", "/ip6/fe80::1/tcp/1", "/ip4/192.0.2.1/tcp/1"]) {
      for (let i = 0; i < 10; i++) holes.record(factsOf(text), false)
    }
    assert.isFalse(holes.blocked("IPv6"))
    record(holes, 3, false)
    assert.isUndefined(holes.dial()(factsOf("/ip6/fd00::1/tcp/1")))
    assert.strictEqual(holes.dial()(v6), "IPv6")
  })
})

describe("Slots", () => {
  it("are bounded and handed out in the order of asking; a wish can be taken back", () => {
    const slots = new Slots(2)
    const got: Array<string> = []
    assert.deepStrictEqual([slots.take(), slots.take(), slots.take()], [true, true, false])
    slots.ask(() => got.push("a"))
    const withdraw = slots.ask(() => got.push("b"))
    slots.ask(() => got.push("c"))
    withdraw()
    slots.release()
    assert.deepStrictEqual(got, ["a"])
    assert.isFalse(slots.take())
    slots.release()
    assert.deepStrictEqual(got, ["a", "c"])
    slots.release()
    slots.release()
    assert.strictEqual(slots.taken, 0)
    assert.isTrue(slots.take())
  })
})
