import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { Limits } from "../../../../src/layers/muxer/yamux/Limits.ts"
import type { StreamState } from "../../../../src/layers/muxer/yamux/StreamState.ts"
import {
  accept,
  ack,
  carry,
  data,
  drainInbox,
  fin,
  frame,
  goAway,
  hex,
  KiB,
  make,
  open,
  output,
  ping,
  random,
  rst,
  syn,
  update,
  window
} from "./support.ts"

describe("frames", () => {
  it("SYN travels with the first data, ACK with the first answer", () => {
    const [client, server] = [make(true), make(false)]
    const near = open(client)
    assert.strictEqual(output(client).length, 0)
    client.announce(near)
    client.write(near, new Uint8Array([1, 2, 3]))
    const sent = output(client)
    assert.strictEqual(hex(sent), "00000001 00000001 00000003 010203")
    server.receive(sent, 0)
    const far = accept(server)
    server.write(far, new Uint8Array([4]))
    assert.strictEqual(hex(output(server)), "00000002 00000001 00000001 04")
    server.closeWrite(far)
    assert.strictEqual(hex(output(server)), "00010004 00000001 00000000")
  })

  it("an announced stream without data sends SYN alone, an accepted one ACK alone", () => {
    const [client, server] = [make(true), make(false)]
    client.announce(open(client))
    const sent = output(client)
    assert.strictEqual(hex(sent), "00010001 00000001 00000000")
    server.receive(sent, 0)
    assert.strictEqual(output(server).length, 0)
    accept(server)
    assert.strictEqual(hex(output(server)), "00010002 00000001 00000000")
  })

  it("half-close, reset, ping, pong and go-away", () => {
    const client = make(true)
    const [first, second, third] = [open(client), open(client), open(client)]
    client.closeWrite(first)
    assert.strictEqual(hex(output(client)), "00010005 00000001 00000000")
    client.write(second, new Uint8Array(1))
    output(client)
    client.reset(second, "test")
    assert.strictEqual(hex(output(client)), "00010008 00000003 00000000")
    client.reset(third, "never announced")
    assert.strictEqual(output(client).length, 0)
    client.ping(0)
    assert.strictEqual(hex(output(client)), "00020001 00000000 00000001")
    client.receive(frame(ping, syn, 0, 0xdeadbeef), 0)
    assert.strictEqual(hex(output(client)), "00020002 00000000 deadbeef")
    client.close("done")
    assert.strictEqual(hex(output(client)), "00030000 00000000 00000000 00010008 00000001 00000000")
  })

  it("a server's ids are even, a client's odd", () => {
    assert.deepStrictEqual([open(make(true)).id, open(make(false)).id], [1, 2])
  })

  it("data is cut so that header and payload fill one Noise message", () => {
    const client = make(true)
    const stream = open(client)
    assert.strictEqual(client.write(stream, new Uint8Array(200_000)), 200_000)
    const sent = Buffer.from(output(client))
    assert.strictEqual(sent.readUInt32BE(8), 65_507)
    assert.strictEqual(sent.length, 200_000 + 4 * 12)
  })

  it("SYN, ACK, data and FIN may share a frame", () => {
    const server = make(false)
    server.receive(frame(data, syn | fin, 1, 3), 0)
    const stream = accept(server)
    assert.strictEqual(server.read(stream, 0)?.length, 3)
    assert.strictEqual(server.read(stream, 0), null)
  })

  it("payload is not copied if it fills its batch, and does not hold a large batch if it is small", () => {
    const server = make(false)
    const large = frame(data, syn, 1, 50_000)
    server.receive(large, 0)
    const stream = accept(server)
    assert.strictEqual(server.read(stream, 0)?.buffer, large.buffer)
    const many = new Uint8Array(Buffer.concat(Array.from({ length: 500 }, () => frame(data, 0, 1, 20))))
    server.receive(many, 0)
    let held = 0
    for (let bytes = server.read(stream, 0); bytes; bytes = server.read(stream, 0)) held += bytes.buffer.byteLength
    assert.isAtLeast(held, 10_000)
    assert.isAtMost(held, 40_000)
    const mixed = new Uint8Array(Buffer.concat([frame(data, syn, 3, 20), frame(data, 0, 1, 50_000)]))
    server.receive(mixed, 0)
    assert.strictEqual(server.read(accept(server), 0)?.buffer.byteLength, 20)
    assert.strictEqual(server.read(stream, 0)?.buffer, mixed.buffer)
  })

  it("tiny frames that nobody reads cost memory by their bytes, not by their number", () => {
    const server = make(false)
    server.receive(frame(update, syn, 1, 0), 0)
    const stream = accept(server)
    const one = frame(data, 0, 1, 1)
    for (let count = 0; count < 100_000; count++) server.receive(one, 0)
    let reads = 0
    let total = 0
    for (let bytes = server.read(stream, 0); bytes; bytes = server.read(stream, 0)) {
      reads += 1
      total += bytes.length
    }
    assert.strictEqual(total, 100_000)
    assert.isBelow(reads, 50)
  })
})

