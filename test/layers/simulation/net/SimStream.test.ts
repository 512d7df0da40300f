import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import type { LinkOptions, SimHost } from "../../../../src/layers/simulation/net/SimNetwork.ts"
import { nextRetry } from "../../../../src/layers/simulation/net/Link.ts"
import { read, write } from "../../../../src/services/ByteStream.ts"
import { pattern, readExactly, reasonOf } from "../../../../src/conformance/ByteStream.ts"
import { makeSim, runIn, type SimOptions, twoHosts } from "./harness.ts"

const port = 4001
const at = (host: SimHost) => ({ host: host.addresses[0] ?? "", port })

/** Two hosts with a connection from left to right. */
const joined = (link: LinkOptions, options?: SimOptions) => {
  const two = twoHosts(link, options)
  const connection = Effect.gen(function* () {
    const listener = yield* two.right.net.listen(at(two.right))
    const client = yield* two.left.net.connect(at(two.right))
    const server = yield* listener.accept
    return { client, server, listener }
  })
  return { ...two, connection }
}

describe("time on the wire", () => {
  it("connecting takes a round trip, a byte half of one", () => {
    const { connection, now, sim } = joined({ latencyMs: 30 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        // There, back, and the last step of the handshake there.
        assert.strictEqual(now(), 90)
        yield* write(client, pattern(0, 1))
        yield* readExactly(server, 1)
        assert.strictEqual(now(), 120)
        yield* client.closeWrite
        assert.strictEqual(yield* read(server), null)
        assert.strictEqual(now(), 150)
      })
    )
  })

  it("a refusal takes a round trip", () => {
    const { left, now, right, sim } = twoHosts({ latencyMs: 30 })
    const error = runIn(sim, Effect.flip(left.net.connect(at(right))))
    assert.deepStrictEqual([error.reason._tag, now()], ["ConnectionRefused", 60])
  })

  it("bandwidth takes its time, and streams queue for it", () => {
    // A byte a millisecond.
    const { connection, now, sim } = joined({ latencyMs: 10, bitsPerSecond: 8000 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        const start = now()
        yield* write(client, pattern(0, 500))
        yield* write(client, pattern(500, 500))
        assert.deepStrictEqual(yield* readExactly(server, 500), pattern(0, 500))
        assert.strictEqual(now() - start, 510)
        yield* readExactly(server, 500)
        assert.strictEqual(now() - start, 1010)
      })
    )
  })

  it("a window bounds what is under way: a window for each round trip", () => {
    const { connection, now, sim } = joined({ latencyMs: 50 }, { windowBytes: 10_000 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        const start = now()
        const writing = yield* Effect.forkChild(write(client, pattern(0, 100_000)))
        assert.deepStrictEqual(yield* readExactly(server, 100_000), pattern(0, 100_000))
        yield* Fiber.join(writing)
        assert.strictEqual(now() - start, 9 * 100 + 50)
      })
    )
  })

  it("all connections of a host share its uplink, and its downlink", () => {
    for (const side of ["up", "down"] as const) {
      const sim = makeSim({ link: { latencyMs: 10 } })
      const rate = { [`${side}BitsPerSecond`]: 8000 }
      const many = [sim.host(), sim.host()]
      const one = sim.host(rate)
      runIn(
        sim,
        Effect.gen(function* () {
          const times: Array<number> = []
          const pairs = yield* Effect.forEach(many, (host) =>
            Effect.gen(function* () {
              const [from, to] = side === "up" ? [one, host] : [host, one]
              const listener = yield* to.net.listen({ host: "0.0.0.0", port: 0 })
              const client = yield* from.net.connect({ ...at(to), port: listener.local.port })
              return [client, yield* listener.accept] as const
            })
          )
          const start = sim.now()
          yield* Effect.forEach(
            pairs,
            ([client, server]) =>
              Effect.gen(function* () {
                yield* write(client, pattern(0, 1000))
                yield* readExactly(server, 1000)
                times.push(sim.now() - start)
              }),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(times, [1010, 2010])
        })
      )
    }
  })

  it("latency follows its distribution, and stays in order", () => {
    const { connection, now, sim } = joined({ latencyMs: { min: 10, mean: 30, max: 100 } })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        const delays: Array<number> = []
        for (let i = 0; i < 300; i++) {
          const start = now()
          yield* write(client, pattern(0, 1))
          yield* readExactly(server, 1)
          delays.push(now() - start)
        }
        assert.isAtLeast(Math.min(...delays), 10)
        assert.isAtMost(Math.max(...delays), 100 + 1e-9)
        const mean = delays.reduce((a, b) => a + b) / delays.length
        assert.isTrue(mean > 25 && mean < 35, `mean ${mean}`)
        for (let i = 0; i < 100; i++) yield* write(client, pattern(i, 1))
        assert.deepStrictEqual(yield* readExactly(server, 100), pattern(0, 100))
      })
    )
  })

  it("a lost segment is late by the retransmission, and nothing is missing", () => {
    const { connection, network, now, sim } = joined({ latencyMs: 10, loss: 0.2 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        const delays = new Set<number>()
        for (let i = 0; i < 200; i++) {
          const start = now()
          yield* write(client, pattern(i, 1))
          assert.deepStrictEqual(yield* readExactly(server, 1), pattern(i, 1))
          delays.add(Math.round(now() - start))
        }
        // Once, twice, three times: 200, 600, 1400 ms more.
        for (const delay of [10, 210, 610]) assert.isTrue(delays.has(delay), `${delay} in ${[...delays].join(" ")}`)
        assert.isAbove(network.stats.retransmitted, 20)
      })
    )
  })
})

