import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import * as Presets from "../../../../src/layers/simulation/net/Presets.ts"
import type { SimHost } from "../../../../src/layers/simulation/net/SimNetwork.ts"
import { read, write } from "../../../../src/services/ByteStream.ts"
import { pattern } from "../../../../src/conformance/ByteStream.ts"
import { makeSim, runIn, type SimOptions } from "./harness.ts"

/** Hosts that talk at random, by streams and datagrams, while faults come and go; gives the hash of all that happened. */
const chaos = (options: SimOptions): { hash: string; events: number; answered: number } => {
  const sim = makeSim({ link: Presets.mobile, traceSegments: true, ...options })
  const { network, world } = sim
  const random = world.random.fork("test")
  const nat = network.addNat({ name: "home", address: "203.0.113.1", kind: "symmetric" })
  const hosts = Array.from({ length: 8 }, (_, i) => sim.host(i < 6 ? {} : { behind: nat }))
  const open = hosts.slice(0, 6)
  let answered = 0
  const echo = (host: SimHost) =>
    Effect.gen(function* () {
      const listener = yield* host.net.listen({ host: "0.0.0.0", port: 7 })
      const serve = Effect.scoped(
        Effect.gen(function* () {
          const stream = yield* listener.accept
          yield* Effect.forkChild(Effect.scoped(Effect.never))
          for (;;) {
            const bytes = yield* read(stream)
            if (bytes === null) return yield* stream.closeWrite
            yield* write(stream, bytes)
          }
        })
      )
      const worker = Effect.forever(Effect.result(serve))
      for (let i = 0; i < 4; i++) yield* Effect.forkChild(worker)
    })
  const talk = (host: SimHost) =>
    Effect.gen(function* () {
      const socket = yield* host.net.bind({ host: "0.0.0.0", port: 9 })
      for (let i = 0; i < 10; i++) {
        const to = random.pick(open)?.addresses[0] ?? ""
        yield* Effect.ignore(socket.send(random.bytes(100), { host: to, port: 9 }))
        yield* Effect.ignore(
          Effect.scoped(
            Effect.gen(function* () {
              const stream = yield* host.net.connect({ host: to, port: 7 })
              yield* write(stream, random.bytes(random.below(5000)))
              yield* stream.closeWrite
              while ((yield* read(stream)) !== null) answered++
            })
          ).pipe(Effect.timeout(20_000))
        )
      }
    })
  const faults = Effect.gen(function* () {
    for (let i = 0; i < 20; i++) {
      const [a, b] = [random.pick(hosts), random.pick(hosts)]
      if (a === undefined || b === undefined) continue
      const fault = random.below(7)
      if (fault === 0) network.partition([a], [b], { oneWay: random.chance(0.5) })
      if (fault === 1) network.isolate(a)
      if (fault === 2) network.hold(a, b)
      if (fault === 3) network.clog(a, b, 300)
      if (fault === 4) network.resetConnections(a)
      if (fault === 5) network.slowReads(a, 500)
      if (fault === 6) network.corrupt(a, b, 0.5)
      yield* Effect.sleep(random.below(3000))
      if (random.chance(0.4)) network.heal()
    }
    network.heal()
  })
  runIn(
    sim,
    Effect.gen(function* () {
      yield* Effect.forEach(hosts, echo)
      yield* Effect.all([faults, ...hosts.map(talk)], { concurrency: "unbounded" })
    })
  )
  assert.strictEqual(network.faultsAlive(), 0)
  return { hash: world.trace.hash(), events: world.events, answered }
}

describe("a seed", () => {
  it("gives the same run, to the byte, in order and shuffled; another seed gives another", () => {
    for (const shuffle of [false, true]) {
      const hashes = new Set<string>()
      for (const seed of [1, 2]) {
        const first = chaos({ seed, shuffle })
        assert.deepStrictEqual(chaos({ seed, shuffle }), first)
        assert.isAbove(first.answered, 20)
        hashes.add(first.hash)
      }
      assert.strictEqual(hashes.size, 2)
    }
  })

  it("many seeds: nothing hangs, dies or stays behind", () => {
    for (let seed = 10; seed < 30; seed++) chaos({ seed, shuffle: seed % 2 === 0 })
  })
})

