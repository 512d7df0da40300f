import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as net from "node:net"
import * as Varint from "../../src/data/Varint.ts"
import * as ByteStream from "../../src/services/ByteStream.ts"
import { usedBytes } from "../support/memory.ts"
import {
  awaitGone,
  endpointOf,
  eventually,
  handshake,
  nextEvent,
  noise,
  noiseFrame,
  proposeNoise,
  rawConnect,
  realNode,
  refusalOf,
  rogue,
  runNodes,
  stillServes
} from "../support/peers.ts"

const two = Effect.gen(function* () {
  const node = yield* realNode({ seed: 1, swarm: { upgradeDeadline: 300 } })
  const honest = yield* realNode({ seed: 2 })
  return { node, honest }
})

/** Connects, sends `bytes`, half-closes if told to, and waits until the node has let go. */
const send = (address: Parameters<typeof rawConnect>[0], bytes: Uint8Array, fin = false) =>
  Effect.scoped(
    Effect.gen(function* () {
      const socket = yield* rawConnect(address)
      if (fin) socket.end(bytes)
      else socket.write(bytes)
      yield* awaitGone(socket)
    })
  )

/** Something more came from the node. */
const readOn = (stream: ByteStream.ByteStream) =>
  ByteStream.read(stream).pipe(
    Effect.map((batch) => batch !== null),
    Effect.orElseSucceed(() => false),
    Effect.timeout("5 seconds")
  )