describe("violations end the session with a go-away", () => {
  const opened = frame(update, syn, 1, 0)
  const cases: ReadonlyArray<readonly [string, ReadonlyArray<Uint8Array>, RegExp]> = [
    ["an unknown version", [Uint8Array.from([1, ...frame(ping, syn, 0, 0).subarray(1)])], /version 1/],
    ["an unknown type", [frame(4, 0, 0, 0)], /type 4/],
    ["data on the session's stream", [frame(data, 0, 0, 1)], /stream 0/],
    ["a window update on the session's stream", [frame(update, 0, 0, 1)], /stream 0/],
    ["a stream opened with our parity", [frame(update, syn, 2, 0)], /wrong end/],
    ["a stream opened twice", [opened, opened], /twice/],
    ["more data than the window", [frame(data, syn, 1, window + 1, new Uint8Array())], /window/],
    ["more data than the window in several frames", [frame(data, syn, 1, window), frame(data, 0, 1, 1)], /window/],
    ["more stray data than any window", [frame(data, 0, 7, 0xffff_ffff, new Uint8Array())], /window/],
    ["a window beyond 32 bits", [opened, frame(update, 0, 1, 0xffff_ffff)], /2\^32/],
    ["data after the end", [frame(update, syn | fin, 1, 0), frame(data, 0, 1, 1)], /after its FIN/]
  ]
  for (const [name, frames, expected] of cases) {
    it(`for ${name}`, () => {
      const server = make(false)
      for (const bytes of frames) server.receive(bytes, 0)
      const end = server.ended
      if (end?._tag !== "Violation") return assert.fail(`ended with ${end?._tag}`)
      assert.match(end.detail, expected)
      assert.strictEqual(hex(output(server).slice(-12)), "00030000 00000000 00000001")
      assert.strictEqual(server.streamCount, 0)
      assert.strictEqual(server.receive(opened, 0), end)
    })
  }

  it("refused streams whose refusals the remote does not read", () => {
    const server = make(false, { acceptBacklog: 0 })
    for (let id = 1; server.ended === undefined && id < 100_000; id += 2) server.receive(frame(update, syn, id, 0), 0)
    assert.strictEqual(server.ended?._tag, "Violation")
    assert.isBelow(server.outputSize, 256 * KiB)
  })
})

