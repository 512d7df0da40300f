import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Frame from "../../src/layers/muxer/yamux/Frame.ts"
import * as ByteStream from "../../src/services/ByteStream.ts"
import { usedBytes } from "../support/memory.ts"
import {
  eventually,
  header,
  nextEvent,
  noise,
  realNode,
  type Rogue,
  rogue,
  runNodes,
  stillServes
} from "../support/peers.ts"

const { flagAck, flagFin, flagRst, flagSyn, typeData, typeGoAway, typePing, typeWindowUpdate } = Frame

const two = Effect.gen(function* () {
  const node = yield* realNode({ seed: 1 })
  const honest = yield* realNode({ seed: 2 })
  return { node, honest }
})

/** All Yamux headers in a byte string, for what a rogue has read. */
const framesOf = (
  bytes: Uint8Array
): ReadonlyArray<readonly [type: number, flags: number, id: number, length: number]> => {
  const frames: Array<readonly [number, number, number, number]> = []
  for (let at = 0; at + Frame.headerLength <= bytes.length;) {
    const type = bytes[at + 1] ?? 0
    const length = Frame.uint32At(bytes, at + 8)
    frames.push([type, Frame.uint16At(bytes, at + 2), Frame.uint32At(bytes, at + 4), length])
    at += Frame.headerLength + (type === typeData ? length : 0)
  }
  return frames
}

/** Reads until the connection ends, however it ends, and then ends it too. */
const readAll = (peer: Rogue) =>
  Effect.gen(function* () {
    const batches: Array<Uint8Array> = []
    yield* Effect.ignore(
      Effect.gen(function* () {
        for (;;) {
          const batch = yield* ByteStream.read(peer.secured)
          if (batch === null) return yield* peer.secured.closeWrite
          batches.push(batch)
        }
      })
    )
    return Buffer.concat(batches)
  })

/** Reads nothing until it is told to end. */
const sleeps = () => Effect.never

