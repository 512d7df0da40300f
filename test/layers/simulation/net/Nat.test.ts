import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { NatKind, SimHost } from "../../../../src/layers/simulation/net/SimNetwork.ts"
import { write } from "../../../../src/services/ByteStream.ts"
import type { DatagramSocket, Endpoint } from "../../../../src/services/Net.ts"
import { pattern, readExactly } from "../../../../src/conformance/ByteStream.ts"
import { makeSim, runIn } from "./harness.ts"

const kinds = ["none", "endpoint-independent", "address-dependent", "address-port-dependent", "symmetric"] as const

/** Who gets in after the inner host has sent to `port 1` of a server. */
const lets: Readonly<
  Record<NatKind, { samePort: boolean; otherPort: boolean; otherHost: boolean; oneMapping: boolean }>
> = {
  none: { samePort: true, otherPort: true, otherHost: true, oneMapping: true },
  "endpoint-independent": { samePort: true, otherPort: true, otherHost: true, oneMapping: true },
  "address-dependent": { samePort: true, otherPort: true, otherHost: false, oneMapping: true },
  "address-port-dependent": { samePort: true, otherPort: false, otherHost: false, oneMapping: true },
  symmetric: { samePort: true, otherPort: false, otherHost: false, oneMapping: false }
}

const home = (kind: NatKind, options?: { mappingTimeoutMs: number }) => {
  const sim = makeSim({ link: { latencyMs: 10 } })
  const nat = sim.network.addNat({ name: "home", address: "203.0.113.1", kind, ...options })
  const inner = sim.host({ name: "inner", addresses: ["192.168.1.2"], behind: nat })
  const server = sim.host({ name: "server", addresses: ["198.51.100.1"] })
  const stranger = sim.host({ name: "stranger", addresses: ["198.51.100.2"] })
  return { sim, nat, inner, server, stranger }
}

const bound = (host: SimHost, port: number) => host.net.bind({ host: "0.0.0.0", port })

const gets = (socket: DatagramSocket, from: DatagramSocket, to: Endpoint) =>
  Effect.gen(function* () {
    const waiting = yield* Effect.forkChild(socket.receive)
    yield* from.send(pattern(0, 1), to)
    yield* Effect.sleep(1000)
    const got = waiting.pollUnsafe() !== undefined
    yield* Fiber.interrupt(waiting)
    return got
  })

describe("NAT, datagrams", () => {
  for (const kind of kinds) {
    it(`${kind}: maps and filters as its kind does`, () => {
      const { inner, server, sim, stranger } = home(kind)
      runIn(
        sim,
        Effect.gen(function* () {
          const socket = yield* bound(inner, 4001)
          const first = yield* bound(server, 1)
          const second = yield* bound(server, 2)
          const third = yield* bound(stranger, 1)
          yield* socket.send(pattern(0, 1), { host: "198.51.100.1", port: 1 })
          const { from } = yield* first.receive
          assert.strictEqual(from.host, "203.0.113.1")
          const samePort = yield* gets(socket, first, from)
          const otherPort = yield* gets(socket, second, from)
          const otherHost = yield* gets(socket, third, from)
          yield* socket.send(pattern(0, 1), { host: "198.51.100.2", port: 1 })
          const seen = (yield* third.receive).from
          const oneMapping = seen.port === from.port
          assert.deepStrictEqual({ samePort, otherPort, otherHost, oneMapping }, lets[kind])
          assert.strictEqual(
            (yield* Effect.flip(stranger.net.connect({ host: "192.168.1.2", port: 1 }))).reason._tag,
            "Unreachable"
          )
        })
      )
    })
  }

  it("a mapping that sends nothing is forgotten, one that does is kept", () => {
    const { inner, server, sim } = home("endpoint-independent", { mappingTimeoutMs: 30_000 })
    runIn(
      sim,
      Effect.gen(function* () {
        const socket = yield* bound(inner, 4001)
        const first = yield* bound(server, 1)
        const to = { host: "198.51.100.1", port: 1 }
        yield* socket.send(pattern(0, 1), to)
        const { from } = yield* first.receive
        for (let i = 0; i < 3; i++) {
          yield* Effect.sleep(20_000)
          yield* socket.send(pattern(0, 1), to)
          yield* first.receive
        }
        assert.isTrue(yield* gets(socket, first, from))
        yield* Effect.sleep(31_000)
        assert.isFalse(yield* gets(socket, first, from))
      })
    )
  })
})

/** A dials B while B dials A, from their listening ports; each towards the endpoint that the other was seen at. */
const punch = (a: SimHost, b: SimHost, rendezvous: SimHost) =>
  Effect.gen(function* () {
    const meeting = yield* rendezvous.net.listen({ host: "0.0.0.0", port: 9 })
    const observe = (host: SimHost) =>
      Effect.gen(function* () {
        yield* host.net.listen({ host: "0.0.0.0", port: 4001, reusePort: true })
        yield* host.net.connect({ host: rendezvous.addresses[0] ?? "", port: 9, localPort: 4001 })
        return (yield* meeting.accept).remote
      })
    const seenA = yield* observe(a)
    const seenB = yield* observe(b)
    const dial = (host: SimHost, to: Endpoint) => Effect.result(host.net.connect({ ...to, localPort: 4001 }))
    const both = yield* Effect.all([dial(a, seenB), Effect.delay(dial(b, seenA), 5)], { concurrency: "unbounded" })
    const [left, right] = both
    if (left._tag !== "Success" || right._tag !== "Success") return [left._tag, right._tag]
    yield* write(left.success, pattern(0, 10))
    assert.deepStrictEqual(yield* readExactly(right.success, 10), pattern(0, 10))
    yield* write(right.success, pattern(0, 10))
    assert.deepStrictEqual(yield* readExactly(left.success, 10), pattern(0, 10))
    return ["met"]
  })