describe("what is legal though odd", () => {
  it("zero window updates, two ends, flags on unknown streams, stray data", () => {
    const server = make(false)
    server.receive(frame(update, syn, 1, 0), 0)
    for (const bytes of [
      frame(update, 0, 1, 0),
      frame(data, 0, 1, 0),
      frame(update, fin, 1, 0),
      frame(data, fin, 1, 0),
      frame(update, 0, 1, 5),
      frame(update, rst, 9, 0),
      frame(data, fin, 9, 10),
      frame(update, ack, 2, 1),
      frame(ping, ack, 0, 99)
    ])
      assert.isUndefined(server.receive(bytes, 0))
    assert.strictEqual(server.streamCount, 1)
    assert.strictEqual(server.counts.strayBytes, 10)
  })

  it("frames that cross a reset are dropped", () => {
    const server = make(false)
    server.receive(frame(data, syn, 1, 4), 0)
    const stream = accept(server)
    server.reset(stream, "test")
    assert.isUndefined(server.receive(frame(data, 0, 1, 7), 0))
    assert.strictEqual(server.counts.strayBytes, 7)
    assert.isUndefined(server.read(stream, 0))
  })

  it("what was sent in full before a reset or the connection's loss stays readable", () => {
    for (const last of ["reset", "loss"] as const) {
      const server = make(false)
      server.receive(frame(data, syn | fin, 1, 4), 0)
      const stream = accept(server)
      if (last === "reset") server.receive(frame(update, rst, 1, 0), 0)
      else server.end({ _tag: "Closed", detail: "gone" })
      assert.strictEqual(server.read(stream, 0)?.length, 4)
      assert.strictEqual(server.read(stream, 0), null)
    }
    const server = make(false)
    server.receive(frame(data, syn, 1, 4), 0)
    const stream = accept(server)
    server.receive(frame(update, rst, 1, 0), 0)
    assert.isFalse(server.canRead(stream))
  })

  it("a normal go-away lets open streams go on; any other ends the session", () => {
    const server = make(false)
    server.receive(frame(data, syn, 1, 4), 0)
    server.receive(frame(goAway, 0, 0, 0), 0)
    assert.isUndefined(server.ended)
    assert.isFalse(server.canOpen)
    assert.strictEqual(server.read(accept(server), 0)?.length, 4)
    assert.deepStrictEqual(server.receive(frame(goAway, 0, 0, 2), 0), { _tag: "RemoteGoAway", code: 2 })
  })
})

describe("limits", () => {
  it("streams beyond the backlog, or beyond all that may be open, are reset", () => {
    const server = make(false, { acceptBacklog: 2, maxInboundStreams: 3 })
    for (const id of [1, 3, 5]) server.receive(frame(data, syn, id, 5), 0)
    assert.strictEqual(hex(output(server)), "00010008 00000005 00000000")
    const stream = accept(server)
    accept(server)
    output(server)
    server.receive(frame(update, syn, 7, 0), 0)
    server.receive(frame(update, syn, 9, 0), 0)
    assert.strictEqual(hex(output(server)), "00010008 00000009 00000000")
    assert.deepStrictEqual([server.streamCount, server.counts.refused], [3, 2])
    server.reset(stream, "room")
    server.receive(frame(update, syn, 11, 0), 0)
    assert.strictEqual(server.streamCount, 3)
  })

  it("streams that come and go at once leave nothing behind", () => {
    const server = make(false)
    for (let id = 1; id < 20_000; id += 2) {
      server.receive(frame(data, syn, id, 1), 0)
      server.receive(frame(update, rst, id, 0), 0)
      server.takeTouched()
    }
    assert.deepStrictEqual([server.streamCount, server.hasBacklog, server.outputSize], [0, false, 0])
  })

  it("pings are answered up to a bound while nothing is sent", () => {
    const server = make(false)
    for (let value = 0; value < 1000; value++) server.receive(frame(ping, syn, 0, value), 0)
    assert.strictEqual(server.outputSize, 64 * 12)
    output(server)
    server.receive(frame(ping, syn, 0, 1), 0)
    assert.strictEqual(server.outputSize, 12)
  })

  it("at most so many opened streams are unacknowledged", () => {
    const [client, server] = [make(true, { maxUnacknowledged: 2 }), make(false)]
    client.announce(open(client))
    const second = open(client)
    assert.isUndefined(client.open())
    client.reset(second, "test")
    open(client)
    carry(client, server)
    assert.isUndefined(client.open())
    accept(server)
    carry(client, server)
    open(client)
  })

  it("ids run out without an error thrown", () => {
    const client = make(true)
    Reflect.set(client, "nextId", 0xffff_ffff)
    assert.strictEqual(open(client).id, 0xffff_ffff)
    assert.isFalse(client.hasIds)
    assert.isUndefined(client.open())
  })

  it("writes stop at the window and at the output's bound", () => {
    const client = make(true, { outputHighWater: 100_000 })
    const [first, second] = [open(client), open(client)]
    assert.strictEqual(client.write(first, new Uint8Array(300_000)), 100_000)
    assert.strictEqual(client.write(second, new Uint8Array(10)), 0)
    assert.isUndefined(client.open())
    const wide = make(true, { outputHighWater: 1_000_000 })
    const stream = open(wide)
    assert.strictEqual(wide.write(stream, new Uint8Array(300_000)), window)
    output(wide)
    assert.isFalse(wide.canWrite(stream))
    wide.receive(frame(update, 0, 1, 7), 0)
    assert.deepStrictEqual(wide.takeTouched(), [stream])
    assert.strictEqual(wide.write(stream, new Uint8Array(300_000)), 7)
  })

  it("writers take turns when the output is contended", () => {
    const client = make(true)
    const streams = Array.from({ length: 20 }, () => open(client))
    for (const stream of streams) client.receive(frame(update, ack, stream.id, 100_000_000), 0)
    const big = new Uint8Array(1_000_000)
    const written = new Map(streams.map((stream) => [stream, 0]))
    const write = (stream: StreamState) => written.set(stream, (written.get(stream) ?? 0) + client.write(stream, big))
    for (const stream of streams) write(stream)
    client.takeTouched()
    for (let round = 0; round < 200; round++) {
      output(client)
      client.grantTurns()
      for (const stream of client.takeTouched()) {
        write(stream)
        write(stream)
      }
    }
    const totals = [...written.values()]
    assert.isAtMost(Math.max(...totals) - Math.min(...totals), window + 64 * KiB)
    assert.isAbove(Math.min(...totals), 1_000_000)
  })
})