describe("hostile peers on an established connection", () => {
  const violations: ReadonlyArray<
    readonly [string, string, (peer: Rogue) => Effect.Effect<void, ByteStream.StreamError>]
  > = [
    [
      "an unknown version",
      "version 7",
      (peer) => peer.write(Buffer.from([7, ...header(typePing, flagSyn, 0, 1).subarray(1)]))
    ],
    ["an unknown type", "unknown type 9", (peer) => peer.frame(9, 0, 0, 0)],
    ["data for the session", "stream 0", (peer) => peer.frame(typeData, flagSyn, 0, 1, new Uint8Array(1))],
    ["a stream id of the wrong end", "stream", (peer) => peer.frame(typeWindowUpdate, flagSyn, 2, 0)],
    [
      "a stream id that goes back",
      "stream",
      (peer) => Effect.andThen(peer.frame(typeWindowUpdate, flagSyn, 9, 0), peer.frame(typeWindowUpdate, flagSyn, 9, 0))
    ],
    [
      "4 GiB of data announced",
      "4294967295 bytes",
      (peer) => peer.frame(typeData, flagSyn, 1, 0xffff_ffff, noise(100, 1))
    ],
    [
      "4 GiB of data announced for a stream that is not there",
      "4294967295 bytes",
      (peer) => peer.frame(typeData, 0, 77, 0xffff_ffff, noise(100, 1))
    ],
    [
      "a window beyond 32 bits",
      "window update",
      (peer) => Effect.andThen(peer.open(1, "/sleeps", 0xffff_0000), peer.frame(typeWindowUpdate, 0, 1, 0xffff_0000))
    ],
    [
      "data after the end of it",
      "FIN",
      (peer) =>
        Effect.andThen(
          peer.open(1, "/sleeps"),
          Effect.andThen(peer.frame(typeWindowUpdate, flagFin, 1, 0), peer.frame(typeData, 0, 1, 1, new Uint8Array(1)))
        )
    ],
    ["random bytes", "", (peer) => peer.write(noise(50_000, 99))]
  ]

  for (const [what, detail, hostile] of violations) {
    it.live(`${what} ends the connection with a go-away, and nothing else`, () =>
      runNodes(
        Effect.gen(function* () {
          const { node, honest } = yield* two
          yield* node.protocols.handle("/sleeps", sleeps)
          const gone = yield* nextEvent(node, "Disconnected")
          const peer = yield* rogue(3, node.address)
          const reading = yield* Effect.forkChild(readAll(peer), { startImmediately: true })
          yield* hostile(peer)
          const { end } = yield* Fiber.join(gone)
          assert.strictEqual(end.by, "error")
          assert.include(end.detail, detail)
          const frames = framesOf(yield* Effect.timeout(Fiber.join(reading), "5 seconds"))
          assert.deepInclude(frames, [typeGoAway, 0, 0, Frame.goAwayProtocolError])
          yield* stillServes(honest, node)
        })
      )
    )
  }

  it.live("a peer that sends past its window is cut off, and no more than the window is held", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        yield* node.protocols.handle("/sleeps", sleeps)
        const gone = yield* nextEvent(node, "Disconnected")
        const peer = yield* rogue(3, node.address)
        const reading = yield* Effect.forkChild(readAll(peer), { startImmediately: true })
        yield* peer.open(1, "/sleeps")
        const chunk = new Uint8Array(32 * 1024)
        const sending = yield* Effect.forkChild(
          Effect.exit(Effect.forEach(Array.from({ length: 64 }), () => peer.frame(typeData, 0, 1, chunk.length, chunk)))
        )
        const { end } = yield* Fiber.join(gone)
        assert.strictEqual(end.by, "error")
        assert.match(end.detail, /^32768 bytes of data on stream 1, whose window has \d+ left$/)
        yield* Effect.timeout(Fiber.join(sending), "5 seconds")
        const frames = framesOf(yield* Effect.timeout(Fiber.join(reading), "5 seconds"))
        assert.deepInclude(frames, [typeGoAway, 0, 0, Frame.goAwayProtocolError])
        yield* stillServes(honest, node)
      })
    )
  )

  it.live("a peer that stops reading during a large upload stops the writer, in bounded memory", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        let taken = 0
        yield* node.protocols.handle("/flood", (stream) => {
          const block = new Uint8Array(64 * 1024)
          return Effect.forever(
            Effect.andThen(
              stream.write(block),
              Effect.sync(() => (taken += block.length))
            )
          )
        })
        const before = yield* usedBytes
        const peer = yield* rogue(3, node.address)
        for (const id of [1, 3, 5]) yield* peer.open(id, "/flood", 0xf000_0000)
        yield* eventually(
          () => taken > 300_000,
          () => `only ${taken} bytes were taken`
        )
        let last = -1
        while (last !== taken) {
          last = taken
          yield* Effect.sleep(200)
        }
        // What the system's buffers of both ends hold is not ours to bound.
        assert.isBelow(taken, 32_000_000)
        const growth = (yield* usedBytes) - before
        assert.isBelow(growth, 5_000_000, `${growth} bytes are held`)
        yield* stillServes(honest, node)
      })
    )
  )

  it.live("streams without end are refused beyond the limit, and the connection lives", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        yield* node.protocols.handle("/sleeps", sleeps, { maxStreamsPerConnection: 10 })
        const peer = yield* rogue(3, node.address)
        let pongs = 0
        let resets = 0
        yield* Effect.forkChild(
          Effect.ignore(
            Effect.gen(function* () {
              for (;;) {
                const batch = yield* ByteStream.read(peer.secured)
                if (batch === null) return
                for (const [type, flags] of framesOf(batch)) {
                  if (type === typePing && flags === flagAck) pongs += 1
                  if (type === typeWindowUpdate && (flags & flagRst) !== 0) resets += 1
                }
              }
            })
          )
        )
        for (let i = 0; i < 1200; i++) yield* peer.open(1 + 2 * i, "/sleeps")
        yield* peer.frame(typePing, flagSyn, 0, 1)
        yield* eventually(
          () => pongs >= 1,
          () => "the ping was not answered"
        )
        yield* eventually(
          () => resets >= 1190,
          () => `only ${resets} streams were reset`
        )
        const [connection] = yield* node.swarm.connections()
        // The eleventh is the node's own, which asks for identify.
        assert.strictEqual(connection?.streamCount(), 11)
        yield* stillServes(honest, node)
      })
    )
  )

  it.live("pings without end from a peer that reads no answer are held in bounded memory", () =>
    runNodes(
      Effect.gen(function* () {
        const { node, honest } = yield* two
        const peer = yield* rogue(3, node.address)
        const before = yield* usedBytes
        const many = Buffer.concat(Array.from({ length: 5000 }, (_, i) => header(typePing, flagSyn, 0, i)))
        const sending = yield* Effect.forkChild(
          Effect.ignore(Effect.forEach(Array.from({ length: 100 }), () => peer.write(many), { discard: true }))
        )
        yield* Effect.timeoutOption(Fiber.join(sending), "1 second")
        const growth = (yield* usedBytes) - before
        assert.isBelow(growth, 10_000_000, `${growth} bytes are held`)
        yield* stillServes(honest, node)
        yield* Fiber.interrupt(sending)
      })
    )
  )

  const floods: ReadonlyArray<readonly [string, string, (index: number) => Uint8Array]> = [
    [
      "streams opened and reset in a loop",
      "that were reset or refused",
      (index) =>
        Buffer.concat([
          header(typeWindowUpdate, flagSyn, 1 + 2 * index, 0),
          header(typeWindowUpdate, flagRst, 1 + 2 * index, 0)
        ])
    ],
    ["pings without end", "that carry no data", (index) => header(typePing, flagSyn, 0, index)],
    ["windows of a byte without end", "that carry no data", (index) => header(typeWindowUpdate, 0, 1 + 2 * index, 1)]
  ]
  for (const [what, detail, frames] of floods) {
    it.live(`${what} end the connection, and nothing else`, () =>
      runNodes(
        Effect.gen(function* () {
          const { node, honest } = yield* two
          const gone = yield* nextEvent(node, "Disconnected")
          const peer = yield* rogue(3, node.address)
          const reading = yield* Effect.forkChild(readAll(peer), { startImmediately: true })
          const sending = yield* Effect.forkChild(
            Effect.ignore(
              Effect.forEach(
                Array.from({ length: 100 }, (_, batch) => batch),
                (batch) =>
                  peer.write(Buffer.concat(Array.from({ length: 2000 }, (_, index) => frames(batch * 2000 + index)))),
                { discard: true }
              )
            )
          )
          const { end } = yield* Fiber.join(gone)
          assert.strictEqual(end.by, "error")
          assert.include(end.detail, detail)
          yield* Effect.timeout(Fiber.join(sending), "5 seconds")
          yield* Effect.timeout(Fiber.join(reading), "5 seconds")
          yield* stillServes(honest, node)
        })
      )
    )
  }

  it.live("a stream whose negotiation is garbage, or never ends, is reset alone", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1, swarm: { negotiationDeadline: 300 } })
        const honest = yield* realNode({ seed: 2 })
        const peer = yield* rogue(3, node.address)
        const resets = new Set<number>()
        yield* Effect.forkChild(
          Effect.ignore(
            Effect.gen(function* () {
              for (;;) {
                const batch = yield* ByteStream.read(peer.secured)
                if (batch === null) return
                for (const [, flags, id] of framesOf(batch)) if ((flags & flagRst) !== 0) resets.add(id)
              }
            })
          )
        )
        const garbage = noise(500, 8)
        yield* peer.frame(typeData, flagSyn, 1, garbage.length, garbage)
        yield* peer.frame(typeWindowUpdate, flagSyn, 3, 0)
        yield* peer.frame(typeData, flagSyn, 5, 1, Buffer.from([19]))
        yield* peer.frame(typeData, flagSyn | flagFin, 7, 1, Buffer.from([19]))
        yield* eventually(
          () => [1, 3, 5, 7].every((id) => resets.has(id)),
          () => `only ${[...resets].join()} were reset`
        )
        assert.strictEqual((yield* node.swarm.counters).streamsRefused, 4)
        assert.lengthOf(yield* node.swarm.connections(), 1)
        yield* stillServes(honest, node)
      })
    )
  )
})
