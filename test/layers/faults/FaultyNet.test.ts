import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Random, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as net from "node:net"
import * as Controls from "../../../src/layers/faults/Controls.ts"
import * as FaultyNet from "../../../src/layers/faults/FaultyNet.ts"
import * as MemoryNet from "../../../src/layers/net/MemoryNet.ts"
import * as NodeNet from "../../../src/layers/net/NodeNet.ts"
import { read, write } from "../../../src/services/ByteStream.ts"
import { FaultControls, type Faults } from "../../../src/services/FaultControls.ts"
import { Net } from "../../../src/services/Net.ts"
import { byteStreamSuite, pattern, readExactly, reasonOf } from "../../../src/conformance/ByteStream.ts"
import { netSuite } from "../../../src/conformance/Net.ts"

const over = <E>(inner: Layer.Layer<Net, E>, options?: FaultyNet.FaultOptions, initial?: Faults) =>
  FaultyNet.layer(options).pipe(Layer.provide(inner), Layer.provideMerge(Controls.layer(initial)))

netSuite("FaultyNet, no fault, over MemoryNet", over(MemoryNet.layer()), {
  bound: 64 * 1024,
  multicast: { group: "224.0.0.251", via: "10.0.0.1" }
})

netSuite("FaultyNet, no fault, over NodeNet", over(NodeNet.layer), {
  live: true,
  portReuse: "BoundSocket" in net && process.platform === "linux",
  multicast: { group: "239.255.77.77", via: "127.0.0.1" }
})

const at = { host: "127.0.0.1", port: 0 }
const build = <E>(layer: Layer.Layer<Net | FaultControls, E>) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(layer)
    return yield* Effect.provide(
      Effect.all({ controls: Effect.service(FaultControls), net: Effect.service(Net) }),
      context
    )
  })

/** The dialler has faults, the listener has none. */
const joined = <E>(inner: Layer.Layer<Net, E>, options?: FaultyNet.FaultOptions, initial?: Faults) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(inner)
    const plain = yield* Effect.provide(Effect.service(Net), context)
    const { controls, net } = yield* build(over(Layer.succeed(Net, plain), options, initial))
    const listener = yield* plain.listen(at)
    const client = yield* net.connect(listener.local)
    const server = yield* listener.accept
    return { client, controls, listener, net, plain, server }
  })

/** Moves the clock as long as the fiber is not done. */
const passing = <A, E>(fiber: Fiber.Fiber<A, E>, step = 10): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    for (let i = 0; i < 100_000 && fiber.pollUnsafe() === undefined; i++) yield* TestClock.adjust(step)
    return yield* Fiber.join(fiber)
  })
const now = Effect.clockWith((clock) => Effect.sync(() => Number(clock.monotonicTimeNanosUnsafe()) / 1e6))

/** Everything goes through the lines, and nothing happens to it. */
const hold: Faults = { corrupt: 1e-300 }

byteStreamSuite(
  "FaultyNet, held for nothing",
  Effect.map(joined(MemoryNet.layer(), {}, hold), ({ client, server }) => [client, server] as const)
)

byteStreamSuite(
  "FaultyNet, held for nothing, the other way",
  Effect.map(joined(MemoryNet.layer(), {}, hold), ({ client, server }) => [server, client] as const)
)

byteStreamSuite(
  "FaultyNet, held for nothing, over NodeNet",
  Effect.map(joined(NodeNet.layer, {}, hold), ({ client, server }) => [client, server] as const),
  { live: true }
)

