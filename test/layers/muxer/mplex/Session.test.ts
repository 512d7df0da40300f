import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Varint from "../../../../src/data/Varint.ts"
import type { StreamFailure, StreamState } from "../../../../src/layers/muxer/internal/StreamState.ts"
import { defaults, type Limits } from "../../../../src/layers/muxer/mplex/Limits.ts"
import { Session } from "../../../../src/layers/muxer/mplex/Session.ts"
import { defined, hex, KiB, output, random } from "../yamux/support.ts"

const make = (dialer: boolean, limits: Partial<Limits> = {}): Session =>
  new Session(dialer, { ...defaults, ...limits }, 0)

const [newStream, messageReceiver, messageInitiator, closeReceiver, closeInitiator, resetReceiver, resetInitiator] = [
  0, 1, 2, 3, 4, 5, 6
]

/** A message by hand; its length may say something else than its data. */
const message = (id: number, flag: number, body: Uint8Array | number = 0, length?: number): Uint8Array => {
  const bytes = typeof body === "number" ? new Uint8Array(body) : body
  return new Uint8Array(Buffer.concat([Varint.encode(id * 8 + flag), Varint.encode(length ?? bytes.length), bytes]))
}

const open = (session: Session): StreamState => defined(session.open())
const accept = (session: Session): StreamState => defined(session.accept())

const opened = (session: Session, id: number): StreamState => {
  assert.isUndefined(session.receive(message(id, newStream), 0))
  return accept(session)
}

const carry = (left: Session, right: Session): void => {
  for (;;) {
    const there = output(left)
    const back = output(right)
    if (there.length === 0 && back.length === 0) return
    right.receive(there, 0)
    left.receive(back, 0)
  }
}

const drainInbox = (session: Session, stream: StreamState): number => {
  let total = 0
  for (;;) {
    const bytes = session.read(stream, 0)
    if (bytes === undefined || bytes === null) return total
    total += bytes.length
  }
}

const violation = (session: Session, expected: RegExp): void => {
  if (session.ended?._tag !== "Violation") return assert.fail(`ended with ${session.ended?._tag}`)
  assert.match(session.ended.detail, expected)
}

describe("messages", () => {
  it("NewStream with the id as its name goes before the first data; flags say who opened the stream", () => {
    const [dialer, listener] = [make(true), make(false)]
    const near = open(dialer)
    assert.strictEqual(output(dialer).length, 0)
    dialer.write(near, new Uint8Array([1, 2, 3]))
    const sent = output(dialer)
    // 0 << 3 | 0, "0"; 0 << 3 | 2, three bytes
    assert.strictEqual(hex(sent), "00013002 03010203")
    listener.receive(sent, 0)
    const far = accept(listener)
    assert.deepStrictEqual([near.id, far.id], [0, 0])
    listener.write(far, new Uint8Array([4]))
    listener.closeWrite(far)
    assert.strictEqual(hex(output(listener)), "01010403 00")
    dialer.closeWrite(near)
    assert.strictEqual(hex(output(dialer)), "0400")
  })

  it("resets by either end; a stream that was not announced needs none", () => {
    const [dialer, listener] = [make(true), make(false)]
    const [first, second, third] = [open(dialer), open(dialer), open(dialer)]
    dialer.announce(first)
    dialer.announce(second)
    carry(dialer, listener)
    dialer.reset(first, "test")
    assert.strictEqual(hex(output(dialer)), "0600")
    listener.reset(accept(listener), "test")
    listener.reset(accept(listener), "test")
    assert.strictEqual(hex(output(listener)), "05000d00")
    dialer.reset(third, "test")
    assert.strictEqual(output(dialer).length, 0)
  })

  it("both ends may use one id: they are two streams", () => {
    const [dialer, listener] = [make(true), make(false)]
    const [near, far] = [open(dialer), open(listener)]
    dialer.write(near, new Uint8Array([1]))
    listener.write(far, new Uint8Array([2]))
    carry(dialer, listener)
    const [there, here] = [accept(listener), accept(dialer)]
    assert.deepStrictEqual([near.id, there.id, far.id, here.id], [0, 0, 1, 1])
    assert.deepStrictEqual(listener.read(there, 0), new Uint8Array([1]))
    assert.deepStrictEqual(dialer.read(here, 0), new Uint8Array([2]))
    dialer.write(here, new Uint8Array([3]))
    carry(dialer, listener)
    assert.deepStrictEqual(listener.read(far, 0), new Uint8Array([3]))
  })

  it("data is cut so that a message fills one Noise message", () => {
    const dialer = make(true)
    const near = open(dialer)
    assert.strictEqual(dialer.write(near, new Uint8Array(200_000)), 200_000)
    const sizes: Array<number> = []
    const listener = make(false)
    const sent = output(dialer)
    listener.receive(sent, 0)
    const far = accept(listener)
    for (let bytes = listener.read(far, 0); bytes; bytes = listener.read(far, 0)) sizes.push(bytes.length)
    assert.deepStrictEqual(sizes, [65_508, 65_508, 65_508, 3476])
  })

  it("a large id, a name and bodies of close and reset are taken", () => {
    const listener = make(false)
    const id = 2 ** 50 - 1
    const name = new TextEncoder().encode("a name that somebody gave it")
    for (const bytes of [
      message(id, newStream, name),
      message(id, messageInitiator, new Uint8Array([7])),
      message(id, closeInitiator, 5)
    ])
      for (const byte of bytes) assert.isUndefined(listener.receive(new Uint8Array([byte]), 0))
    const stream = accept(listener)
    assert.deepStrictEqual(listener.read(stream, 0), new Uint8Array([7]))
    assert.strictEqual(listener.read(stream, 0), null)
    listener.write(stream, new Uint8Array([8]))
    assert.strictEqual(hex(output(listener)), "f9ffffff ffffff0f 0108")
  })
})

