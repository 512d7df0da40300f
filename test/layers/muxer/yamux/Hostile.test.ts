import { assert, describe, it } from "@effect/vitest"
import { defaults } from "../../../../src/layers/muxer/yamux/Limits.ts"
import type { Session } from "../../../../src/layers/muxer/yamux/Session.ts"
import {
  accept,
  ack,
  carry,
  data,
  drainInbox,
  fin,
  frame,
  goAway,
  KiB,
  make,
  open,
  output,
  ping,
  rst,
  syn,
  update,
  window
} from "./support.ts"

const violation = (session: Session, expected: RegExp): void => {
  if (session.ended?._tag !== "Violation") return assert.fail(`ended with ${session.ended?._tag}`)
  assert.match(session.ended.detail, expected)
}

/** Frames until the session has had enough, at most so many; says how many it took. */
const until = (session: Session, most: number, next: (index: number) => Uint8Array, nowMs = 0): number => {
  for (let index = 0; index < most; index++) {
    if (session.receive(next(index), nowMs) !== undefined) return index
    session.takeTouched()
    if (index % 64 === 0) output(session)
  }
  return most
}

describe("streams", () => {
  it("10,000 at once: the backlog is filled, the others refused, the connection lives", () => {
    const server = make(false)
    assert.strictEqual(
      until(server, 10_000, (index) => frame(update, syn, 1 + 2 * index, 0)),
      10_000
    )
    assert.strictEqual(server.streamCount, defaults.acceptBacklog)
    assert.strictEqual(server.counts.refused, 10_000 - defaults.acceptBacklog)
    assert.isUndefined(server.ended)
    assert.isBelow(server.outputSize, 2 * KiB)
  })

  it("without end: they end the connection", () => {
    const server = make(false)
    const taken = until(server, 100_000, (index) => frame(update, syn, 1 + 2 * index, 0))
    assert.strictEqual(taken, defaults.acceptBacklog + defaults.wastedStreams)
    violation(server, /more than 10000 streams at once, or 1000 a second/)
    assert.strictEqual(server.streamCount, 0)
  })

  it("opened and reset in a loop: ends the connection at a rate above the budget", () => {
    const server = make(false)
    let id = -1
    const pair = (): Uint8Array =>
      new Uint8Array(Buffer.concat([frame(data, syn, (id += 2), 1), frame(update, rst, id, 0)]))
    assert.strictEqual(until(server, 100_000, pair), defaults.wastedStreams)
    violation(server, /reset or refused/)
  })

  it("a thousand a second cancelled by the remote, in bursts, for a minute: allowed; two thousand: not", () => {
    const run = (perSecond: number): Session => {
      const server = make(false)
      let id = -1
      for (let second = 0; second < 60 && server.ended === undefined; second++) {
        until(
          server,
          perSecond,
          () => new Uint8Array(Buffer.concat([frame(data, syn, (id += 2), 1), frame(update, rst, id, 0)])),
          second * 1000
        )
      }
      return server
    }
    assert.isUndefined(run(1000).ended)
    violation(run(2000), /reset or refused/)
  })

  it("a thousand short streams a second, closed in order, for half a minute count for nothing", () => {
    const server = make(false, { wastedStreams: 1, wastedStreamsPerSecond: 0, emptyFramesPerSecond: 0 })
    const [request, answer] = [new Uint8Array(100), new Uint8Array(100)]
    let id = -1
    for (let second = 0; second < 30; second++) {
      for (let count = 0; count < 1000; count++) {
        id += 2
        server.receive(frame(data, syn, id, request.length, request), second * 1000)
        server.receive(frame(update, fin, id, 0), second * 1000)
        const stream = accept(server)
        drainInbox(server, stream)
        server.write(stream, answer)
        server.closeWrite(stream)
        server.takeTouched()
        if (count % 64 === 0) output(server)
      }
    }
    assert.isUndefined(server.ended)
    assert.deepStrictEqual([server.streamCount, server.unread], [0, 0])
  })

  it("opened after the remote's go-away are bounded like any other", () => {
    const server = make(false)
    server.receive(frame(goAway, 0, 0, 0), 0)
    until(server, 5000, (index) => frame(update, syn, 1 + 2 * index, 0))
    assert.isUndefined(server.ended)
    assert.strictEqual(server.streamCount, defaults.acceptBacklog)
    until(server, 100_000, () => frame(goAway, 0, 0, 0))
    violation(server, /carry no data/)
  })
})