describe("presets", () => {
  it("latencies are those of the scenario", () => {
    assert.deepStrictEqual(
      [
        Presets.latencyBetween("europe", "na_east"),
        Presets.latencyBetween("australia", "south_africa"),
        Presets.latencyBetween("south_africa", "south_america"),
        Presets.latencyBetween("south_america", "south_africa"),
        Presets.latencyBetween("west_asia", "west_asia")
      ],
      [70, 220, 190, 195, 5]
    )
    for (const from of Presets.regions) {
      for (const to of Presets.regions) assert.isAbove(Presets.latencyBetween(from, to), 0)
    }
  })

  it("most hosts are in Europe, a fifth are fast", () => {
    const world = Presets.ethereumLike(new Prng("places"))
    const places = Array.from({ length: 2000 }, (_, i) => world.place(`n${i}`))
    const share = (is: (place: Presets.Place) => boolean) => places.filter(is).length / places.length
    assert.approximately(
      share(({ region }) => region === "europe"),
      0.49,
      0.05
    )
    assert.approximately(
      share(({ upBitsPerSecond }) => upBitsPerSecond === 1_024_000_000),
      0.2,
      0.04
    )
  })

  it("links follow the regions", () => {
    const sim = makeSim()
    const world = Presets.ethereumLike(sim.world.random)
    sim.network.setLinks(world.links)
    const hosts = Array.from({ length: 10 }, (_, i) => [world.place(`n${i + 1}`), sim.host()] as const)
    const [first] = hosts
    if (first === undefined) return assert.fail("no hosts")
    runIn(
      sim,
      Effect.gen(function* () {
        yield* first[1].net.listen({ host: "0.0.0.0", port: 1 })
        for (const [place, host] of hosts.slice(1)) {
          const start = sim.now()
          yield* host.net.connect({ host: "10.0.0.1", port: 1 })
          const trip =
            Presets.latencyBetween(place.region, first[0].region) +
            Presets.latencyBetween(first[0].region, place.region)
          assert.approximately(sim.now() - start, trip, 1e-6)
        }
      })
    )
  })

  it("a link of one pair comes before the matrix", () => {
    const sim = makeSim({ link: { latencyMs: 10 } })
    const [left, right] = [sim.host(), sim.host()]
    runIn(
      sim,
      Effect.gen(function* () {
        yield* right.net.listen({ host: "0.0.0.0", port: 1 })
        const trip = Effect.gen(function* () {
          const start = sim.now()
          yield* left.net.connect({ host: "10.0.0.2", port: 1 })
          return sim.now() - start
        })
        assert.strictEqual(yield* trip, 20)
        sim.network.setLink(left, right, { latencyMs: 100 })
        assert.strictEqual(yield* trip, 110)
        sim.network.setLinks(() => ({ latencyMs: 1 }))
        assert.strictEqual(yield* trip, 101)
      })
    )
  })
})

describe("cost", () => {
  it("a small message takes one event of the network", () => {
    const sim = makeSim({ link: { latencyMs: 10 } })
    const [left, right] = [sim.host(), sim.host()]
    runIn(
      sim,
      Effect.gen(function* () {
        const listener = yield* right.net.listen({ host: "0.0.0.0", port: 1 })
        const client = yield* left.net.connect({ host: "10.0.0.2", port: 1 })
        const server = yield* listener.accept
        const before = sim.world.timeline.events
        for (let i = 0; i < 100; i++) {
          yield* write(client, pattern(i, 100))
          yield* read(server)
        }
        assert.strictEqual(sim.world.timeline.events - before, 100)
      })
    )
    assert.isAtMost(sim.world.timeline.pending, 5)
  })
})
