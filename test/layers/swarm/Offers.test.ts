/** What a dial offers when several securities are spoken here, in round trips. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import * as Libp2p from "../../../src/layers/Libp2p.ts"
import * as Yamux from "../../../src/layers/muxer/Yamux.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import * as Noise from "../../../src/layers/security/Noise.ts"
import * as Plaintext from "../../../src/layers/security/Plaintext.ts"
import * as Tcp from "../../../src/layers/transport/Tcp.ts"
import * as ConnectionSecurity from "../../../src/services/ConnectionSecurity.ts"
import { Ping } from "../../../src/services/Ping.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { type NodeInfo, simulate } from "../../../src/testing.ts"

const securities = { noise: Noise.make, plaintext: Plaintext.make }

/** Nodes that speak, one after the other, what is listed. */
const speaking =
  (...lists: ReadonlyArray<ReadonlyArray<keyof typeof securities>>) =>
  (node: NodeInfo) =>
    Libp2p.layer({ listen: ["/ip4/0.0.0.0/tcp/4001"] }).pipe(
      Layer.provide(
        Layer.mergeAll(
          Tcp.layer,
          ConnectionSecurity.layerPrefer((lists[node.index] ?? []).map((name) => securities[name])),
          Yamux.layer()
        )
      ),
      Layer.provideMerge(MemoryPeerStore.layer())
    )

const link = { latencyMs: 50 }

/** Dials the second node from the first and pings it once; round trips until the answer, and the security agreed on. */
const dialAndPing = (
  dialer: ReadonlyArray<keyof typeof securities>,
  listener: ReadonlyArray<keyof typeof securities>,
  check: (roundTrips: number, security: string) => void
) =>
  simulate({ nodes: 2, link, layer: speaking(dialer, listener) }, ({ nodes: [a, b], world }) =>
    Effect.gen(function* () {
      if (a === undefined || b === undefined) return
      const began = world.timeline.now
      const target = { peer: b.peerId, addresses: b.addresses() }
      yield* a.run(
        Effect.gen(function* () {
          const ping = yield* Ping
          yield* Stream.runDrain(ping.ping(target, { count: 1 }))
        })
      )
      const roundTrips = (world.timeline.now - began) / (2 * link.latencyMs)
      const [connection] = yield* a.run(Effect.flatMap(Swarm, (swarm) => swarm.connections(b.peerId)))
      check(roundTrips, connection?.security ?? "none")
    })
  )

describe("a dial with several securities", () => {
  it(
    "proposes the preferred one without waiting: three round trips to the first answer",
    dialAndPing(["noise", "plaintext"], ["plaintext", "noise"], (roundTrips, security) => {
      assert.strictEqual(security, "/noise")
      assert.closeTo(roundTrips, 3, 0.05)
    })
  )

  it(
    "a remote that does not speak it is dialled once more and offered the others",
    dialAndPing(["noise", "plaintext"], ["plaintext"], (roundTrips, security) => {
      assert.strictEqual(security, "/plaintext/2.0.0")
      assert.isBelow(roundTrips, 7)
    })
  )

  it(
    "nothing in common is said, with what each was offered",
    simulate({ nodes: 2, link, layer: speaking(["noise"], ["plaintext"]) }, ({ nodes: [a, b] }) =>
      Effect.gen(function* () {
        if (a === undefined || b === undefined) return
        const target = { peer: b.peerId, addresses: b.addresses() }
        const error = yield* Effect.flip(a.run(Effect.flatMap(Swarm, (swarm) => swarm.dial(target))))
        assert.include(error.message, "/noise")
      })
    )
  )
})
