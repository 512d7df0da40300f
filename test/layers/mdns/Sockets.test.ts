import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Queue } from "effect"
import * as Sockets from "../../../src/layers/mdns/Sockets.ts"
import { type Datagram, type DatagramSocket, Net, NetError, SystemRefused } from "../../../src/services/Net.ts"

const broken = new NetError({ operation: "receive", endpoint: undefined, reason: new SystemRefused({ code: "EIO" }) })
const link = {
  id: "eth0/4",
  interfaceName: "eth0",
  zone: "eth0",
  family: 4,
  via: "10.0.0.1",
  isLoopback: false,
  own: [],
  subnets: []
} as const

describe("the sockets of multicast DNS", () => {
  it.effect("one that has failed is opened anew when the links are looked at", () =>
    Effect.gen(function* () {
      let bound = 0
      const arriving = yield* Queue.unbounded<Datagram>()
      const socket = (fails: boolean): DatagramSocket => ({
        local: { host: "0.0.0.0", port: 5353 },
        send: () => Effect.void,
        receive: fails ? Effect.fail(broken) : Queue.take(arriving),
        join: () => Effect.void,
        leave: () => Effect.void,
        setMulticast: () => Effect.void
      })
      const net = Layer.mock(Net, { bind: () => Effect.sync(() => socket(bound++ === 0)) })
      const sockets = yield* Effect.flatMap(Net, (net) => Sockets.make({ net, port: 5353, receive: () => {} })).pipe(
        Effect.provide(net)
      )
      assert.lengthOf(yield* sockets.set([link]), 1)
      yield* Effect.yieldNow
      assert.lengthOf(yield* sockets.set([link]), 1)
      assert.strictEqual(bound, 2)
      yield* Effect.yieldNow
      yield* sockets.set([link])
      assert.strictEqual(bound, 2, "one that works stays")
    }).pipe(Effect.scoped)
  )
})