describe("frames that carry nothing", () => {
  const floods: ReadonlyArray<readonly [string, (index: number) => Uint8Array]> = [
    ["pings", (index) => frame(ping, syn, 0, index)],
    ["answers to no ping", (index) => frame(ping, ack, 0, index)],
    ["window updates of a byte", () => frame(update, 0, 1, 1)],
    ["window updates of nothing", () => frame(update, 0, 1, 0)],
    ["empty data", () => frame(data, 0, 1, 0)],
    ["acknowledgements", () => frame(update, ack, 1, 0)],
    ["half-closes", () => frame(update, fin, 1, 0)],
    ["resets of streams that are not there", (index) => frame(update, rst, 99 + 2 * index, 0)],
    ["windows of streams that are not there", (index) => frame(update, 0, 99 + 2 * index, 1)]
  ]
  for (const [name, next] of floods) {
    it(`${name} without end: bounded, then the end of the connection`, () => {
      const server = make(false)
      server.receive(frame(update, syn, 1, 0), 0)
      const taken = until(server, 100_000, next)
      assert.isAtMost(taken, defaults.emptyFrames)
      assert.isAtLeast(taken, defaults.emptyFrames - 2)
      violation(server, /carry no data and answer nothing/)
      assert.isBelow(server.outputSize, 2 * KiB)
    })
    it(`${name}: five a millisecond for ten seconds are allowed`, () => {
      const server = make(false)
      server.receive(frame(update, syn, 1, 0), 0)
      for (let now = 0; now < 10_000; now++) until(server, 5, (index) => next(now * 5 + index), now)
      assert.isUndefined(server.ended)
    })
  }

  it("windows that are given back for what was sent are earned", () => {
    const limits = { emptyFrames: 20, emptyFramesPerSecond: 0 }
    const client = make(true, { ...limits, outputHighWater: 1e9 })
    const near = open(client)
    client.write(near, new Uint8Array(1))
    output(client)
    for (let round = 0; round < 1000; round++) {
      assert.strictEqual(client.write(near, new Uint8Array(4 * KiB)), 4 * KiB)
      output(client)
      // A remote that gives back each KiB that it reads.
      for (let part = 0; part < 4; part++) client.receive(frame(update, 0, near.id, KiB), 0)
    }
    assert.isUndefined(client.ended)
  })

  it("two sessions that move a lot meet no bound", () => {
    const limits = { emptyFrames: 50, emptyFramesPerSecond: 0 }
    const [client, server] = [make(true, limits), make(false, limits)]
    const near = open(client)
    const piece = new Uint8Array(256 * KiB)
    client.write(near, piece.subarray(0, 1))
    carry(client, server)
    const far = accept(server)
    for (let sent = 0; sent < 128 * KiB * KiB;) {
      const taken = client.write(near, piece)
      if (taken === 0) assert.fail("nothing was taken")
      sent += taken
      client.drain((bytes) => {
        server.receive(bytes, 0)
        return bytes.length
      })
      drainInbox(server, far)
      client.receive(output(server), 0)
      server.takeTouched()
      client.takeTouched()
    }
    assert.deepStrictEqual([client.ended, server.ended], [undefined, undefined])
  })
})

describe("data that nobody wants", () => {
  it("for a stream that was reset here: as much as its window had left, and not a byte more", () => {
    const server = make(false)
    server.receive(frame(data, syn, 1, 1000), 0)
    server.reset(accept(server), "test")
    // One window is allowed from the start.
    const allowed = window + (window - 1000)
    assert.isUndefined(server.receive(frame(data, 0, 1, allowed), 0))
    assert.deepStrictEqual([server.counts.strayBytes, server.unread], [allowed, 0])
    server.receive(frame(data, 0, 1, 1), 0)
    violation(server, /1 bytes of data on stream 1, which is not open; the windows of such streams have 0 left/)
  })

  it("for streams that were refused: a window each", () => {
    const server = make(false, { acceptBacklog: 0 })
    for (const id of [1, 3, 5]) assert.isUndefined(server.receive(frame(data, syn, id, window), 0))
    assert.isUndefined(server.receive(frame(data, 0, 5, window), 0))
    server.receive(frame(data, 0, 5, 1), 0)
    violation(server, /not open/)
  })

  it("for a stream that both ends have closed: none but the first window", () => {
    const server = make(false)
    server.receive(frame(data, syn | fin, 1, 10), 0)
    const stream = accept(server)
    drainInbox(server, stream)
    server.closeWrite(stream)
    assert.isTrue(stream.done)
    assert.isUndefined(server.receive(frame(data, 0, 1, window), 0))
    server.receive(frame(data, 0, 1, 1), 0)
    violation(server, /not open/)
  })
})

