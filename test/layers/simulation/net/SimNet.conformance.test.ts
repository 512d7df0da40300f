import { Effect, Layer, type Scope } from "effect"
import { Net } from "../../../../src/services/Net.ts"
import { netSuite } from "../../../../src/conformance/Net.ts"
import { makeSim, runIn, type Sim, type SimOptions } from "./harness.ts"

/** The host that the tests of the suite run on; each test gets a new one. */
const suite = (name: string, options: SimOptions): void => {
  let sim: Sim = makeSim(options)
  const start = (): Sim => {
    sim = makeSim({ ...options, names: { "known.example": { addresses: ["10.0.0.1"] } } })
    return sim
  }
  netSuite(
    name,
    Layer.effect(
      Net,
      Effect.sync(() => sim.host({ addresses: ["10.0.0.1", "fd00::1"] }).net)
    ),
    {
      bound: 256 * 1024,
      name: "known.example",
      multicast: { group: "224.0.0.251", via: "10.0.0.1" },
      settle: Effect.sleep(5000),
      run: <A, E>(test: Effect.Effect<A, E, Scope.Scope>) => {
        runIn(start(), test)
      }
    }
  )
}

suite("SimNet", {})
suite("SimNet, in another order", { shuffle: true, seed: 7 })
suite("SimNet with a small window", { windowBytes: 33_000 })