describe("violations", () => {
  const start = message(0, newStream)
  const cases: ReadonlyArray<readonly [string, ReadonlyArray<Uint8Array>, RegExp]> = [
    ["an unknown flag", [message(0, 7)], /flag 7/],
    ["a stream opened twice", [start, start], /opened twice/],
    ["a message of more than 1 MiB", [start, message(0, messageInitiator, 0, 1024 * KiB + 1)], /1048577 bytes/],
    ["a name of more than 1 MiB", [message(0, newStream, 0, 2 ** 40)], /at most 1048576/],
    ["a stray message of more than 1 MiB", [message(9, resetReceiver, 0, 2 ** 53 - 1)], /at most 1048576/],
    ["a number without end", [new Uint8Array(9).fill(0xff)], /9 bytes/],
    ["a number that is not minimal", [Uint8Array.from([0x80, 0])], /shortest/],
    ["an id beyond 2^50", [Uint8Array.from([...new Uint8Array(8).fill(0xff), 0x7f])], /stream id above/],
    [
      "data after its close",
      [start, message(0, closeInitiator), message(0, messageInitiator, 1)],
      /data on stream 0 after its close/
    ]
  ]
  for (const [name, messages, expected] of cases) {
    it(`for ${name}`, () => {
      const listener = make(false)
      for (const bytes of messages) listener.receive(bytes, 0)
      violation(listener, expected)
      assert.strictEqual(listener.streamCount, 0)
    })
  }

  it("streams opened and reset, or refused, without end; a thousand a second are allowed", () => {
    for (const limits of [{}, { acceptBacklog: 0 }]) {
      const listener = make(false, limits)
      let id = 0
      for (; listener.ended === undefined && id < 100_000; id++) {
        listener.receive(message(id, newStream), 0)
        listener.receive(message(id, resetInitiator), 0)
        listener.takeTouched()
      }
      assert.strictEqual(id, defaults.wastedStreams + 1)
      violation(listener, /reset or refused/)
    }
    const listener = make(false)
    for (let id = 0; id < 30_000; id++) {
      listener.receive(message(id, newStream), id)
      listener.receive(message(id, resetInitiator), id)
      listener.takeTouched()
    }
    assert.isUndefined(listener.ended)
  })

  it("messages that carry nothing, without end", () => {
    const floods = [
      message(0, messageInitiator),
      message(0, closeInitiator),
      message(7, closeReceiver),
      message(7, resetReceiver, 3),
      message(7, messageReceiver)
    ]
    for (const flood of floods) {
      const listener = make(false)
      listener.receive(message(0, newStream), 0)
      let count = 0
      while (listener.ended === undefined && count < 100_000) {
        listener.receive(flood, 0)
        count += 1
      }
      violation(listener, /carry no data/)
      assert.isAtMost(count, defaults.emptyFrames + 1)
    }
  })

  it("10,000 streams at once are bounded, and refused beyond", () => {
    const listener = make(false)
    for (let id = 0; id < 10_000; id++) listener.receive(message(id, newStream), 0)
    assert.isUndefined(listener.ended)
    assert.strictEqual(listener.streamCount, defaults.acceptBacklog)
    assert.strictEqual(listener.counts.refused, 10_000 - defaults.acceptBacklog)
  })
})