describe("a remote that reads nothing", () => {
  it("is given up when nothing was taken for the whole time", () => {
    const client = make(true, { keepAliveIntervalMs: 1e9 })
    client.write(open(client), new Uint8Array(100))
    client.drain(
      () => 0,
      () => 1000
    )
    assert.strictEqual(client.deadline, 61_000)
    // A second attempt that takes nothing changes nothing; one that takes a byte does.
    client.drain(
      () => 0,
      () => 20_000
    )
    assert.strictEqual(client.deadline, 61_000)
    client.drain(
      () => 1,
      () => 30_000
    )
    assert.strictEqual(client.deadline, 90_000)
    assert.isUndefined(client.tick(89_999))
    assert.deepStrictEqual(client.tick(90_000), { _tag: "SendTimeout", afterMs: 60_000 })
  })

  it("has its time once more after this process was halted", () => {
    const client = make(true, { keepAliveIntervalMs: 1e9 })
    client.write(open(client), new Uint8Array(100))
    client.drain(() => 0)
    assert.isUndefined(client.tick(500_000))
    assert.strictEqual(client.deadline, 560_000)
    assert.strictEqual(client.tick(800_000)?._tag, "SendTimeout")
  })

  it("and takes all in the end, is not", () => {
    const client = make(true, { keepAliveIntervalMs: 1e9 })
    client.write(open(client), new Uint8Array(100))
    client.drain(() => 0)
    output(client)
    assert.isUndefined(client.tick(10_000_000))
  })
})

describe("bytes that are not read", () => {
  it("are bounded over all streams: those that hold most are reset, and say why", () => {
    const server = make(false, { maxUnread: 1_000_000 })
    const small = 1
    server.receive(frame(data, syn, small, 100), 0)
    const kept = accept(server)
    const others = [3, 5, 7, 9].map((id) => {
      assert.isUndefined(server.receive(frame(data, syn, id, window - id * 100), 0))
      return accept(server)
    })
    // The fourth is beyond: the largest goes.
    assert.deepStrictEqual(
      others.map((stream) => stream.failure?._tag),
      ["ResetLocally", undefined, undefined, undefined]
    )
    const failure = others[0]?.failure
    assert.include(
      failure?._tag === "ResetLocally" ? failure.because : "",
      "limit of 1000000 unread bytes of connection reached"
    )
    assert.isUndefined(kept.failure)
    assert.isAtMost(server.unread, 1_000_000)
    assert.isUndefined(server.ended)
    assert.strictEqual(server.counts.shed, 1)
    // What was on its way for it is no violation.
    assert.isUndefined(server.receive(frame(data, 0, 3, 100), 0))
  })

  it("of streams that are done count, and can be shed; then they do not look as if they had ended", () => {
    const server = make(false, { maxUnread: 300_000 })
    server.receive(frame(data, syn | fin, 1, 200_000), 0)
    const done = accept(server)
    server.closeWrite(done)
    assert.isTrue(done.done)
    assert.deepStrictEqual([server.streamCount, server.unread], [0, 200_000])
    server.receive(frame(data, syn, 3, 150_000), 0)
    assert.deepStrictEqual([server.unread, done.failure?._tag], [150_000, "ResetLocally"])
    assert.isUndefined(server.read(done, 0))
    assert.isFalse(server.canRead(done))
  })

  it("of a stream that was reset before anybody accepted it are dropped", () => {
    const server = make(false)
    server.receive(frame(data, syn | fin, 1, 1000), 0)
    server.receive(frame(update, rst, 1, 0), 0)
    assert.deepStrictEqual([server.unread, server.hasBacklog], [0, false])
  })

  it("4,096 streams that fill their windows hold no more than the bound", () => {
    const server = make(false)
    const payload = new Uint8Array(window)
    for (let id = 1; id < 2 * 4096 && server.ended === undefined; id += 2) {
      server.receive(frame(data, syn, id, window, new Uint8Array()), 0)
      server.receive(payload, 0)
      server.accept()
      server.takeTouched()
      if (server.unread > defaults.maxUnread) assert.fail("too much is held")
    }
    assert.isUndefined(server.ended)
    assert.strictEqual(server.unread, defaults.maxUnread)
  })
})

describe("windows grow no more", () => {
  const grown = (prepare: (server: Session) => void): boolean => {
    const server = make(false, { maxUnread: 1_000_000 })
    server.receive(frame(data, syn, 1, window), 0)
    const stream = accept(server)
    prepare(server)
    server.ping(0)
    server.receive(frame(ping, ack, 0, 1), 1)
    drainInbox(server, stream, 2)
    return stream.windowSize > window
  }
  it("when memory was refused, or half of what may be unread is", () => {
    assert.isTrue(grown(() => {}))
    assert.isFalse(
      grown((server) => {
        server.pressed = true
      })
    )
    assert.isFalse(
      grown((server) => {
        for (const id of [3, 5, 7]) server.receive(frame(data, syn, id, 200_000), 0)
      })
    )
  })
})
