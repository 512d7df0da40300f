import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Queue } from "effect"
import { linksOf } from "../../../src/layers/mdns/core/Links.ts"
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

  it.effect("what comes from elsewhere than the link is dropped, by IPv4 and IPv6", () =>
    Effect.gen(function* () {
      const links = linksOf(
        [
          { name: "eth0", host: "10.0.0.1", family: 4, internal: false, prefixLength: 24 },
          { name: "eth0", host: "fe80::1", family: 6, internal: false, prefixLength: 64 }
        ],
        "all"
      )
      const hosts = ["10.0.0.9", "10.0.1.9", "8.8.8.8", "fe80::9%eth0", "fe80::9%eth1", "2001:db8::9"]
      // Each socket hears what comes to any.
      const socket = Effect.map(Queue.unbounded<Datagram>(), (arriving): DatagramSocket => {
        for (const host of hosts) {
          Queue.offerUnsafe(arriving, { bytes: new Uint8Array(12), from: { host, port: 5353 } })
        }
        return {
          local: { host: "0.0.0.0", port: 5353 },
          send: () => Effect.void,
          receive: Queue.take(arriving),
          join: () => Effect.void,
          leave: () => Effect.void,
          setMulticast: () => Effect.void
        }
      })
      const heard: Array<string> = []
      const sockets = yield* Effect.flatMap(Net, (net) =>
        Sockets.make({ net, port: 5353, receive: (link, { from }) => void heard.push(`${link} ${from.host}`) })
      ).pipe(Effect.provide(Layer.mock(Net, { bind: () => socket })))
      assert.lengthOf(yield* sockets.set(links), 2)
      yield* Effect.repeat(Effect.yieldNow, { times: 20 })
      assert.deepStrictEqual(heard.toSorted(), ["eth0/4 10.0.0.9", "eth0/6 fe80::9%eth0"])
    }).pipe(Effect.scoped)
  )
})