describe("turns", () => {
  it("a stream whose turn found the output full goes before the one that filled it", () => {
    const client = make(true)
    const [first, second, third] = [open(client), open(client), open(client)]
    for (const stream of [first, second, third]) client.receive(frame(update, 0, stream.id, 10_000_000), 0)
    const big = new Uint8Array(1_000_000)
    client.write(first, big)
    client.write(second, big)
    output(client)
    client.grantTurns()
    client.takeTouched()
    client.write(third, big)
    assert.strictEqual(client.write(second, big), 0)
    output(client)
    client.grantTurns()
    assert.deepStrictEqual(
      client.takeTouched().map((stream) => stream.id),
      [second.id, third.id]
    )
  })
})

describe("windows", () => {
  it("are given back by halves", () => {
    const server = make(false)
    server.receive(frame(data, syn, 1, window / 2 - 1), 0)
    const stream = accept(server)
    output(server)
    drainInbox(server, stream)
    assert.strictEqual(server.outputSize, 0)
    server.receive(frame(data, 0, 1, 1), 100_000)
    drainInbox(server, stream, 100_000)
    // Before it, a ping: a window may only grow once the round trip is known.
    assert.strictEqual(hex(output(server)), "00020001 00000000 00000001 00010000 00000001 00020000")
  })

  const readFor = (limits: Partial<Limits>, streams: number, stepMs: number) => {
    const [client, server] = [make(true, { outputHighWater: 1e9, ...limits }), make(false, limits)]
    const pairs = Array.from({ length: streams }, () => {
      const near = open(client)
      client.announce(near)
      carry(client, server)
      return [near, accept(server)] as const
    })
    server.ping(0)
    client.receive(output(server), 0)
    server.receive(output(client), 10)
    assert.strictEqual(server.liveness.rttMs, 10)
    let now = 10
    for (let round = 0; round < 16; round++) {
      now += stepMs
      for (const [near, far] of pairs) {
        client.write(near, new Uint8Array(near.sendWindow))
        server.receive(output(client), now)
        drainInbox(server, far, now)
        client.receive(output(server), now)
      }
    }
    return pairs.map(([, far]) => far.windowSize)
  }

  it("grow for a fast reader up to the bound of a stream", () => {
    assert.deepStrictEqual(readFor({}, 1, 20), [16 * KiB * KiB])
  })
  it("do not grow for a slow reader", () => {
    assert.deepStrictEqual(readFor({}, 1, 50), [window])
  })
  it("grow together up to the bound of a connection", () => {
    const sizes = readFor({ maxWindowGrowth: 1_000_000 }, 5, 20)
    assert.strictEqual(
      sizes.reduce((sum, size) => sum + size - window, 0),
      1_000_000
    )
  })
})

