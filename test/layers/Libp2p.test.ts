import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Result } from "effect"
import * as IdentityGenerated from "../../src/layers/identity/Generated.ts"
import * as Libp2p from "../../src/layers/Libp2p.ts"
import * as Yamux from "../../src/layers/muxer/Yamux.ts"
import * as MemoryPeerStore from "../../src/layers/peerstore/MemoryPeerStore.ts"
import * as Noise from "../../src/layers/security/Noise.ts"
import * as Tls from "../../src/layers/security/Tls.ts"
import * as Tcp from "../../src/layers/transport/Tcp.ts"
import { Swarm } from "../../src/services/Swarm.ts"

const build = <R, E>(layer: Layer.Layer<R, E>) => Layer.build(Layer.fresh(layer))

describe("Libp2p", () => {
  for (const [name, security, agreed] of [
    ["Noise", Noise.layer, "/noise"],
    ["TLS", Tls.layer, "/tls/1.0.0"]
  ] as const) {
    it.live(`layerDefault meets peers that have ${name} only, both ways`, () =>
      Effect.gen(function* () {
        const node = Context.get(yield* build(Libp2p.layerDefault({ listen: ["/ip4/127.0.0.1/tcp/0"] })), Swarm)
        const other = Context.get(
          yield* build(
            Libp2p.layer({ listen: ["/ip4/127.0.0.1/tcp/0"] }).pipe(
              Layer.provide(Layer.mergeAll(Tcp.layer, security, Yamux.layer())),
              Layer.provide(MemoryPeerStore.layer()),
              Layer.provideMerge(IdentityGenerated.layer),
              Layer.provide(Libp2p.layerNode)
            )
          ),
          Swarm
        )
        for (const [from, to] of [
          [node, other],
          [other, node]
        ] as const) {
          const connection = yield* from.dial({ peer: to.peerId, addresses: yield* to.listenAddresses })
          assert.strictEqual(connection.security, agreed)
          yield* connection.close
        }
      }).pipe(Effect.scoped)
    )
  }

  it.live("limits that cannot be fail the layer, and say where", () =>
    Effect.gen(function* () {
      const built = yield* Effect.result(
        Effect.scoped(build(Libp2p.layerDefault({ limits: { system: { connections: -1 } } })))
      )
      assert.isTrue(Result.isFailure(built))
      if (Result.isFailure(built)) assert.include(String(built.failure), "system.connections")
    })
  )
})