describe("partitions", () => {
  it("two-way: nothing passes; after healing it flows with the next retransmission, in order", () => {
    const { connection, left, network, now, right, sim } = joined({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        network.partition([left], [right])
        network.partition([left], [right])
        assert.strictEqual(network.faultsAlive(), 1)
        const start = now()
        yield* write(client, pattern(0, 10))
        yield* write(client, pattern(10, 10))
        yield* write(server, pattern(0, 5))
        yield* client.closeWrite
        yield* Effect.sleep(5000)
        assert.strictEqual(server.tryRead(), undefined)
        assert.strictEqual(client.tryRead(), undefined)
        network.heal()
        assert.strictEqual(network.faultsAlive(), 0)
        assert.deepStrictEqual(yield* readExactly(server, 20), pattern(0, 20))
        // Sent at 0, again after 200, 600, 1400, 3000, 6200 ms.
        assert.strictEqual(now() - start, 6210)
        assert.strictEqual(yield* read(server), null)
        assert.deepStrictEqual(yield* readExactly(client, 5), pattern(0, 5))
      })
    )
  })

  it("what was under way when it began is sent again", () => {
    const { connection, left, network, right, sim } = joined({ latencyMs: 100 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        yield* write(client, pattern(0, 10))
        yield* Effect.sleep(50)
        network.partition([left], [right])
        yield* Effect.sleep(1000)
        assert.strictEqual(server.tryRead(), undefined)
        network.heal()
        yield* write(client, pattern(10, 10))
        assert.deepStrictEqual(yield* readExactly(server, 20), pattern(0, 20))
      })
    )
  })

  it("one-way: only the other direction passes, until its sender hears nothing for two minutes", () => {
    const { connection, left, network, now, right, sim } = joined({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        network.partition([left], [right], { oneWay: true })
        const start = now()
        yield* write(server, pattern(0, 5))
        assert.deepStrictEqual(yield* readExactly(client, 5), pattern(0, 5))
        assert.strictEqual(now() - start, 10)
        yield* write(client, pattern(0, 5))
        assert.strictEqual(yield* reasonOf(server), "ConnectionLost")
        // No acknowledgement came back.
        assert.strictEqual(now() - start, 120_010)
        assert.strictEqual(yield* reasonOf(client), "ConnectionLost")
        assert.strictEqual(now() - start, 120_010)
      })
    )
  })

  it("a one-way cut that heals in time loses nothing", () => {
    const { connection, left, network, right, sim } = joined({ latencyMs: 10 }, { windowBytes: 1000 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        network.partition([right], [left], { oneWay: true })
        const writing = yield* Effect.forkChild(write(client, pattern(0, 5000)))
        assert.deepStrictEqual(yield* readExactly(server, 1000), pattern(0, 1000))
        yield* Effect.sleep(60_000)
        assert.strictEqual(server.tryRead(), undefined)
        network.heal()
        assert.deepStrictEqual(yield* readExactly(server, 4000), pattern(1000, 4000))
        yield* Fiber.join(writing)
        yield* Effect.sleep(300_000)
        yield* write(client, pattern(0, 1))
        yield* readExactly(server, 1)
      })
    )
  })

  it("data that makes no progress for two minutes ends the connection; an idle one lives on", () => {
    const { connection, left, network, now, right, sim } = joined({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        network.partition([left], [right])
        yield* Effect.sleep(600_000)
        network.heal()
        yield* write(client, pattern(0, 1))
        yield* readExactly(server, 1)
        network.partition([left], [right])
        const start = now()
        yield* write(client, pattern(0, 1))
        assert.strictEqual(yield* reasonOf(client), "ConnectionLost")
        assert.strictEqual(now() - start, 120_000)
        // The other end does not know; when it speaks, it learns.
        network.heal()
        yield* Effect.sleep(1000)
        assert.strictEqual(server.tryRead(), undefined)
        yield* write(server, pattern(0, 1))
        assert.strictEqual(yield* reasonOf(server), "ResetByPeer")
      })
    )
  })

  it("connecting is tried again at 1, 3, 7 s and given up after 60", () => {
    const { left, network, now, right, sim } = twoHosts({ latencyMs: 10 })
    network.isolate(right)
    runIn(
      sim,
      Effect.gen(function* () {
        yield* right.net.listen(at(right))
        const error = yield* Effect.flip(left.net.connect(at(right)))
        assert.deepStrictEqual([error.reason._tag, now()], ["ConnectTimeout", 60_000])
        const dialling = yield* Effect.forkChild(left.net.connect(at(right)))
        yield* Effect.sleep(4000)
        network.heal()
        yield* Fiber.join(dialling)
        assert.strictEqual(now(), 67_020)
      })
    )
  })
})