describe("hostile peers before and in the handshake", () => {
  it.live("random bytes are refused at once, whatever they are", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        for (let seed = 1; seed <= 8; seed++) {
          const bytes = noise(seed % 2 === 0 ? 50 : 100_000, seed)
          assert.strictEqual(
            yield* refusalOf(node, send(node.address, bytes)),
            "NegotiationFailed MalformedNegotiation"
          )
        }
        yield* stillServes(honest, node)
      })
    )
  )

  it.live("an honest beginning that is cut anywhere and ended is refused with what was cut", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        const honestBytes = Buffer.concat([proposeNoise, noiseFrame(noise(32, 1))])
        for (let cut = 0; cut <= honestBytes.length; cut += cut < 24 ? 6 : cut < 40 ? 1 : 5) {
          const why = yield* refusalOf(node, send(node.address, honestBytes.subarray(0, cut), true))
          assert.strictEqual(
            why,
            cut < proposeNoise.length
              ? "NegotiationFailed NegotiationInterrupted"
              : "SecurityFailed HandshakeInterrupted",
            `cut at ${cut}`
          )
        }
        yield* stillServes(honest, node)
      })
    )
  )

  it.live("a length prefix of 4 GiB takes no memory", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        const before = yield* usedBytes
        for (const length of [1025, 2 ** 31, 2 ** 32, 2 ** 53 - 1]) {
          const prefix = Varint.encode(length)
          assert.strictEqual(
            yield* refusalOf(node, send(node.address, prefix)),
            "NegotiationFailed MalformedNegotiation"
          )
          const later = Buffer.concat([proposeNoise.subarray(0, 20), prefix])
          assert.strictEqual(
            yield* refusalOf(node, send(node.address, later)),
            "NegotiationFailed MalformedNegotiation"
          )
        }
        assert.isBelow((yield* usedBytes) - before, 5_000_000)
        yield* stillServes(honest, node)
      })
    )
  )

  it.live("endless proposals and no agreement end the connection", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        const proposals = Buffer.concat([
          proposeNoise.subarray(0, 20),
          ...Array.from({ length: 200 }, () => Buffer.from("\x04/no\n"))
        ])
        assert.strictEqual(
          yield* refusalOf(node, send(node.address, proposals)),
          "NegotiationFailed MalformedNegotiation"
        )
        yield* stillServes(honest, node)
      })
    )
  )

  it.live("garbage in place of noise messages is a BadHandshake", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        const first = noiseFrame(noise(32, 5))
        const garbage: ReadonlyArray<readonly [string, ReadonlyArray<Uint8Array>]> = [
          ["an empty first message", [noiseFrame(new Uint8Array(0))]],
          ["a first message that is too short", [noiseFrame(noise(31, 1))]],
          ["a key of all zeros", [noiseFrame(new Uint8Array(32)), noiseFrame(noise(64, 2))]],
          ["an empty last message", [first, noiseFrame(new Uint8Array(0))]],
          ["a random last message", [first, noiseFrame(noise(200, 3))]],
          ["the largest random last message", [first, noiseFrame(noise(65_535, 4))]]
        ]
        for (const [what, messages] of garbage) {
          const bytes = Buffer.concat([proposeNoise, ...messages])
          assert.strictEqual(yield* refusalOf(node, send(node.address, bytes)), "SecurityFailed BadHandshake", what)
        }
        yield* stillServes(honest, node)
      })
    )
  )

  it.live("a message that is announced and never comes, byte by byte, ends by the deadline", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        const why = yield* refusalOf(
          node,
          Effect.scoped(
            Effect.gen(function* () {
              const socket = yield* rawConnect(node.address)
              socket.write(Buffer.concat([proposeNoise, Buffer.from([0xff, 0xff])]))
              while (!socket.readableEnded && !socket.destroyed) {
                socket.write(Buffer.from([1]))
                yield* Effect.sleep(10)
              }
            })
          )
        )
        assert.strictEqual(why, "DeadlineExceeded securing")
        yield* stillServes(honest, node)
      })
    )
  )

  it.live(
    "who proves who it is and then agrees on no muxer is let go at the deadline, or refused for what it says",
    () =>
      runNodes(
        Effect.gen(function* () {
          const { node, honest } = yield* two
          const then = (say: Uint8Array) =>
            Effect.scoped(
              Effect.gen(function* () {
                const { secured } = yield* handshake(3, node.address, [])
                secured.tryWrite(say)
                secured.flush()
                // Until the node has let go.
                while (yield* readOn(secured)) continue
              })
            ).pipe(Effect.exit)
          // On a busy machine the deadline may come before the handshake is through: that says nothing of what follows it.
          const refusal = (say: Uint8Array) =>
            Effect.repeat(refusalOf(node, then(say)), {
              while: (why) => why === "DeadlineExceeded securing",
              times: 20
            })
          for (const [what, say, why] of [
            ["nothing", new Uint8Array(0), "DeadlineExceeded multiplexing"],
            ["half a proposal", Buffer.from("\x13/multistream/1.0.0\n\x0f/yam"), "DeadlineExceeded multiplexing"],
            [
              "proposals of others only",
              Buffer.from("\x13/multistream/1.0.0\n\x04/no\n"),
              "DeadlineExceeded multiplexing"
            ],
            ["random bytes", noise(500, 3), "NegotiationFailed MalformedNegotiation"]
          ] as const) {
            assert.strictEqual(yield* refusal(say), why, what)
          }
          yield* stillServes(honest, node)
        })
      )
  )

  it.live("who connects and says nothing is let go at the deadline, and does not keep others out", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        const why = yield* refusalOf(
          node,
          Effect.gen(function* () {
            const sockets = yield* Effect.forEach(Array.from({ length: 100 }), () => rawConnect(node.address), {
              concurrency: 32
            })
            yield* stillServes(honest, node)
            yield* Effect.forEach(sockets, awaitGone)
          })
        )
        assert.strictEqual(why, "DeadlineExceeded securing")
        assert.strictEqual((yield* node.swarm.counters).inboundFailed, 100)
        yield* stillServes(honest, node)
      })
    )
  )

  it.live(
    "more silent peers than may be pending: those beyond are reset at once, and there is room by the deadline",
    () =>
      runNodes(
        Effect.gen(function* () {
          const node = yield* realNode({
            seed: 1,
            swarm: { upgradeDeadline: 300 },
            limits: { transient: { connectionsInbound: 4 } }
          })
          const honest = yield* realNode({ seed: 2 })
          const why = yield* refusalOf(
            node,
            Effect.gen(function* () {
              const sockets = yield* Effect.forEach(Array.from({ length: 12 }), () => rawConnect(node.address), {
                concurrency: 12
              })
              yield* Effect.forEach(sockets, awaitGone)
            })
          )
          assert.strictEqual(why, "LimitExceeded")
          assert.strictEqual((yield* node.swarm.counters).inboundFailed, 12)
          yield* stillServes(honest, node)
        })
      )
  )

  it.live("half-open connections, ended before, in and after the handshake, are closed", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        assert.strictEqual(
          yield* refusalOf(node, send(node.address, new Uint8Array(0), true)),
          "NegotiationFailed NegotiationInterrupted"
        )
        const gone = yield* nextEvent(node, "Disconnected")
        const peer = yield* rogue(3, node.address)
        yield* peer.secured.closeWrite
        yield* Effect.timeout(peer.readToEnd, "5 seconds")
        const { end } = yield* Fiber.join(gone)
        assert.deepStrictEqual(end, { by: "remote", detail: "the remote closed the connection" })
        yield* stillServes(honest, node)
      })
    )
  )

  it.live("2,000 connections opened and reset leave nothing", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        yield* stillServes(honest, node)
        const endpoint = endpointOf(node.address)
        const hit = (i: number) =>
          Effect.callback<void>((resume) => {
            const socket = net.connect(endpoint, () => {
              if (i % 3 === 0) socket.write(proposeNoise)
              if (i % 3 === 1) socket.resetAndDestroy()
              else setImmediate(() => socket.resetAndDestroy())
            })
            socket.on("error", () => {})
            socket.on("close", () => resume(Effect.void))
          })
        const round = (from: number) =>
          Effect.forEach(
            Array.from({ length: 1000 }, (_, i) => from + i),
            hit,
            { concurrency: 64, discard: true }
          )
        yield* round(0)
        const before = yield* usedBytes
        yield* round(1000)
        yield* stillServes(honest, node)
        yield* eventually(
          Effect.map(node.swarm.connections(), (open) => open.length === 0),
          () => "connections are left"
        )
        const growth = (yield* usedBytes) - before
        assert.isBelow(growth, 3_000_000, `1,000 connections took ${growth} bytes`)
        assert.strictEqual(
          (yield* node.actors.tree).find(({ name }) => name === "swarm")?.detail,
          "0 connections with 0 peers, 0 dials"
        )
      })
    )
  )

  it.live("ciphertext that does not authenticate ends an established connection with that reason", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        for (const [bytes, reason] of [
          [noiseFrame(noise(64, 1)), "does not authenticate"],
          [noiseFrame(noise(65_535, 1)), "does not authenticate"],
          [noiseFrame(new Uint8Array(0)), "does not authenticate"]
        ] as const) {
          const gone = yield* nextEvent(node, "Disconnected")
          const peer = yield* rogue(3, node.address)
          peer.raw.tryWrite(bytes)
          peer.raw.flush()
          const { end } = yield* Fiber.join(gone)
          assert.include(end.detail, reason)
        }
        yield* stillServes(honest, node)
      })
    )
  )
})
