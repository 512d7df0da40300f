import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as Limits from "../../../src/layers/resources/Limits.ts"
import * as ResourceManagerLayer from "../../../src/layers/resources/ResourceManager.ts"
import { Machine } from "../../../src/services/Machine.ts"
import { Limits as LimitsSchema, ResourceManager } from "../../../src/services/ResourceManager.ts"

const GiB = 1024 ** 3
const small = { memory: 128 * 1024 ** 2, files: 256 }
const usual = { memory: 2 * GiB, files: 4096 }
const large = { memory: 64 * GiB, files: 1_048_576 }

const invalid = (changes: unknown): string => {
  // As from a file: whatever it holds.
  const result = Limits.resolve(usual, Schema.decodeUnknownSync(Schema.Any)(changes))
  assert.isTrue(Result.isFailure(result), JSON.stringify(changes))
  return Result.isFailure(result) ? result.failure.path : ""
}

describe("default limits", () => {
  it("are limits, whole numbers that fit the machine, on any machine", () => {
    for (const memory of [0, 1, 100 * 1024 ** 2, GiB + 12_345, 3.7 * GiB, 4096 * GiB]) {
      for (const files of [0, 3, 131, 256, 1023, 4096, 1_048_576, 2 ** 40]) {
        const limits = Limits.defaults({ memory, files })
        assert.isTrue(Result.isSuccess(Schema.decodeUnknownResult(LimitsSchema)(limits)))
        assert.isAtMost(limits.system.memory, Math.max(memory / 4, 64 * 1024 ** 2))
        assert.isAtMost(limits.system.connections, Math.max(files / 2, 64))
        for (const scope of [limits.transient, limits.peer]) {
          assert.isAtMost(scope.memory, limits.system.memory)
          assert.isAtMost(scope.streams, limits.system.streams)
        }
      }
    }
  })

  it("let a peer open 4,096 streams, and a connection 1,000 at once, on the smallest machine", () => {
    for (const machine of [small, usual, large]) {
      const limits = Limits.defaults(machine)
      assert.isAtLeast(limits.peer.streams, 4096)
      assert.isAtLeast(limits.peer.streamsInbound, 4096)
      for (const scope of [limits.connection, limits.protocolOfPeer, limits.serviceOfPeer, limits.transient]) {
        assert.isAtLeast(Math.min(scope.streams, scope.streamsInbound, scope.streamsOutbound), 1024)
      }
    }
  })

  it("leave room for others whatever one peer, one address or one subnet does, on any machine", () => {
    for (const memory of [0, 128 * 1024 ** 2, 256 * 1024 ** 2, GiB, 2 * GiB, 64 * GiB]) {
      for (const files of [0, 256, 1024, 4096, 1_048_576]) {
        const { address, peer, subnet, system, transient } = Limits.defaults({ memory, files })
        const machine = `${memory} bytes, ${files} files`
        for (const all of [transient, system]) {
          assert.isAtLeast(all.streamsInbound - peer.streamsInbound, 1024, `inbound streams, ${machine}`)
          assert.isAtLeast(all.streams - all.streamsInbound, 1024, `streams of our own, ${machine}`)
        }
        const unfinished = transient.connectionsInbound
        assert.isAtMost(address.pending, unfinished / 2, `unfinished of an address, ${machine}`)
        assert.isAtMost(subnet.pending, (unfinished * 3) / 4, `unfinished of a subnet, ${machine}`)
        assert.isAtMost(address.connections, system.connectionsInbound / 2, `of an address, ${machine}`)
        assert.isAtMost(subnet.connections, (system.connectionsInbound * 3) / 4, `of a subnet, ${machine}`)
      }
    }
  })

  it("are these on a machine of 2 GiB and 4,096 files", () => {
    const { address, connection, peer, subnet, system, transient } = Limits.defaults(usual)
    assert.deepStrictEqual(
      [system.connections, system.connectionsInbound, system.connectionsOutbound],
      [2048, 1536, 1536]
    )
    assert.deepStrictEqual([system.streams, system.streamsInbound, system.memory], [32_768, 24_576, GiB / 2])
    assert.deepStrictEqual([transient.connections, transient.connectionsInbound], [512, 384])
    assert.deepStrictEqual([transient.streams, transient.streamsInbound], [24_576, 20_480])
    assert.deepStrictEqual([peer.connections, peer.streams, peer.streamsInbound, peer.memory], [8, 8192, 4096, GiB / 8])
    assert.deepStrictEqual([connection.streams, connection.streamsInbound, connection.memory], [4096, 2048, GiB / 16])
    assert.deepStrictEqual([address.connections, address.burst, subnet.connections, subnet.burst], [32, 32, 256, 128])
  })
})