describe("other faults", () => {
  it("held packets wait in order, and arrive at the release", () => {
    const { connection, left, network, now, right, sim } = joined({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        network.hold(left, right)
        for (let i = 0; i < 20; i++) yield* write(client, pattern(i * 10, 10))
        yield* client.closeWrite
        yield* Effect.sleep(5000)
        assert.strictEqual(server.tryRead(), undefined)
        const start = now()
        network.release(left, right)
        assert.deepStrictEqual(yield* readExactly(server, 200), pattern(0, 200))
        assert.strictEqual(yield* read(server), null)
        assert.strictEqual(now(), start)
      })
    )
  })

  it("a clog is more latency, one way", () => {
    const { connection, left, network, now, right, sim } = joined({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        network.clog(left, right, 500)
        const start = now()
        yield* write(client, pattern(0, 1))
        yield* readExactly(server, 1)
        yield* write(server, pattern(0, 1))
        yield* readExactly(client, 1)
        assert.strictEqual(now() - start, 520)
      })
    )
  })

  it("corruption flips one bit", () => {
    const { connection, left, network, right, sim } = joined({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        network.corrupt(left, right, 1)
        yield* write(client, new Uint8Array(1000))
        const got = yield* readExactly(server, 1000)
        const ones = got.reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0)
        assert.deepStrictEqual([ones, network.stats.corrupted], [1, 1])
      })
    )
  })

  // An answer that was lost was not sent again: both waited for each other until they gave up.
  it("two that dial each other at once meet, whatever is lost on the way", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { left, right, sim } = twoHosts({ latencyMs: 10, loss: 0.3 }, { seed })
      const dial = (from: SimHost, to: SimHost) =>
        from.net.connect({ host: to.addresses[0] ?? "", port: 1, localPort: 1 }).pipe(Effect.timeout("30 seconds"))
      runIn(
        sim,
        Effect.gen(function* () {
          for (const host of [left, right]) yield* host.net.listen({ host: "0.0.0.0", port: 1, reusePort: true })
          yield* Effect.all([dial(left, right), dial(right, left)], { concurrency: 2 })
        })
      )
    }
  })

  it("a reset by the network reaches both ends at once", () => {
    const { connection, left, network, right, sim } = joined({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        assert.strictEqual(network.resetConnections(left, left), 0)
        assert.strictEqual(network.resetConnections(left, right), 1)
        assert.strictEqual(network.resetConnections(left), 0)
        assert.strictEqual(yield* reasonOf(client), "ResetByPeer")
        assert.strictEqual(yield* reasonOf(server), "ResetByPeer")
      })
    )
  })

  it("a slow reader holds its sender back", () => {
    const { connection, network, now, right, sim } = joined({ latencyMs: 10 }, { windowBytes: 2000 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        network.slowReads(right, 1000)
        const start = now()
        const writing = yield* Effect.forkChild(write(client, pattern(0, 10_000)))
        assert.deepStrictEqual(yield* readExactly(server, 5000), pattern(0, 5000))
        assert.approximately(now() - start, 5000, 100)
        assert.isUndefined(writing.pollUnsafe())
        network.heal()
        assert.deepStrictEqual(yield* readExactly(server, 5000), pattern(5000, 5000))
        assert.isBelow(now() - start, 6000)
        yield* Fiber.join(writing)
      })
    )
  })

  it("an address that goes away cuts its connections here, and leaves the other side in silence", () => {
    const { connection, left, now, right, sim } = joined({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, listener, server } = yield* connection
        left.setAddresses(["10.0.0.77"])
        assert.strictEqual(yield* reasonOf(client), "ConnectionLost")
        const start = now()
        yield* write(server, pattern(0, 1))
        assert.strictEqual(yield* reasonOf(server), "ConnectionLost")
        assert.strictEqual(now() - start, 120_000)
        const interfaces = yield* left.net.interfaces
        assert.isTrue(interfaces.some(({ host }) => host === "10.0.0.77"))
        yield* left.net.connect(at(right))
        assert.strictEqual((yield* listener.accept).remote.host, "10.0.0.77")
        const error = yield* Effect.flip(right.net.connect({ host: "10.0.0.1", port: 1 }))
        assert.strictEqual(error.reason._tag, "Unreachable")
      })
    )
  })

  it("names fail when told to, and for an isolated host after a while", () => {
    const { left, network, now, sim } = twoHosts(
      {},
      { names: { "a.example": { addresses: ["10.0.0.9", "fd00::9"], txt: ["x=1"] } } }
    )
    runIn(
      sim,
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* left.net.lookup("a.example", 6), ["fd00::9"])
        assert.deepStrictEqual(yield* left.net.lookupTxt("a.example"), ["x=1"])
        const lookup = Effect.map(Effect.flip(left.net.lookup("a.example", 4)), ({ reason }) => reason._tag)
        network.failDns(undefined, true)
        assert.strictEqual(yield* lookup, "LookupFailed")
        network.failDns(undefined, false)
        network.failDns(left, true)
        assert.strictEqual(yield* lookup, "LookupFailed")
        network.heal()
        network.isolate(left)
        const start = now()
        assert.strictEqual(yield* lookup, "LookupFailed")
        assert.strictEqual(now() - start, 5000)
        network.heal()
        network.setName("a.example", undefined)
        assert.strictEqual(yield* lookup, "NameNotFound")
      })
    )
  })
})

