import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import * as Keys from "../../../src/data/Keys.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import { Identify, pushProtocol } from "../../../src/services/Identify.ts"
import { Identity } from "../../../src/services/Identity.ts"
import { PeerStore } from "../../../src/services/PeerStore.ts"
import { Protocols } from "../../../src/services/Protocols.ts"
import * as SignedEnvelope from "../../../src/services/SignedEnvelope.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { at, identityOf, layer, listenTo, meet, type Node, pushMessage, pushRaw, tally } from "./network.ts"

const nodes = 3
const options = { nodes, layer: layer() }
const nothing = () => Effect.void
const addr = Multiaddr.fromStringUnsafe

/** What one node knows of another now. */
const known = (on: Node, of: Node) =>
  on.run(
    Effect.gen(function* () {
      const [connection] = yield* (yield* Swarm).connections(of.peerId)
      return yield* (yield* Identify).identified(connection ?? assert.fail("they are not connected"))
    })
  )
const stored = (on: Node, of: Node) => on.run(Effect.flatMap(PeerStore, (store) => Effect.orDie(store.get(of.peerId))))

describe("what changes is told", () => {
  it(
    "handlers that come and go, many at once in one message",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b, c] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)]
        yield* meet(a, b)
        yield* meet(c, a)
        const events = yield* listenTo(b)
        const scope = yield* Scope.make()
        yield* a.run(
          Effect.gen(function* () {
            const protocols = yield* Protocols
            for (const name of ["/x/1", "/x/2", "/x/3"]) yield* protocols.handle(name, nothing)
          }).pipe(Scope.provide(scope))
        )
        yield* Effect.sleep(1000)
        assert.strictEqual(tally(events.heard), 1)
        assert.includeMembers([...(yield* known(b, a)).protocols], ["/x/1", "/x/2", "/x/3", pushProtocol])
        assert.includeMembers([...((yield* stored(b, a))?.protocols ?? [])], ["/x/1", "/x/2", "/x/3"])
        assert.includeMembers([...(yield* known(c, a)).protocols], ["/x/1"])
        yield* Scope.close(scope, Exit.void)
        yield* Effect.sleep(1500)
        assert.strictEqual(tally(events.heard), 2)
        assert.notInclude((yield* known(b, a)).protocols, "/x/1")
        // What comes and goes at once is not told.
        yield* a.run(Effect.scoped(Effect.flatMap(Protocols, (protocols) => protocols.handle("/blink", nothing))))
        yield* Effect.sleep(1500)
        assert.strictEqual(tally(events.heard), 2)
        yield* events.stop
      })
    )
  )

  it(
    "addresses, in a newer record, which the other keeps as certified",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [at(nodes, 0), at(nodes, 1)]
        yield* meet(a, b)
        const before = yield* stored(b, a)
        assert.isDefined(before?.recordSequence)
        const more = addr("/ip4/10.0.0.1/tcp/5001")
        const scope = yield* Scope.make()
        yield* a.run(Effect.flatMap(Swarm, (swarm) => swarm.listen(more)).pipe(Scope.provide(scope)))
        yield* Effect.sleep(1000)
        const after = yield* stored(b, a)
        assert.isTrue((after?.recordSequence ?? 0n) > (before?.recordSequence ?? 0n))
        const one = after?.addresses.find(({ address }) => Multiaddr.equals(address, more))
        assert.strictEqual(one?.confidence, "certified")
        assert.include((yield* known(b, a)).listenAddresses.map(String), more.toString())
        // The loopback addresses of a peer elsewhere are not those of this one.
        assert.isTrue(after?.addresses.every(({ address }) => !Multiaddr.isLoopback(address)))
        yield* Scope.close(scope, Exit.void)
        yield* Effect.sleep(1500)
        assert.notInclude((yield* known(b, a)).listenAddresses.map(String), more.toString())
        const left = yield* stored(b, a)
        assert.isUndefined(left?.addresses.find(({ address }) => Multiaddr.equals(address, more)))
      })
    )
  )

  it(
    "also what changes before the other is identified",
    simulate(options, ({ network, nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [at(nodes, 0), at(nodes, 1)]
        const dialing = yield* Effect.forkChild(meet(b, a))
        // As soon as there is a connection, what b has to say of itself stays on the way.
        yield* Effect.repeat(Effect.sleep(1), {
          until: () =>
            Effect.orDie(
              a.run(Effect.flatMap(Swarm, (swarm) => Effect.map(swarm.connections(), (all) => all.length > 0)))
            )
        })
        network.clog(b.host, a.host, 3000)
        const scope = yield* Scope.make()
        yield* a.run(
          Effect.flatMap(Protocols, (protocols) => protocols.handle("/late", nothing)).pipe(Scope.provide(scope))
        )
        yield* Fiber.join(dialing)
        yield* Effect.sleep(10_000)
        assert.include((yield* known(b, a)).protocols, "/late")
        yield* Scope.close(scope, Exit.void)
      })
    )
  )

  it(
    "now, when it is asked for",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [at(nodes, 0), at(nodes, 1)]
        yield* meet(a, b)
        const events = yield* listenTo(b)
        yield* a.run(Effect.flatMap(Identify, ({ push }) => push))
        yield* Effect.sleep(100)
        assert.strictEqual(tally(events.heard), 1)
        yield* events.stop
      })
    )
  )

  it(
    "to many at once, some of which have stopped reading",
    simulate({ ...options, nodes: 24 }, ({ network, nodes }) =>
      Effect.gen(function* () {
        const [a, ...others] = nodes
        yield* Effect.forEach(others, (other) => meet(other, a), { concurrency: "unbounded", discard: true })
        for (const other of others.slice(0, 18)) network.partition([a.host], [other.host])
        const scope = yield* Scope.make()
        yield* a.run(
          Effect.flatMap(Protocols, (protocols) => protocols.handle("/new", nothing)).pipe(Scope.provide(scope))
        )
        yield* Effect.sleep("25 seconds")
        for (const other of others.slice(18)) assert.include((yield* known(other, a)).protocols, "/new")
        yield* Scope.close(scope, Exit.void)
      })
    )
  )
})

