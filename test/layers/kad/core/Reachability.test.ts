import { assert, describe, it } from "@effect/vitest"
import { Reachability } from "../../../../src/layers/kad/core/Reachability.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"

const minute = 60_000
const hour = 60 * minute
const home = { hasPublicAddress: false, serves: false }
const open = { hasPublicAddress: true, serves: true }

describe("Reachability", () => {
  it("knows nothing of a node at home that has met nobody, and takes one with a public address for reachable", () => {
    assert.strictEqual(new Reachability().assess(home, 0), "unknown")
    assert.strictEqual(new Reachability().assess({ ...open, serves: false }, 0), "public")
  })

  it("is proven by strangers of three networks, and by nobody who was called", () => {
    const one = new Reachability()
    for (const network of ["a", "b", "c", "d"]) one.called(network, 0)
    assert.strictEqual(one.assess(home, minute), "private")
    // Those that were called come back: a NAT lets them.
    for (const network of ["a", "b", "c", "d"]) one.came(network, hour - 1)
    assert.strictEqual(one.assess(home, hour - 1), "private")
    one.came("x", hour - 1)
    one.came("y", hour - 1)
    one.came("y", hour - 1)
    assert.strictEqual(one.assess(home, hour - 1), "private")
    one.came("z", hour - 1)
    assert.strictEqual(one.assess(home, hour - 1), "public")
    // They are called themselves, which takes nothing back.
    for (const network of ["x", "y", "z"]) one.called(network, hour)
    assert.strictEqual(one.assess(home, 2 * hour - 2), "public")
    assert.strictEqual(one.assess(home, 2 * hour - 1), "private")
    assert.strictEqual(one.assess(home, 3 * hour), "unknown", "cut off")
  })

  it("lasts for as long as those who came are connected", () => {
    const one = new Reachability()
    for (const network of ["x", "y", "z"]) one.came(network, 0)
    one.called("a", 0)
    for (let now = 0; now < 5 * hour; now += 30_000) {
      for (const network of ["x", "y", "z", "a"]) one.stayed(network, now)
      assert.strictEqual(one.assess(home, now), "public")
    }
    one.called("a", 6 * hour)
    assert.strictEqual(one.assess(home, 6 * hour), "private")
  })

  it("is doubted when a server with a public address knows many and nobody comes, and tried again hours later", () => {
    const one = new Reachability({ trialNetworks: 10 })
    const course = (from: number, to: number, networks: number, serves: boolean) => {
      let last = "?"
      for (let now = from; now <= to; now += 30_000) {
        for (let i = 0; i < networks; i++) one.called(`n${i}`, now)
        last = one.assess({ hasPublicAddress: true, serves }, now)
      }
      return last
    }
    assert.strictEqual(course(0, 3 * hour, 9, true), "public", "it knows few")
    assert.strictEqual(course(3 * hour, 4 * hour, 10, false), "public", "nobody comes to a client")
    assert.strictEqual(course(4 * hour, 4 * hour + 29 * minute, 10, true), "public")
    assert.strictEqual(course(4 * hour + 29 * minute, 4 * hour + 31 * minute, 10, true), "private")
    assert.strictEqual(course(4 * hour + 31 * minute, 10 * hour, 10, false), "private")
    assert.strictEqual(course(10 * hour, 11 * hour, 10, false), "public", "the next try")
    one.came("stranger", 11 * hour)
    assert.strictEqual(course(11 * hour, 11 * hour + 59 * minute, 10, true), "public", "somebody came")
  })

  it("remembers few, whoever comes from wherever", () => {
    const one = new Reachability()
    const prng = new Prng("reachability")
    for (let i = 0; i < 20_000; i++) {
      if (prng.below(2) === 0) one.came(`n${i}`, i)
      else one.called(`n${i}`, i)
    }
    assert.strictEqual(one.assess(home, 20_000), "public")
    for (let i = 0; i < 256; i++) one.called(`m${i}`, 20_000)
    // The networks that were called before are forgotten, so that these are strangers.
    for (const network of ["n1", "n2", "n3"]) one.came(network, 20_000)
    assert.strictEqual(one.assess(home, 20_000), "public")
  })
})