describe("limits that a user gives", () => {
  it("take the place of the defaults, one by one", () => {
    const id = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
    const limits = Result.getOrThrow(
      Limits.resolve(usual, {
        system: { connections: 10, memory: undefined },
        peer: { streams: 7 },
        peers: { [id]: { memory: 1 } },
        protocols: { "/a/1": { streamsInbound: 3 } }
      })
    )
    const base = Limits.defaults(usual)
    assert.deepStrictEqual(limits.system, { ...base.system, connections: 10 })
    assert.deepStrictEqual(limits.peers[id], { ...base.peer, streams: 7, memory: 1 })
    assert.deepStrictEqual(limits.protocols["/a/1"], { ...base.protocol, streamsInbound: 3 })
    assert.deepStrictEqual(limits.exempt, ["127.0.0.0/8", "::1/128"])
  })

  it("are refused by name when they cannot be", () => {
    assert.strictEqual(invalid({ system: { connections: -1 } }), "system.connections")
    assert.strictEqual(invalid({ system: { memory: Number.NaN } }), "system.memory")
    assert.strictEqual(invalid({ transient: { streams: Number.POSITIVE_INFINITY } }), "transient.streams")
    assert.strictEqual(invalid({ connection: { streams: 1.5 } }), "connection.streams")
    assert.strictEqual(invalid({ address: { ratePerSecond: "2" } }), "address.ratePerSecond")
    assert.strictEqual(invalid({ system: { conections: 4 } }), "system.conections")
    assert.strictEqual(invalid({ sytem: {} }), "sytem")
    assert.strictEqual(invalid({ exempt: ["127.0.0.0/8", "10.0.0.0/33"] }), "exempt[1]")
    assert.strictEqual(invalid({ protocols: { "/a/1.0": { streams: -2 } } }), 'protocols["/a/1.0"].streams')
    assert.strictEqual(invalid({ peers: { bob: {} } }), "peers.bob")
    assert.strictEqual(invalid("many"), "")
  })

  it.effect("fail the layer with a message that says where", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.scoped(Layer.build(ResourceManagerLayer.layer({ limits: { exempt: ["here"] } })))
      )
      assert.strictEqual(error._tag, "InvalidLimits")
      assert.strictEqual(
        error.message,
        'limits.exempt[0]: "here" is not a network such as 192.0.2.0/24 or 2001:db8::/48: the part before the slash is not an IP address; see docs/limits.md'
      )
      const negative = yield* Effect.flip(
        Effect.scoped(Layer.build(ResourceManagerLayer.layer({ limits: { system: { connections: -1 } } })))
      )
      assert.match(negative.message, /^limits\.system\.connections: .*greater than or equal to 0; got -1; see/)
    })
  )
})

describe("the ResourceManager layer", () => {
  it.effect("derives its limits from the machine and its rates from the clock", () =>
    Effect.gen(function* () {
      const resources = yield* ResourceManager
      assert.deepStrictEqual(resources.limits.system.connections, Limits.defaults(large).system.connections)
      const remote = Multiaddr.fromStringUnsafe("/ip4/192.0.2.1/tcp/1")
      const knock = () => {
        const result = resources.acceptConnection(remote)
        if (Result.isSuccess(result)) result.success.release()
        return Result.isSuccess(result)
      }
      assert.isTrue(knock())
      assert.isFalse(knock())
      yield* TestClock.adjust("1 second")
      assert.isTrue(knock())
      yield* TestClock.adjust("1 second")
      const dialled = Result.getOrThrow(resources.dialConnection())
      assert.strictEqual(resources.scopeCount(), 3)
      assert.deepInclude(yield* resources.usage, {
        scope: "system",
        resource: "outbound connections",
        limit: resources.limits.system.connectionsOutbound,
        current: 1,
        peak: 1,
        refused: 0
      })
      dialled.release()
      assert.strictEqual(resources.scopeCount(), 2)
    }).pipe(
      Effect.provide(ResourceManagerLayer.layer({ limits: { address: { burst: 1, ratePerSecond: 1 } } })),
      Effect.provideService(Machine, large)
    )
  )
})
