/** What drives a lookup: it asks, waits, and ends, whatever others do. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Kad from "../../../src/data/messages/Kad.ts"
import * as Deadlines from "../../../src/layers/internal/Deadlines.ts"
import * as Key from "../../../src/layers/kad/core/Key.ts"
import * as Lookup from "../../../src/layers/kad/Lookup.ts"
import { Readings } from "../../../src/layers/kad/Readings.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"

describe("a lookup", () => {
  it(
    "among peers that never answer ends, at whatever fraction of a millisecond it began",
    simulate({ nodes: 9 }, ({ always, nodes: [self, ...others], world }) =>
      Effect.gen(function* () {
        // A wait that rounds to nothing would go on for ever at one moment.
        yield* always("time passes", () => world.events < 100_000)
        const peers = others.map((node) => ({ peer: node.peerId, addresses: node.addresses() }))
        const settings: Omit<Lookup.Settings, "deadlines"> = {
          self: Key.contact(self.peerId),
          k: 20,
          alpha: 3,
          paths: 1,
          addresses: "any",
          rpc: {
            request: () => Effect.never,
            send: () => Effect.never,
            isAsking: () => false,
            counters: () => assert.fail("not asked")
          },
          readings: new Readings(),
          seeds: () => peers,
          known: () => [],
          answered: () => {},
          failed: () => {},
          late: () => {},
          answering: (contacts) => contacts,
          finished: () => {}
        }
        for (let i = 0; i < 50; i++) {
          yield* Effect.sleep(world.random.nextDoubleUnsafe() * 1000)
          const wanted = { target: Key.random(() => world.random.nextDoubleUnsafe()), question: Kad.make("FindNode") }
          const { closest } = yield* self.run(
            Effect.scoped(Effect.flatMap(Deadlines.make, (deadlines) => Lookup.run({ ...settings, deadlines }, wanted)))
          )
          assert.deepStrictEqual(closest, [])
        }
      })
    )
  )
})
