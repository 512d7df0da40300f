import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { LinkOptions, SimHost } from "../../../../src/layers/simulation/net/SimNetwork.ts"
import type { DatagramSocket } from "../../../../src/services/Net.ts"
import { pattern } from "../../../../src/conformance/ByteStream.ts"
import { makeSim, runIn, type SimOptions, twoHosts } from "./harness.ts"

const port = 4001
const at = (host: SimHost) => ({ host: host.addresses[0] ?? "", port })

/** Everything that arrives in the next minutes, by its first byte, with the time. */
const collect = (socket: DatagramSocket, now: () => number) =>
  Effect.gen(function* () {
    const got: Array<readonly [byte: number, at: number]> = []
    const loop = Effect.gen(function* () {
      for (;;) {
        const { bytes } = yield* socket.receive
        got.push([bytes[0] ?? -1, now()])
      }
    })
    yield* Effect.forkChild(loop)
    return got
  })

const sending = (link: LinkOptions, options?: SimOptions) => {
  const two = twoHosts(link, options)
  const sockets = Effect.gen(function* () {
    const from = yield* two.left.net.bind(at(two.left))
    const to = yield* two.right.net.bind(at(two.right))
    const got = yield* collect(to, two.now)
    const send = (first: number, size = 10) =>
      from.send(
        Uint8Array.from({ length: size }, () => first),
        at(two.right)
      )
    return { from, to, got, send }
  })
  return { ...two, sockets }
}

describe("datagrams", () => {
  it("arrive after the latency and the time for their bits", () => {
    const { now, sim, sockets } = sending({ latencyMs: 25, bitsPerSecond: 8000 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { got, send } = yield* sockets
        assert.strictEqual(now(), 0)
        yield* send(1, 100)
        yield* send(2, 100)
        yield* Effect.sleep(1000)
        assert.deepStrictEqual(got, [
          [1, 125],
          [2, 225]
        ])
      })
    )
  })

  it("those that do not fit into the queue or the MTU are dropped", () => {
    const { network, sim, sockets } = sending({ latencyMs: 1, bitsPerSecond: 8000, queueBytes: 250, mtu: 150 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { got, send } = yield* sockets
        yield* send(0, 151)
        for (let i = 1; i <= 5; i++) yield* send(i, 100)
        yield* Effect.sleep(10_000)
        yield* send(6, 100)
        yield* Effect.sleep(10_000)
        assert.deepStrictEqual(
          got.map(([byte]) => byte),
          [1, 2, 6]
        )
        assert.strictEqual(network.stats.dropped, 4)
      })
    )
  })

  it("are lost, doubled and overtaken as often as the link says", () => {
    const { network, sim, sockets } = sending({ latencyMs: 10, loss: 0.2, duplicate: 0.1, reorder: 0.1 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { got, send } = yield* sockets
        for (let i = 0; i < 2000; i++) {
          yield* send(i & 0xff)
          yield* Effect.sleep(5)
        }
        yield* Effect.sleep(1000)
        const { dropped, duplicated } = network.stats
        assert.isTrue(dropped > 300 && dropped < 500, `${dropped} dropped`)
        assert.isTrue(duplicated > 100 && duplicated < 220, `${duplicated} doubled`)
        assert.strictEqual(got.length, 2000 - dropped + duplicated)
        const overtaken = got.filter(([byte], i) => ((byte - (got[i - 1]?.[0] ?? byte)) & 0xff) > 128).length
        assert.isTrue(overtaken > 50, `${overtaken} overtaken`)
      })
    )
  })

  it("are dropped by a partition, one way or both, and kept in order by a hold", () => {
    const { left, network, right, sim, sockets } = sending({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { got, send } = yield* sockets
        yield* send(1)
        network.partition([left], [right])
        yield* Effect.sleep(20)
        yield* send(2)
        network.heal()
        network.partition([right], [left], { oneWay: true })
        yield* send(3)
        yield* Effect.sleep(20)
        network.hold(left, right)
        yield* send(4)
        yield* send(5)
        yield* Effect.sleep(1000)
        assert.deepStrictEqual(
          got.map(([byte]) => byte),
          [3]
        )
        network.heal()
        yield* Effect.sleep(0)
        assert.deepStrictEqual(
          got.map(([byte]) => byte),
          [3, 4, 5]
        )
      })
    )
  })

  it("to a host that is down are gone", () => {
    const { network, right, sim, sockets } = sending({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { send, to } = yield* sockets
        right.crash()
        yield* send(1)
        yield* Effect.sleep(100)
        assert.strictEqual((yield* Effect.flip(to.receive)).reason._tag, "SocketClosed")
        assert.strictEqual(network.stats.dropped, 1)
      })
    )
  })

  it("of a group reach all hosts of one network that joined it, and none elsewhere", () => {
    const sim = makeSim({ link: { latencyMs: 5 } })
    const nat = sim.network.addNat({ name: "home", address: "203.0.113.1", kind: "endpoint-independent" })
    const out = [sim.host(), sim.host(), sim.host()]
    const home = [sim.host({ behind: nat }), sim.host({ behind: nat })]
    runIn(
      sim,
      Effect.gen(function* () {
        const open = (host: SimHost) =>
          Effect.gen(function* () {
            const socket = yield* host.net.bind({ host: "0.0.0.0", port: 5353, reuseAddress: true })
            yield* socket.join("224.0.0.251")
            return [socket, yield* collect(socket, sim.now)] as const
          })
        const outside = yield* Effect.forEach(out, open)
        const inside = yield* Effect.forEach(home, open)
        const to = { host: "224.0.0.251", port: 5353 }
        yield* Effect.forEach(outside.slice(0, 1), ([socket]) => socket.send(pattern(0, 1), to))
        yield* Effect.forEach(inside.slice(0, 1), ([socket]) =>
          Effect.andThen(socket.setMulticast({ loopback: false }), socket.send(pattern(0, 1), to))
        )
        yield* Effect.sleep(100)
        assert.deepStrictEqual(
          [...outside, ...inside].map(([, got]) => got.map(([, when]) => when)),
          [[0.02], [5], [5], [], [5]]
        )
      })
    )
  })
})