describe("what is pushed", () => {
  it(
    "replaces only what it names",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [at(nodes, 0), at(nodes, 1)]
        const connection = yield* meet(a, b)
        const before = yield* known(b, a)
        yield* a.run(pushMessage(connection, { agentVersion: "renamed\u001b[2J" }))
        yield* Effect.sleep(100)
        assert.deepStrictEqual(yield* known(b, a), { ...before, agentVersion: "renamed\ufffd[2J" })
        yield* a.run(pushMessage(connection, { protocols: ["/only"] }))
        yield* Effect.sleep(1500)
        const after = yield* known(b, a)
        assert.deepStrictEqual(after, { ...before, agentVersion: "renamed\ufffd[2J", protocols: ["/only"] })
        assert.deepStrictEqual((yield* stored(b, a))?.protocols, ["/only"])
      })
    )
  )

  it(
    "is refused when it is the word of another, and changes nothing",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [at(nodes, 0), at(nodes, 1)]
        const connection = yield* meet(a, b)
        const before = yield* known(b, a)
        const kept = yield* stored(b, a)
        const events = yield* listenTo(b)
        const other = identityOf(7)
        const record = yield* SignedEnvelope.sealPeerRecord([addr("/ip4/10.0.0.1/tcp/1")], 1n << 60n).pipe(
          Effect.provideService(Identity, other)
        )
        const bad: ReadonlyArray<Effect.Effect<void, unknown>> = [
          pushMessage(connection, { publicKey: Keys.encodePublicKey(other.publicKey), agentVersion: "no" }),
          pushMessage(connection, { signedPeerRecord: record, agentVersion: "no" }),
          pushMessage(connection, { signedPeerRecord: record.subarray(0, 40), agentVersion: "no" }),
          pushRaw(connection, new Uint8Array(100).fill(0xff)),
          pushRaw(connection, Uint8Array.of(20, 1, 2, 3)),
          pushRaw(connection, Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x40)),
          pushRaw(connection, new Uint8Array(1000))
        ]
        for (const push of bad) {
          yield* a.run(Effect.ignore(push))
          yield* Effect.sleep(2000)
        }
        assert.deepStrictEqual(yield* known(b, a), before)
        assert.deepStrictEqual(
          (yield* stored(b, a))?.addresses.map(({ address }) => String(address)),
          kept?.addresses.map(({ address }) => String(address))
        )
        assert.strictEqual((yield* stored(b, a))?.recordSequence, kept?.recordSequence)
        assert.strictEqual(events.heard.length, 0)
        yield* events.stop
      })
    )
  )

  it(
    "without end is looked at ever less often, and the last word holds",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [at(nodes, 0), at(nodes, 1)]
        const connection = yield* meet(a, b)
        const events = yield* listenTo(b)
        for (let i = 1; i <= 400; i++) {
          // What an earlier one named stays, though nobody looked at it.
          yield* a.run(
            Effect.ignore(pushMessage(connection, i === 399 ? { protocols: ["/last"] } : { agentVersion: `no ${i}` }))
          )
          yield* Effect.sleep(150)
        }
        // In a minute.
        assert.isAtLeast(tally(events.heard), 20)
        assert.isAtMost(tally(events.heard), 28)
        yield* Effect.sleep("10 seconds")
        const last = yield* known(b, a)
        assert.strictEqual(last.agentVersion, "no 400")
        assert.deepStrictEqual(last.protocols, ["/last"])
        yield* events.stop
      })
    )
  )

  it(
    "in silence, or a byte at a time, ends at the deadline and makes room",
    simulate(options, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [at(nodes, 0), at(nodes, 1)]
        const connection = yield* meet(a, b)
        const quiet = connection.streamCount()
        const slow = (drip: boolean) =>
          Effect.scoped(
            Effect.gen(function* () {
              const stream = yield* connection.openStream(pushProtocol)
              yield* stream.write(Uint8Array.of(100))
              for (;;) {
                yield* Effect.sleep(500)
                if (drip) yield* stream.write(Uint8Array.of(0))
              }
            })
          )
        const all = yield* Effect.forkChild(
          a.run(Effect.forEach(Array(8).keys(), (i) => Effect.ignore(slow(i % 2 === 0)), { concurrency: "unbounded" }))
        )
        yield* Effect.sleep(5000)
        // No room for another.
        yield* a.run(Effect.ignore(pushMessage(connection, { agentVersion: "early" })))
        yield* Effect.sleep(7000)
        assert.notStrictEqual((yield* known(b, a)).agentVersion, "early")
        yield* a.run(pushMessage(connection, { agentVersion: "late" }))
        yield* Effect.sleep(2000)
        assert.strictEqual((yield* known(b, a)).agentVersion, "late")
        yield* Fiber.interrupt(all)
        yield* Effect.sleep(1000)
        assert.strictEqual(connection.streamCount(), quiet)
      })
    )
  )
})