describe("NAT, connections", () => {
  for (const kind of kinds) {
    it(`${kind}: outbound connects, inbound ${kind === "none" ? "too" : "is dropped silently"}`, () => {
      const { inner, server, sim, stranger } = home(kind)
      runIn(
        sim,
        Effect.gen(function* () {
          const listener = yield* server.net.listen({ host: "0.0.0.0", port: 80 })
          yield* inner.net.listen({ host: "0.0.0.0", port: 4001 })
          const client = yield* inner.net.connect({ host: "198.51.100.1", port: 80 })
          const accepted = yield* listener.accept
          assert.deepStrictEqual([client.local.host, accepted.remote.host], ["192.168.1.2", "203.0.113.1"])
          yield* write(accepted, pattern(0, 10))
          assert.deepStrictEqual(yield* readExactly(client, 10), pattern(0, 10))
          const dialled = yield* Effect.result(stranger.net.connect({ host: "203.0.113.1", port: 4001 }))
          if (kind === "none") assert.strictEqual(dialled._tag, "Success")
          else assert.isTrue(dialled._tag === "Failure" && dialled.failure.reason._tag === "ConnectTimeout")
        })
      )
    })
  }

  it("a listener behind a full cone is reached once it has dialled out from its port", () => {
    const { inner, server, sim, stranger } = home("endpoint-independent")
    runIn(
      sim,
      Effect.gen(function* () {
        const listener = yield* server.net.listen({ host: "0.0.0.0", port: 80 })
        const own = yield* inner.net.listen({ host: "0.0.0.0", port: 4001, reusePort: true })
        yield* inner.net.connect({ host: "198.51.100.1", port: 80, localPort: 4001 })
        const seen = (yield* listener.accept).remote
        yield* stranger.net.connect(seen)
        assert.strictEqual((yield* own.accept).remote.host, "198.51.100.2")
      })
    )
  })

  it("hosts behind one NAT reach each other by their private addresses, hosts behind two do not", () => {
    const { inner, nat, sim } = home("symmetric")
    const beside = sim.host({ addresses: ["192.168.1.3"], behind: nat })
    const other = sim.network.addNat({ name: "other", address: "203.0.113.2", kind: "symmetric" })
    const far = sim.host({ addresses: ["192.168.1.2"], behind: other })
    runIn(
      sim,
      Effect.gen(function* () {
        const listener = yield* inner.net.listen({ host: "0.0.0.0", port: 80 })
        yield* beside.net.connect({ host: "192.168.1.2", port: 80 })
        assert.strictEqual((yield* listener.accept).remote.host, "192.168.1.3")
        assert.strictEqual(
          (yield* Effect.flip(far.net.connect({ host: "192.168.1.3", port: 80 }))).reason._tag,
          "Unreachable"
        )
      })
    )
  })

  // They meet unless a mapping is not the one that was seen; a full cone still lets the other in, to its listener.
  const punches: ReadonlyArray<readonly [NatKind, NatKind, ReadonlyArray<string>]> = [
    ["endpoint-independent", "endpoint-independent", ["met"]],
    ["address-dependent", "address-port-dependent", ["met"]],
    ["address-port-dependent", "address-port-dependent", ["met"]],
    ["endpoint-independent", "symmetric", ["Failure", "Success"]],
    ["address-dependent", "symmetric", ["Failure", "Success"]],
    ["address-port-dependent", "symmetric", ["Failure", "Failure"]],
    ["symmetric", "symmetric", ["Failure", "Failure"]]
  ]
  for (const [left, right, expected] of punches) {
    it(`both dial at once, ${left} and ${right}: ${expected.join(", ")}`, () => {
      const { inner, server, sim } = home(left)
      const other = sim.network.addNat({ name: "other", address: "203.0.113.2", kind: right })
      const far = sim.host({ name: "far", addresses: ["192.168.7.2"], behind: other })
      assert.deepStrictEqual(runIn(sim, punch(inner, far, server)), expected)
    })
  }

  it("a firewall lets out, and in only what answers", () => {
    const sim = makeSim({ link: { latencyMs: 10 } })
    const shy = sim.host({ firewall: "outbound-only" })
    const open = sim.host()
    runIn(
      sim,
      Effect.gen(function* () {
        yield* shy.net.listen({ host: "0.0.0.0", port: 1 })
        const listener = yield* open.net.listen({ host: "0.0.0.0", port: 1 })
        yield* shy.net.connect({ host: "10.0.0.2", port: 1 })
        yield* listener.accept
        assert.strictEqual(
          (yield* Effect.flip(open.net.connect({ host: "10.0.0.1", port: 1 }))).reason._tag,
          "ConnectTimeout"
        )
        yield* shy.net.connect({ host: "127.0.0.1", port: 1 })
        const inside = yield* bound(shy, 5)
        const outside = yield* bound(open, 5)
        assert.isFalse(yield* gets(inside, outside, { host: "10.0.0.1", port: 5 }))
        yield* inside.send(pattern(0, 1), { host: "10.0.0.2", port: 5 })
        assert.isTrue(yield* gets(inside, outside, { host: "10.0.0.1", port: 5 }))
      })
    )
  })
})