describe("keep-alive", () => {
  it("asks a silent remote, and gives it up", () => {
    const client = make(true)
    assert.strictEqual(client.deadline, 30_000)
    client.receive(frame(ping, ack, 0, 0), 5_000)
    assert.strictEqual(client.deadline, 35_000)
    assert.isUndefined(client.tick(30_000))
    assert.strictEqual(client.outputSize, 0)
    assert.isUndefined(client.tick(35_000))
    assert.strictEqual(output(client).length, 12)
    assert.strictEqual(client.deadline, 45_000)
    assert.isUndefined(client.tick(44_999))
    assert.deepStrictEqual(client.tick(45_000), { _tag: "KeepAliveTimeout", afterMs: 10_000 })
    assert.strictEqual(client.deadline, Number.POSITIVE_INFINITY)
  })

  it("anything that arrives is a sign of life", () => {
    const client = make(true)
    client.tick(30_000)
    client.receive(frame(update, rst, 2, 0), 39_000)
    assert.isUndefined(client.tick(45_000))
    assert.strictEqual(client.deadline, 69_000)
  })

  it("measures the round trip", () => {
    const [client, server] = [make(true), make(false)]
    client.ping(100)
    client.ping(110)
    server.receive(output(client), 0)
    client.receive(output(server), 130)
    assert.deepStrictEqual([client.liveness.pongs, client.liveness.rttMs], [1, 30])
  })
})