describe("FaultyNet", () => {
  it.effect("bytes are late, in order, both ways", () =>
    Effect.gen(function* () {
      const { client, controls, server } = yield* joined(MemoryNet.layer())
      yield* controls.set({ delayMs: { min: 100, max: 200 } })
      const start = yield* now
      const there = yield* Effect.forkChild(readExactly(server, 500))
      yield* write(client, pattern(0, 200))
      yield* TestClock.adjust(50)
      yield* write(client, pattern(200, 300))
      assert.strictEqual(there.pollUnsafe(), undefined)
      assert.deepStrictEqual(yield* passing(there, 1), pattern(0, 500))
      const took = (yield* now) - start
      assert.isTrue(took >= 150 && took <= 252, `${took} ms`)
      yield* write(server, pattern(7, 100))
      const back = yield* Effect.forkChild(readExactly(client, 100))
      yield* TestClock.adjust(99)
      assert.strictEqual(back.pollUnsafe(), undefined)
      yield* TestClock.adjust(102)
      assert.deepStrictEqual(yield* Fiber.join(back), pattern(7, 100))
    })
  )

  it.effect("a rate is kept, both ways", () =>
    Effect.gen(function* () {
      const { client, controls, server } = yield* joined(MemoryNet.layer())
      yield* controls.set({ bytesPerSecond: 10_000 })
      for (const [from, to] of [
        [client, server],
        [server, client]
      ] as const) {
        const start = yield* now
        const got = yield* Effect.forkChild(readExactly(to, 20_000))
        yield* write(from, pattern(0, 20_000))
        assert.deepStrictEqual(yield* passing(got), pattern(0, 20_000))
        const took = (yield* now) - start
        assert.isTrue(took > 1850 && took < 2200, `${took} ms`)
      }
    })
  )

  it.effect("a black hole holds connections until it ends, and lets new ones time out", () =>
    Effect.gen(function* () {
      const { client, controls, listener, net, server } = yield* joined(MemoryNet.layer(), { connectTimeoutMs: 60_000 })
      const waiting = yield* Effect.forkChild(readExactly(client, 10))
      yield* Effect.yieldNow
      yield* controls.set({ blackHole: true }, "127.0.0.1")
      yield* write(client, pattern(0, 100))
      yield* write(server, pattern(5, 10))
      const dialling = yield* Effect.forkChild(Effect.flip(Effect.scoped(net.connect(listener.local))))
      yield* TestClock.adjust(59_000)
      assert.strictEqual(server.tryRead(), undefined)
      assert.deepStrictEqual([waiting.pollUnsafe(), dialling.pollUnsafe()], [undefined, undefined])
      yield* TestClock.adjust(2000)
      const error = yield* Fiber.join(dialling)
      assert.deepStrictEqual([error.operation, error.reason._tag], ["connect", "ConnectTimeout"])
      const healing = yield* Effect.forkChild(net.connect(listener.local))
      yield* TestClock.adjust(1000)
      assert.strictEqual(healing.pollUnsafe(), undefined)
      yield* controls.clear("127.0.0.1")
      yield* Fiber.join(healing)
      assert.deepStrictEqual(yield* Fiber.join(waiting), pattern(5, 10))
      assert.deepStrictEqual(yield* readExactly(server, 100), pattern(0, 100))
    })
  )

  it.effect("a black hole takes a bounded number of bytes, and a reset ends the wait", () =>
    Effect.gen(function* () {
      const { client, controls } = yield* joined(MemoryNet.layer(), { capacityBytes: 10_000 })
      yield* controls.set({ blackHole: true })
      const taken = client.tryWrite(pattern(0, 100_000))
      assert.isAtMost(taken, 10_000)
      assert.strictEqual(client.tryWrite(pattern(0, 1)), 0)
      const reader = yield* Effect.forkChild(Effect.flip(client.readable))
      const writer = yield* Effect.forkChild(Effect.flip(client.writable))
      yield* Effect.yieldNow
      client.reset("enough")
      assert.strictEqual((yield* Fiber.join(reader)).reason._tag, "ResetLocally")
      assert.strictEqual((yield* Fiber.join(writer)).reason._tag, "ResetLocally")
    })
  )

  it.effect("what was written before closeWrite leaves, even when the scope closes while it is held", () =>
    Effect.gen(function* () {
      const { controls, listener, net } = yield* joined(MemoryNet.layer(), { lingerMs: 5000 })
      for (const [delayMs, end] of [
        [300, "all"],
        [30_000, "reset"]
      ] as const) {
        yield* controls.clear()
        const scope = yield* Scope.make()
        const client = yield* Scope.provide(net.connect(listener.local), scope)
        const server = yield* listener.accept
        yield* controls.set({ delayMs })
        yield* write(client, pattern(0, 1000))
        yield* client.closeWrite
        yield* client.closeWrite
        assert.strictEqual(client.tryWrite(pattern(0, 1)), 0)
        assert.strictEqual((yield* Effect.flip(client.writable)).reason._tag, "WriteClosed")
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        yield* Effect.yieldNow
        assert.strictEqual(closing.pollUnsafe(), undefined)
        const reading = yield* Effect.forkChild(
          end === "all" ? Effect.as(readExactly(server, 1000), "all") : Effect.map(reasonOf(server), () => "reset")
        )
        assert.strictEqual(yield* passing(reading, 50), end)
        yield* passing(closing, 50)
        assert.isAtMost(yield* now, 20_000)
        assert.strictEqual(yield* reasonOf(server), end === "all" ? "end" : "ResetByPeer")
      }
    })
  )

  it.effect("a flipped bit is one bit, and does not touch what the writer holds", () =>
    Effect.gen(function* () {
      const { client, controls, server } = yield* joined(MemoryNet.layer())
      yield* controls.set({ corrupt: 1 })
      const bits = (left: Uint8Array, right: Uint8Array) => {
        let count = 0
        left.forEach((byte, i) => {
          for (let x = byte ^ (right[i] ?? 0); x > 0; x >>= 1) count += x & 1
        })
        return count
      }
      const sent = pattern(0, 100)
      yield* write(client, sent)
      assert.strictEqual(bits(yield* readExactly(server, 100), pattern(0, 100)), 1)
      assert.deepStrictEqual(sent, pattern(0, 100))
      yield* write(server, sent)
      assert.strictEqual(bits(yield* readExactly(client, 100), pattern(0, 100)), 1)
      assert.strictEqual((yield* controls.counts).corrupted, 2)
    })
  )

  it.effect("refuses connections, cuts them, per host, and counts", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNet.makeNetwork()
      const { controls, net } = yield* build(over(network.host(["10.0.0.1"])))
      const [left, right] = yield* Effect.forEach(["10.0.0.2", "10.0.0.3"], (host) =>
        Effect.flatMap(Layer.build(network.host([host])), (context) => Effect.provide(Effect.service(Net), context))
      )
      if (left === undefined || right === undefined) return assert.fail("no hosts")
      const listeners = [
        yield* left.listen({ host: "10.0.0.2", port: 1 }),
        yield* right.listen({ host: "10.0.0.3", port: 1 })
      ] as const
      const toLeft = yield* net.connect(listeners[0].local)
      const toRight = yield* net.connect(listeners[1].local)
      const reader = yield* Effect.forkChild(Effect.flip(toLeft.readable))
      yield* Effect.yieldNow
      assert.strictEqual(yield* controls.cut("10.0.0.2"), 1)
      assert.strictEqual((yield* Fiber.join(reader)).reason._tag, "ResetLocally")
      assert.strictEqual(yield* reasonOf(yield* listeners[0].accept), "ResetByPeer")
      yield* write(toRight, pattern(0, 10))
      assert.deepStrictEqual(yield* readExactly(yield* listeners[1].accept, 10), pattern(0, 10))
      yield* controls.set({ refuse: true }, "10.0.0.2")
      const error = yield* Effect.flip(net.connect(listeners[0].local))
      assert.strictEqual(error.reason._tag, "ConnectionRefused")
      yield* net.connect(listeners[1].local)
      // Those who come are refused as well, and the next one is accepted.
      const own = yield* net.listen({ host: "10.0.0.1", port: 5 })
      const fromLeft = yield* left.connect(own.local)
      const accepting = yield* Effect.forkChild(own.accept)
      assert.strictEqual(yield* reasonOf(fromLeft), "ResetByPeer")
      yield* right.connect(own.local)
      assert.strictEqual((yield* Fiber.join(accepting)).remote.host, "10.0.0.3")
      const counts = yield* controls.counts
      assert.deepStrictEqual([counts.refused, counts.cut], [2, 1])
      assert.deepStrictEqual([...(yield* controls.current)], [["10.0.0.2", { refuse: true }]])
    })
  )

  it.effect("datagrams are lost, late, flipped", () =>
    Effect.gen(function* () {
      const { controls, net } = yield* build(over(MemoryNet.layer()))
      const left = yield* net.bind(at)
      const right = yield* net.bind(at)
      yield* controls.set({ dropDatagrams: 0.5 })
      for (let i = 0; i < 100; i++) yield* left.send(pattern(i, 10), right.local)
      yield* Effect.yieldNow
      const lost = (yield* controls.counts).droppedDatagrams
      assert.isTrue(lost > 25 && lost < 75, `${lost} lost`)
      yield* controls.clear()
      for (let i = 0; i < 100 - lost; i++) yield* right.receive
      yield* controls.set({ delayMs: 100 })
      yield* left.send(pattern(1, 10), right.local)
      const got = yield* Effect.forkChild(right.receive)
      yield* TestClock.adjust(99)
      assert.strictEqual(got.pollUnsafe(), undefined)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(Uint8Array.from((yield* Fiber.join(got)).bytes), pattern(1, 10))
      yield* controls.set({ corrupt: 1 })
      const sent = pattern(2, 10)
      yield* left.send(sent, right.local)
      assert.notDeepEqual(Uint8Array.from((yield* right.receive).bytes), sent)
      assert.deepStrictEqual(sent, pattern(2, 10))
      yield* controls.set({ blackHole: true })
      yield* left.send(sent, right.local)
      yield* controls.set({ bytesPerSecond: 100 })
      for (let i = 0; i < 3; i++) yield* left.send(pattern(i, 50), right.local)
      const three = yield* Effect.forkChild(Effect.andThen(right.receive, Effect.andThen(right.receive, right.receive)))
      yield* TestClock.adjust(1400)
      assert.strictEqual(three.pollUnsafe(), undefined)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(Uint8Array.from((yield* Fiber.join(three)).bytes), pattern(2, 50))
    })
  )

  it.effect("faults that come and go change no byte, and the run repeats from its seed", () =>
    Effect.gen(function* () {
      const size = 300_000
      const runOnce = (seed: number) =>
        Effect.gen(function* () {
          const { client, controls, server } = yield* joined(MemoryNet.layer(), { capacityBytes: 20_000 })
          const sending = (stream: typeof client) =>
            Effect.gen(function* () {
              for (let sent = 0; sent < size;) {
                const length = Math.min(size - sent, 1 + ((sent * 31) % 9000))
                yield* write(stream, pattern(sent, length))
                sent += length
              }
              yield* stream.closeWrite
            })
          const receiving = (stream: typeof client) =>
            Effect.gen(function* () {
              assert.deepStrictEqual(yield* readExactly(stream, size), pattern(0, size))
              assert.strictEqual(yield* read(stream), null)
            })
          const work = yield* Effect.forkChild(
            Effect.all([sending(client), sending(server), receiving(client), receiving(server)], {
              concurrency: "unbounded"
            })
          )
          const faults: ReadonlyArray<Faults> = [
            { blackHole: true },
            { delayMs: { min: 0, max: 50 } },
            { delayMs: { base: 5, tail: 20 }, bytesPerSecond: 100_000 },
            { bytesPerSecond: 50_000 },
            { bytesPerSecond: 3_000_000 },
            {}
          ]
          for (let i = 0; i < 20_000 && work.pollUnsafe() === undefined; i++) {
            yield* controls.set(faults[Math.floor((yield* Random.next) * faults.length)] ?? {})
            yield* TestClock.adjust(1 + Math.floor((yield* Random.next) * 60))
          }
          yield* Fiber.join(work)
          return yield* now
        }).pipe(Effect.scoped, Random.withSeed(`faults ${seed}`), Effect.provide(TestClock.layer()))
      for (let seed = 0; seed < 3; seed++) assert.strictEqual(yield* runOnce(seed), yield* runOnce(seed))
    })
  )

  it.live("real sockets: corrupted, cut, refused and held", () =>
    Effect.gen(function* () {
      const { client, controls, listener, net, server } = yield* joined(NodeNet.layer)
      const host = "127.0.0.1"
      yield* controls.set({ corrupt: 1 }, host)
      yield* write(client, pattern(0, 100))
      assert.notDeepEqual(yield* readExactly(server, 100), pattern(0, 100))
      yield* controls.set({ delayMs: 1, bytesPerSecond: 10_000_000 }, host)
      yield* write(client, pattern(0, 100_000))
      assert.deepStrictEqual(yield* readExactly(server, 100_000), pattern(0, 100_000))
      yield* controls.set({ blackHole: true }, host)
      yield* write(client, pattern(0, 10))
      yield* write(server, pattern(3, 10))
      const waiting = yield* Effect.forkChild(readExactly(client, 10))
      yield* Effect.sleep(20)
      assert.deepStrictEqual([server.tryRead(), waiting.pollUnsafe()], [undefined, undefined])
      yield* controls.set({ refuse: true }, host)
      assert.deepStrictEqual(yield* Fiber.join(waiting), pattern(3, 10))
      assert.deepStrictEqual(yield* readExactly(server, 10), pattern(0, 10))
      assert.strictEqual((yield* Effect.flip(net.connect(listener.local))).reason._tag, "ConnectionRefused")
      assert.strictEqual(yield* controls.cut(), 1)
      assert.strictEqual(yield* reasonOf(client), "ResetLocally")
      assert.strictEqual(yield* reasonOf(server), "ResetByPeer")
    })
  )
})
