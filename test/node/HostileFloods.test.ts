/** Streams and connections by the ten thousand, at a whole node. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Varint from "../../src/data/Varint.ts"
import * as Libp2p from "../../src/layers/Libp2p.ts"
import * as Mplex from "../../src/layers/muxer/Mplex.ts"
import { protocol as yamux } from "../../src/layers/muxer/yamux/Session.ts"
import * as Frame from "../../src/layers/muxer/yamux/Frame.ts"
import * as Noise from "../../src/layers/security/Noise.ts"
import * as Tcp from "../../src/layers/transport/Tcp.ts"
import { eventually, header, proposal, realNode, rogue, runNodes, stillServes } from "../support/peers.ts"
import { hostNet, inUse, run, turns, two } from "../support/memory-nodes.ts"
import { usedBytes } from "../support/memory.ts"

const mplex = "/mplex/6.7.0"

/** A stream is announced and proposes a protocol. */
const opening: { readonly [muxer: string]: (index: number) => Uint8Array } = {
  [yamux]: (index) => {
    const bytes = proposal("/sleeps")
    return Buffer.concat([header(Frame.typeData, Frame.flagSyn, 1 + 2 * index, bytes.length), bytes])
  },
  [mplex]: (index) => {
    const bytes = proposal("/sleeps")
    return Buffer.concat([
      Varint.encode(index * 8),
      Buffer.of(0),
      Varint.encode(index * 8 + 2),
      Varint.encode(bytes.length),
      bytes
    ])
  }
}

describe("10,000 streams at once", () => {
  for (const [muxer, below] of [
    [yamux, Libp2p.layerTcp],
    [mplex, Layer.mergeAll(Tcp.layer, Noise.layer, Mplex.layer())]
  ] as const) {
    it.live(`${muxer}: as many as may be are open, the others are refused, and the node serves on`, () =>
      runNodes(
        Effect.gen(function* () {
          const node = yield* realNode({ seed: 1, below, limits: { protocolOfPeer: { streamsInbound: 50 } } })
          const honest = yield* realNode({ seed: 2, below })
          let running = 0
          let most = 0
          yield* node.protocols.handle("/sleeps", () =>
            Effect.suspend(() => {
              most = Math.max(most, ++running)
              return Effect.never
            }).pipe(Effect.ensuring(Effect.sync(() => running--)))
          )
          yield* stillServes(honest, node)
          const before = yield* usedBytes
          const peer = yield* rogue(3, node.address, muxer)
          const reading = yield* Effect.forkChild(peer.readToEnd, { startImmediately: true })
          const open = opening[muxer] ?? assert.fail()
          for (let batch = 0; batch < 100; batch++) {
            yield* peer.write(Buffer.concat(Array.from({ length: 100 }, (_, i) => open(batch * 100 + i))))
          }
          yield* eventually(
            () => running === 50,
            () => `${running} are handled`
          )
          const [connection] = yield* node.swarm.connections()
          const { limits } = node.resources
          assert.isAtMost(connection?.streamCount() ?? 0, limits.connection.streamsInbound + 1)
          assert.isAtMost((yield* inUse(node, "system"))["inbound streams"] ?? 0, limits.connection.streamsInbound)
          const refusals = Effect.map(node.resources.usage, (rows) =>
            rows.filter((row) => row.refused > 0 && row.resource === "inbound streams")
          )
          const ofProtocol = /protocol \/sleeps of peer 12D3/
          // The fifty that it takes may be running before the first of the others is refused.
          let refused = yield* refusals
          for (let tries = 0; tries < 500 && !refused.some(({ scope }) => ofProtocol.test(scope)); tries++) {
            yield* Effect.sleep(10)
            refused = yield* refusals
          }
          for (const row of refused) assert.isAtMost(row.peak, row.limit)
          assert.match(refused.map(({ scope }) => scope).join("; "), ofProtocol)
          const growth = (yield* usedBytes) - before
          assert.isBelow(growth, 10_000_000, `${growth} bytes are held`)
          yield* stillServes(honest, node)
          assert.strictEqual(most, 50)
          assert.isUndefined(reading.pollUnsafe(), "the connection lives")
          yield* peer.secured.closeWrite
        })
      )
    )
  }
})

describe("2,000 connections of which none stays", () => {
  for (const [what, hosts, scope] of [
    ["one address", ["192.0.2.66"], "address 192.0.2.66"],
    ["one subnet", Array.from({ length: 250 }, (_, i) => `192.0.2.${i + 1}`), "subnet 192.0.2.0/24"]
  ] as const) {
    it.effect(`from ${what}: as many as its rate allows are listened to, and others are served`, () =>
      run(
        Effect.gen(function* () {
          const { a, atB, b, network } = yield* two()
          const hostile = yield* Effect.forEach(hosts, (host) => hostNet(network, [host]))
          const refusals = new Map<string, number>()
          yield* Effect.forkScoped(
            Stream.runForEach(b.swarm.events, (event) =>
              Effect.sync(() => {
                if (event._tag !== "InboundFailed" || event.reason._tag !== "LimitExceeded") return
                const { limit, resource, scope } = event.reason
                const key = `${limit} ${resource} of ${scope}`
                refusals.set(key, (refusals.get(key) ?? 0) + 1)
              })
            ),
            { startImmediately: true }
          )
          const seconds = 10
          for (let i = 0; i < 2000; i++) {
            const net = hostile[i % hostile.length] ?? assert.fail()
            yield* Effect.scoped(
              Effect.ignore(
                Effect.tap(net.connect({ host: "10.0.2.1", port: 4001 }), (socket) =>
                  Effect.sync(() => socket.reset("again"))
                )
              )
            )
            if (i % 200 === 199) {
              yield* turns()
              yield* TestClock.adjust("1 second")
            }
          }
          yield* turns()
          const { burst, ratePerSecond } = b.resources.limits[hosts.length === 1 ? "address" : "subnet"]
          assert.containsAllKeys(refusals, [`${ratePerSecond} inbound connections a second of ${scope}`])
          const rows = (yield* b.resources.usage).filter((row) => row.scope === scope)
          const refused = rows.find(({ resource }) => resource === "inbound connections a second")?.refused ?? 0
          assert.isAtLeast(
            refused,
            2000 - burst - ratePerSecond * (seconds + 1) - b.resources.limits.transient.connections
          )
          assert.strictEqual((yield* inUse(b, "system"))["connections"], 0)
          // What is remembered of where they came from is bounded, and soon forgotten.
          assert.isAtMost(b.resources.scopeCount(), 2 + hosts.length + 1)
          yield* a.identify.identified(yield* a.swarm.dial(atB))
          yield* TestClock.adjust("10 minutes")
          assert.isAtMost(b.resources.scopeCount(), 12)
        })
      )
    )
  }
})