describe("random", () => {
  interface Pair {
    readonly near: StreamState
    far: StreamState | undefined
  }
  const byteAt = (id: number, at: number): number => (id * 7 + Math.imul(at, 0x9e3779b1)) >>> 24

  const check = (seed: number): void => {
    const next = random(seed)
    const pick = (most: number) => Math.floor(next() * most)
    // Some with so little room for what is unread that streams are reset for it.
    const maxUnread = next() < 0.3 ? 20_000 + pick(200_000) : 64 * KiB * KiB
    const sides = [make(true, { maxUnread }), make(false, { maxUnread })] as const
    const wires = [[], []] as [Array<Uint8Array>, Array<Uint8Array>]
    const pairs = new Map<number, Pair>()
    const written = new Map<StreamState, number>()
    const readSoFar = new Map<StreamState, number>()
    const ended = new Set<StreamState>()
    let now = 0

    /** The bytes in the inboxes of all streams of one side, whatever became of them. */
    const held = (side: 0 | 1): number => {
      let sum = 0
      for (const { far, near } of pairs.values()) {
        const stream = (near.id % 2 === 1) === (side === 0) ? near : far
        sum += stream?.inbox.size ?? 0
      }
      return sum
    }

    const flush = (side: 0 | 1, most: number) => {
      let budget = most
      sides[side].drain((bytes) => {
        const taken = Math.min(budget, bytes.length)
        budget -= taken
        // Cut anywhere; a copy, as a socket would make.
        for (let at = 0; at < taken;) {
          const end = Math.min(taken, at + 1 + pick(next() < 0.3 ? 15 : 70_000))
          wires[side].push(bytes.slice(at, end))
          at = end
        }
        return taken
      })
    }
    const deliver = (side: 0 | 1, most: number) => {
      for (const bytes of wires[side].splice(0, most)) {
        if (sides[side === 0 ? 1 : 0].receive(bytes, now) !== undefined) assert.fail("a violation")
      }
      const receiver = sides[side === 0 ? 1 : 0]
      for (let stream = receiver.accept(); stream !== undefined; stream = receiver.accept()) {
        const pair = pairs.get(stream.id)
        if (pair !== undefined) pair.far = stream
      }
    }
    const read = (side: 0 | 1, stream: StreamState, writer: StreamState, all: boolean) => {
      for (;;) {
        const bytes = sides[side].read(stream, now)
        if (bytes === undefined) return
        if (bytes === null) {
          ended.add(stream)
          if (!stream.readClosed) assert.strictEqual(readSoFar.get(stream) ?? 0, written.get(writer) ?? 0)
          return
        }
        const at = readSoFar.get(stream) ?? 0
        for (let i = 0; i < bytes.length; i += 1 + (bytes.length >> 5)) {
          if (bytes[i] !== byteAt(writer.id, at + i)) assert.fail(`byte ${at + i} of stream ${writer.id} is wrong`)
        }
        readSoFar.set(stream, at + bytes.length)
        if (!all) return
      }
    }
    const write = (side: 0 | 1, stream: StreamState) => {
      const at = written.get(stream) ?? 0
      const bytes = new Uint8Array(pick(next() < 0.1 ? 200_000 : 2_000))
      for (let i = 0; i < bytes.length; i++) bytes[i] = byteAt(stream.id, at + i)
      const sendWindow = stream.sendWindow
      const taken = sides[side].write(stream, bytes)
      if (taken > sendWindow) assert.fail("a window was overdrawn")
      written.set(stream, at + taken)
    }

    for (let step = 0; step < 600; step++) {
      now += pick(5)
      const side = pick(2) === 0 ? 0 : 1
      const session = sides[side]
      if (next() < 0.1) {
        const near = session.open()
        if (near !== undefined) pairs.set(near.id, { near, far: undefined })
      }
      const all = [...pairs.values()]
      const pair = all[pick(all.length)]
      const side2 = pair === undefined ? side : pair.near.id % 2 === 1 ? 0 : 1
      if (pair !== undefined) {
        const { far, near } = pair
        const turn = next()
        const other = side2 === 0 ? 1 : 0
        if (turn < 0.35) write(side2, near)
        else if (turn < 0.5 && far !== undefined) write(other, far)
        else if (turn < 0.7 && far !== undefined) read(other, far, near, next() < 0.5)
        else if (turn < 0.8 && far !== undefined) read(side2, near, far, next() < 0.5)
        else if (turn < 0.84) sides[side2].closeWrite(near)
        else if (turn < 0.88 && far !== undefined) sides[other].closeWrite(far)
        else if (turn < 0.89) sides[side2].reset(near, "random")
        else if (turn < 0.9 && far !== undefined) sides[other].closeRead(far, now)
        else if (turn < 0.93) sides[side2].announce(near)
        else if (turn < 0.94) sides[side2].ping(now)
      }
      if (next() < 0.5) flush(side, 1 + pick(100_000))
      sides[side].grantTurns()
      if (next() < 0.5) deliver(side, 1 + pick(10))
      for (const session of sides) {
        session.takeTouched()
        if (session.outputSize > 256 * KiB + 22_000) assert.fail("the output has grown")
      }
      for (const side of [0, 1] as const) {
        if (sides[side].unread > maxUnread) assert.fail("more is held than may be")
        if (sides[side].unread !== held(side)) assert.fail(`${sides[side].unread} unread, but inboxes of ${held(side)}`)
      }
    }
    // All that is left arrives, and is read to its end.
    for (const { far, near } of pairs.values()) {
      const side = near.id % 2 === 1 ? 0 : 1
      sides[side].closeWrite(near)
      if (far !== undefined) sides[side === 0 ? 1 : 0].closeWrite(far)
    }
    for (let round = 0; round < 5; round++) {
      for (const side of [0, 1] as const) {
        flush(side, Number.POSITIVE_INFINITY)
        deliver(side, Number.POSITIVE_INFINITY)
      }
      for (const { far, near } of pairs.values()) {
        const side = near.id % 2 === 1 ? 0 : 1
        const other = side === 0 ? 1 : 0
        if (far === undefined) continue
        sides[other].closeWrite(far)
        if (near.failure === undefined && far.failure === undefined) {
          if (!far.readClosed) read(other, far, near, true)
          read(side, near, far, true)
        }
      }
    }
    for (const { far, near } of pairs.values()) {
      if (far === undefined || near.failure !== undefined || far.failure !== undefined) continue
      assert.isTrue(near.done && far.done && ended.has(near) && (far.readClosed || ended.has(far)))
    }
    assert.deepStrictEqual([sides[0].streamCount, sides[1].streamCount], [0, 0])
    assert.deepStrictEqual([sides[0].unread, sides[1].unread], [held(0), held(1)])
    // A reader that gives up, or resets what has failed already, leaves nothing.
    for (const { far, near } of pairs.values()) {
      const side = near.id % 2 === 1 ? 0 : 1
      if (pick(2) === 0) sides[side].closeRead(near, now)
      else sides[side].reset(near, "over")
      if (far !== undefined) sides[side === 0 ? 1 : 0].reset(far, "over")
    }
    assert.deepStrictEqual([sides[0].unread, sides[1].unread], [0, 0])
  }

  it.prop(
    "two sessions carry everything in order, overdraw no window, leave nothing",
    { seed: Schema.Int },
    ({ seed }) => {
      check(seed)
    },
    { arbitrary: { runs: 40 } }
  )

  it("any bytes: never a throw, never unbounded", () => {
    for (let seed = 0; seed < 3000; seed++) {
      const next = random(seed)
      const session = make(seed % 2 === 0)
      for (let frames = 0; frames < 60 && session.ended === undefined; frames++) {
        const pick = (most: number) => Math.floor(next() * most)
        const bytes =
          next() < 0.05
            ? Uint8Array.from({ length: pick(64) }, () => pick(256))
            : frame(
                pick(next() < 0.02 ? 6 : 4),
                pick(16),
                pick(8),
                next() < 0.1 ? pick(2 ** 32) : pick(200),
                new Uint8Array(pick(200))
              )
        for (let at = 0; at < bytes.length;) {
          const end = at + 1 + pick(40)
          session.receive(bytes.subarray(at, end), frames)
          at = end
        }
        if (next() < 0.3) session.accept()
        if (session.outputSize > 10_000 || session.streamCount > 8) assert.fail("it has grown")
      }
    }
  })
})

