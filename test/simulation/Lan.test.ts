/** Short forms of the scenarios of the local network that `npm run sim` runs with many nodes; see docs/simulation.md. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { simulate } from "../../src/layers/simulation/Simulate.ts"
import * as Lan from "../../src/programs/sim/Lan.ts"
import { find } from "../../src/programs/sim/Run.ts"
import { Wiretap } from "../../src/programs/sim/Wiretap.ts"

const runOf = (name: string, seed: number, nodes: number, durationMs: number) => {
  const scenario = find(name)
  if (scenario?.lan === undefined) return assert.fail(`there is no ${name}`)
  const running = Lan.start(scenario.lan, { seed, nodes, link: scenario.link }, durationMs)
  for (let next = running.next(); ; next = running.next()) {
    if (next.done === true)
      return { ...next.value, missed: scenario.expects?.filter((one) => !next.value.reached.has(one)) }
  }
}

describe("the local network in whole", () => {
  it("all that befalls it leaves all knowing all", { timeout: 60_000 }, () => {
    const report = runOf("lan", 1, 6, 20_000)
    assert.isUndefined(report.problem)
    assert.deepStrictEqual(report.missed, [])
  })

  it("a private network is by itself among others, and is not overheard", { timeout: 60_000 }, () => {
    const report = runOf("lan-private", 1, 8, 600_000)
    assert.isUndefined(report.problem)
    assert.deepStrictEqual(report.missed, [])
  })

  it(
    "who listens on the wire knows what to listen for",
    simulate({ seed: 1, nodes: 2 }, ({ nodes }) =>
      Effect.sync(() => {
        const [node] = nodes
        const heardOf = (bytes: Uint8Array) => {
          const wiretap = new Wiretap(nodes, ["office"])
          wiretap.hear(node.host, bytes)
          return [...wiretap.of(node)]
        }
        const around = (bytes: Uint8Array) => Buffer.concat([Buffer.from("before"), bytes, Buffer.from("after")])
        const whole = Buffer.from(node.addresses()[0]?.bytes ?? [])
        assert.deepStrictEqual(heardOf(around(Buffer.from(node.peerId.toString()))), ["the id of n0"])
        assert.deepStrictEqual(heardOf(around(node.peerId.bytes)), ["the id of n0"])
        assert.deepStrictEqual(heardOf(around(whole)), ["the id of n0", "the address of n0"])
        assert.deepStrictEqual(heardOf(around(Buffer.from([0, 4, 10, 0, 0, 1]))), ["the address of n0"])
        assert.deepStrictEqual(heardOf(around(Buffer.from("_p2p-0a1b._udp"))), ["its service"])
        assert.deepStrictEqual(heardOf(around(Buffer.from("office"))), ["the word office"])
        assert.deepStrictEqual(heardOf(around(Buffer.from("/multistream/1.0.0"))), ["its protocols"])
        assert.deepStrictEqual(heardOf(around(Buffer.from("nothing in particular"))), [])
      })
    )
  )
})