describe("what crosses a reset", () => {
  it("is dropped, and the id of a stream that is over says nothing", () => {
    const listener = make(false)
    const stream = opened(listener, 0)
    listener.reset(stream, "test")
    for (const bytes of [message(0, messageInitiator, 1000), message(0, closeInitiator), message(0, resetInitiator)]) {
      assert.isUndefined(listener.receive(bytes, 0))
    }
    assert.deepStrictEqual([listener.counts.strayBytes, listener.unread, listener.streamCount], [1000, 0, 0])
  })

  it("a reset in the middle of a message drops the rest of it", () => {
    const listener = make(false)
    const stream = opened(listener, 0)
    const bytes = message(0, messageInitiator, 1000)
    listener.receive(bytes.subarray(0, 500), 0)
    listener.reset(stream, "test")
    assert.isUndefined(listener.receive(bytes.subarray(500), 0))
    assert.strictEqual(listener.unread, 0)
    assert.strictEqual(opened(listener, 1).inbound, true)
  })
})

describe("slow readers", () => {
  it("hold up the connection for so long, and are reset", () => {
    const listener = make(false, { maxUnreadPerStream: 1000 })
    const [slow, other] = [opened(listener, 0), opened(listener, 1)]
    listener.receive(message(0, messageInitiator, 1000), 0)
    assert.isFalse(listener.paused)
    listener.receive(message(0, messageInitiator, 1), 100)
    assert.isTrue(listener.paused)
    assert.strictEqual(listener.deadline, 5100)
    assert.isUndefined(listener.tick(5099))
    assert.strictEqual(slow.failure, undefined)
    listener.tick(5100)
    const failure: StreamFailure | undefined = slow.failure
    assert.include(
      failure?._tag === "ResetLocally" ? failure.because : "",
      "limit of 1000 unread bytes of stream 0 reached (1001 in use); see docs/limits.md, and its reader had 5000 ms"
    )
    assert.deepStrictEqual([listener.paused, listener.unread, other.failure], [false, 0, undefined])
    assert.strictEqual(hex(output(listener)), "0500")
  })

  it("that read half in time, close, or have all, hold up nobody", () => {
    const fill = () => {
      const listener = make(false, { maxUnreadPerStream: 1000 })
      const stream = opened(listener, 0)
      for (let count = 0; count < 11; count++) listener.receive(message(0, messageInitiator, 100), 0)
      assert.isTrue(listener.paused)
      return { listener, stream }
    }
    const reads = fill()
    for (let count = 0; count < 20 && reads.stream.inbox.size > 500; count++) {
      assert.isTrue(reads.listener.paused)
      reads.listener.read(reads.stream, 0)
    }
    assert.isFalse(reads.listener.paused)
    assert.strictEqual(reads.listener.deadline, Number.POSITIVE_INFINITY)
    const closes = fill()
    closes.listener.closeRead(closes.stream, 0)
    assert.isFalse(closes.listener.paused)
    const resets = fill()
    resets.listener.reset(resets.stream, "test")
    assert.isFalse(resets.listener.paused)
    const complete = fill()
    complete.listener.receive(message(0, closeInitiator), 0)
    assert.isFalse(complete.listener.paused)
    assert.strictEqual(drainInbox(complete.listener, complete.stream), 1100)
  })

  it("together hold up the connection too, and then those that hold most are reset", () => {
    const listener = make(false, { maxUnread: 10_000, maxUnreadPerStream: 5000 })
    const streams = [0, 1, 2, 3].map((id) => opened(listener, id))
    for (const [index, size] of [3000, 2500, 2000, 100].entries())
      listener.receive(message(index, messageInitiator, size), 0)
    assert.isTrue(listener.paused)
    assert.strictEqual(listener.deadline, 5000)
    listener.tick(5000)
    assert.deepStrictEqual(
      streams.map((stream) => stream.failure?._tag),
      ["ResetLocally", undefined, undefined, undefined]
    )
    assert.isFalse(listener.paused)
    assert.strictEqual(listener.unread, 4600)
  })

  it("even if nothing pauses, no more is held than all streams may", () => {
    const listener = make(false, { maxUnread: 100_000 })
    for (let id = 0; id < 100; id++) {
      opened(listener, id)
      listener.receive(message(id, messageInitiator, 5000), 0)
      assert.isAtMost(listener.unread, 100_000)
    }
    assert.isUndefined(listener.ended)
  })
})