describe("streams that the remote does not close", () => {
  it("are reset when their time is over, and are not forgotten before", () => {
    const [client, server] = [make(true, { closeTimeoutMs: 60_000 }), make(false)]
    const near = open(client)
    client.write(near, new Uint8Array([1]))
    carry(client, server)
    const far = accept(server)
    client.closeWrite(near)
    client.closeRead(near, 1000)
    carry(client, server, 1000)
    assert.strictEqual(client.deadline, Math.min(31_000, 61_000))
    client.receive(frame(ping, syn, 0, 1), 50_000)
    client.tick(60_999)
    assert.strictEqual(client.streamCount, 1)
    client.tick(61_000)
    assert.strictEqual(client.streamCount, 0)
    carry(client, server, 61_000)
    assert.deepStrictEqual(far.failure, { _tag: "ResetByPeer" })
  })

  it("need no reset when the remote closes in time", () => {
    const [client, server] = [make(true), make(false)]
    const near = open(client)
    client.write(near, new Uint8Array([1]))
    client.closeWrite(near)
    client.closeRead(near, 0)
    carry(client, server)
    server.closeWrite(accept(server))
    carry(client, server)
    assert.deepStrictEqual([client.streamCount, server.streamCount, near.failure], [0, 0, undefined])
    assert.strictEqual(client.deadline, 30_000)
  })
})