describe("a crash", () => {
  it("says nothing; the other end times out while the host is down", () => {
    const { connection, left, now, right, sim } = joined({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        const old = right.net
        right.crash()
        right.crash()
        assert.isFalse(right.up)
        assert.strictEqual(yield* reasonOf(server), "ConnectionLost")
        assert.strictEqual((yield* Effect.flip(old.listen(at(right)))).reason._tag, "SystemRefused")
        assert.strictEqual((yield* Effect.flip(old.connect(at(left)))).reason._tag, "SystemRefused")
        assert.strictEqual((yield* Effect.flip(old.bind(at(right)))).reason._tag, "SystemRefused")
        yield* Effect.sleep(10_000)
        assert.strictEqual(client.tryRead(), undefined)
        const start = now()
        yield* write(client, pattern(0, 1))
        const dialled = yield* Effect.flip(left.net.connect(at(right)))
        assert.strictEqual(dialled.reason._tag, "ConnectTimeout")
        assert.strictEqual(yield* reasonOf(client), "ConnectionLost")
        assert.strictEqual(now() - start, 120_000)
      })
    )
  })

  it("a host that is up again resets what it does not know", () => {
    const { connection, left, now, right, sim } = joined({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client } = yield* connection
        right.crash()
        const start = now()
        yield* write(client, pattern(0, 1))
        yield* Effect.sleep(1000)
        right.boot()
        right.boot()
        assert.strictEqual(yield* reasonOf(client), "ResetByPeer")
        // Sent again after 1400 ms, and the answer.
        assert.strictEqual(now() - start, 1420)
        assert.strictEqual((yield* Effect.flip(left.net.connect(at(right)))).reason._tag, "ConnectionRefused")
        const listener = yield* right.net.listen(at(right))
        yield* left.net.connect(at(right))
        yield* listener.accept
      })
    )
  })

  it("nothing leaves the host that crashed, though its scopes close later", () => {
    const { left, network, right, sim } = twoHosts({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const listener = yield* right.net.listen(at(right))
        const scope = yield* Scope.make()
        yield* Scope.provide(left.net.listen(at(left)), scope)
        const client = yield* Scope.provide(left.net.connect(at(right)), scope)
        const server = yield* listener.accept
        yield* write(client, pattern(0, 10))
        yield* readExactly(server, 10)
        left.crash()
        yield* Scope.close(scope, Exit.void)
        yield* Effect.sleep(10_000)
        assert.strictEqual(server.tryRead(), undefined)
        assert.strictEqual(server.tryWrite(pattern(0, 1)), 1)
        assert.strictEqual(network.stats.resets, 0)
      })
    )
  })

  it("a node that is paused does not notice, and its peer is not told", () => {
    const sim = makeSim({ link: { latencyMs: 10 } })
    const left = sim.host()
    const place = sim.world.place("paused")
    const right = sim.host({ schedule: place.scheduler.schedule })
    let got = 0
    const server = Effect.scoped(
      Effect.gen(function* () {
        const listener = yield* right.net.listen(at(right))
        const stream = yield* listener.accept
        for (;;) got += (yield* read(stream))?.length ?? 0
      })
    )
    const running = sim.world.fork(place, server)
    runIn(
      sim,
      Effect.gen(function* () {
        const client = yield* left.net.connect(at(right))
        yield* write(client, pattern(0, 10))
        yield* Effect.sleep(100)
        assert.strictEqual(got, 10)
        place.scheduler.pause()
        yield* write(client, pattern(0, 20))
        yield* Effect.sleep(300_000)
        assert.strictEqual(got, 10)
        assert.strictEqual(client.tryRead(), undefined)
        assert.strictEqual(client.tryWrite(pattern(0, 1)), 1)
        place.scheduler.resume()
        yield* Effect.sleep(100)
        assert.strictEqual(got, 31)
      })
    )
    assert.isUndefined(running.pollUnsafe())
  })

  it("what the host sent before, still arrives if it was already received", () => {
    const { connection, left, sim } = joined({ latencyMs: 10 })
    runIn(
      sim,
      Effect.gen(function* () {
        const { client, server } = yield* connection
        yield* write(client, pattern(0, 10))
        yield* Effect.sleep(20)
        yield* write(client, pattern(10, 10))
        left.crash()
        yield* Effect.sleep(1000)
        assert.deepStrictEqual(yield* readExactly(server, 10), pattern(0, 10))
        assert.strictEqual(server.tryRead(), undefined)
      })
    )
  })
})

it("retransmissions double", () => {
  assert.deepStrictEqual(
    [0, 1, 200, 201, 600, 5000].map((now) => nextRetry(0, now, 200)),
    [200, 200, 200, 600, 600, 6200]
  )
})
