// A service of one's own, on a network of real nodes that is cut and heals.
import { it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Ping } from "effect-libp2p"
import { simulate } from "effect-libp2p/testing"

it(
  "a cut network heals",
  simulate({ seed: 7, nodes: 5 }, ({ eventually, faults, nodes }) =>
    Effect.gen(function* () {
      const [first, ...others] = nodes
      yield* faults.partition([first], others)
      yield* Effect.sleep("10 minutes") // virtual: no time at all

      const pingAll = Effect.forEach(others, (node) =>
        first.run(
          Effect.gen(function* () {
            const ping = yield* Ping.Ping
            yield* Stream.runDrain(ping.ping({ peer: node.peerId, addresses: node.addresses() }, { count: 1 }))
          })
        )
      )
      yield* eventually("all are reached", pingAll, "1 minute")
    })
  )
)