describe("random", () => {
  interface Pair {
    readonly near: StreamState
    far: StreamState | undefined
    readonly sent: [number, number]
    readonly read: [number, number]
  }
  const byteAt = (id: number, at: number): number => (id * 7 + Math.imul(at, 0x9e3779b1)) >>> 24

  const check = (seed: number): void => {
    const next = random(seed)
    const pick = (most: number) => Math.floor(next() * most)
    const sides = [make(true), make(false)] as const
    const wires: [Array<Uint8Array>, Array<Uint8Array>] = [[], []]
    const pairs = new Map<number, Pair>()
    const flush = (side: 0 | 1) =>
      sides[side].drain((bytes) => {
        for (let at = 0; at < bytes.length;) {
          const end = Math.min(bytes.length, at + 1 + pick(next() < 0.3 ? 5 : 70_000))
          wires[side].push(bytes.slice(at, end))
          at = end
        }
        return bytes.length
      })
    const deliver = (side: 0 | 1, most: number) => {
      const receiver = sides[side === 0 ? 1 : 0]
      for (const bytes of wires[side].splice(0, most)) {
        if (receiver.receive(bytes, 0) !== undefined) assert.fail("a violation")
      }
      for (let stream = receiver.accept(); stream !== undefined; stream = receiver.accept()) {
        const pair = pairs.get(stream.id)
        if (pair !== undefined) pair.far = stream
      }
    }
    const held = (side: 0 | 1): number => {
      let sum = 0
      for (const { far, near } of pairs.values()) {
        sum += ((near.id % 2 === 0) === (side === 0) ? near : far)?.inbox.size ?? 0
      }
      return sum
    }
    for (let step = 0; step < 500; step++) {
      const side = pick(2) === 0 ? 0 : 1
      if (next() < 0.1) {
        const near = open(sides[side])
        pairs.set(near.id, { near, far: undefined, sent: [0, 0], read: [0, 0] })
      }
      const all = [...pairs.values()]
      const pair = all[pick(all.length)]
      const streams =
        pair === undefined ? undefined : pair.near.id % 2 === 0 ? [pair.near, pair.far] : [pair.far, pair.near]
      const stream = streams?.[side]
      if (pair !== undefined && stream !== undefined) {
        const session = sides[side]
        const turn = next()
        if (turn < 0.45) {
          const bytes = new Uint8Array(pick(next() < 0.1 ? 100_000 : 2000))
          for (let i = 0; i < bytes.length; i++) bytes[i] = byteAt(stream.id, pair.sent[side] + i)
          pair.sent[side] += session.write(stream, bytes)
        } else if (turn < 0.8) {
          const bytes = session.read(stream, 0)
          if (bytes !== undefined && bytes !== null) {
            for (let i = 0; i < bytes.length; i += 1 + (bytes.length >> 5)) {
              if (bytes[i] !== byteAt(stream.id, pair.read[side] + i)) assert.fail("a byte is wrong")
            }
            pair.read[side] += bytes.length
          } else if (bytes === null && !stream.readClosed) {
            assert.strictEqual(pair.read[side], pair.sent[side === 0 ? 1 : 0])
          }
        } else if (turn < 0.85) session.closeWrite(stream)
        else if (turn < 0.87) session.reset(stream, "random")
        else if (turn < 0.89) session.closeRead(stream, 0)
        else if (turn < 0.92) session.announce(stream)
      }
      if (next() < 0.5) flush(side)
      sides[side].grantTurns()
      if (next() < 0.5) deliver(side, 1 + pick(10))
      for (const each of [0, 1] as const) {
        sides[each].takeTouched()
        if (sides[each].unread !== held(each)) assert.fail(`${sides[each].unread} unread, but inboxes of ${held(each)}`)
      }
    }
    for (const { far, near } of pairs.values()) {
      const side = near.id % 2 === 0 ? 0 : 1
      sides[side].reset(near, "over")
      if (far !== undefined) sides[side === 0 ? 1 : 0].reset(far, "over")
    }
    for (const side of [0, 1, 0, 1] as const) {
      flush(side)
      deliver(side, Number.POSITIVE_INFINITY)
      for (const { far, near } of pairs.values()) {
        sides[near.id % 2 === 0 ? 0 : 1].reset(near, "over")
        if (far !== undefined) sides[near.id % 2 === 0 ? 1 : 0].reset(far, "over")
      }
    }
    assert.deepStrictEqual([sides[0].unread, sides[1].unread], [0, 0])
    assert.deepStrictEqual([sides[0].streamCount, sides[1].streamCount], [0, 0])
  }

  it.prop(
    "two sessions carry everything in order, count what is unread, leave nothing",
    { seed: Schema.Int },
    ({ seed }) => {
      check(seed)
    },
    { arbitrary: { runs: 40 } }
  )

  it("any bytes: never a throw, never unbounded", () => {
    for (let seed = 0; seed < 3000; seed++) {
      const next = random(seed)
      const pick = (most: number) => Math.floor(next() * most)
      const session = make(seed % 2 === 0)
      for (let count = 0; count < 60 && session.ended === undefined; count++) {
        const bytes =
          next() < 0.05
            ? Uint8Array.from({ length: pick(64) }, () => pick(256))
            : message(pick(4), pick(next() < 0.02 ? 8 : 7), pick(200))
        for (let at = 0; at < bytes.length;) {
          const end = at + 1 + pick(40)
          session.receive(bytes.subarray(at, end), count)
          at = end
        }
        if (next() < 0.3) session.accept()
        if (session.outputSize > 10_000 || session.streamCount > 64) assert.fail("it has grown")
      }
    }
  })
})
