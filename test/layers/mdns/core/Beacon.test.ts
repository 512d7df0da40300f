import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import * as Bytes from "../../../../src/data/Bytes.ts"
import {
  Beacon,
  blockSize,
  type Envelope,
  epochMs,
  maxMessage,
  type Moment
} from "../../../../src/layers/mdns/core/Beacon.ts"
import { noise } from "../../../support/peers.ts"

const key: Uint8Array = new Uint8Array(32).fill(7)
/** A quarter past an hour. */
const start = 480_000 * epochMs + epochMs / 4
const minute = 60_000

const beacon = (seed: number, ofKey = key, limits?: { readonly senders: number; readonly perSource: number }) =>
  new Beacon({ key: ofKey, seed: noise(32, seed), limits })

/** The same moment on both clocks, with the wall's off by so much. */
const at = (ms: number, skewMs = 0): Moment => ({ wallMs: start + ms + skewMs, monotonicMs: ms })

const seal = (from: Beacon, message: Uint8Array, moment: Moment): Envelope =>
  from.seal(message, moment) ?? assert.fail("the message is too long")

const open = (to: Beacon, envelope: Envelope, moment: Moment, source = "192.168.1.9"): string =>
  Result.match(to.open(envelope, source, moment), { onFailure: (refusal) => refusal, onSuccess: Bytes.toUtf8 })

const hello = Bytes.fromUtf8("hello")

describe("Beacon: for those who have the key", () => {
  it.effect.prop("what is sealed is opened, whatever it is", [Schema.Uint8Array, Schema.Natural], ([bytes, choice]) =>
    Effect.sync(() => {
      const message = Bytes.concat([bytes, new Uint8Array(choice % 3000)])
      const envelope = seal(beacon(1), message, at(0))
      const opened = beacon(2).open(envelope, "192.168.1.9", at(5))
      assert.deepStrictEqual(Result.getOrThrow(opened), message)
      for (const text of envelope.texts) assert.isAtMost(text.length, 255)
    })
  )

  it("a message of the most that fits is sealed, a longer one is not", () => {
    assert.lengthOf(
      Result.getOrThrow(beacon(2).open(seal(beacon(1), new Uint8Array(maxMessage), at(0)), "a", at(0))),
      maxMessage
    )
    assert.isUndefined(beacon(1).seal(new Uint8Array(maxMessage + 1), at(0)))
  })

  it("clocks may differ by ten minutes, and by no more", () => {
    for (const skew of [-9, -3, 0, 1, 5, 9]) {
      assert.strictEqual(open(beacon(2), seal(beacon(1), hello, at(0, skew * minute)), at(0)), "hello", `${skew} min`)
    }
    for (const skew of [-200, -61, -30, -11, 11, 30, 46, 61, 200]) {
      assert.include(["Foreign", "WrongTime"], open(beacon(2), seal(beacon(1), hello, at(0, skew * minute)), at(0)))
    }
  })

  it("goes on through the change of the hour at either end", () => {
    const [a, b] = [beacon(1), beacon(2)]
    for (let ms = 0; ms < 3 * epochMs; ms += 7 * minute) {
      assert.strictEqual(open(b, seal(a, hello, at(ms)), at(ms, 9 * minute)), "hello", `after ${ms / minute} min`)
      assert.strictEqual(open(a, seal(b, hello, at(ms, 9 * minute)), at(ms)), "hello", `after ${ms / minute} min`)
    }
  })

  it("a clock that is set, at either end, keeps nobody out", () => {
    for (const jump of [-300, -50, -9, -2, 2, 9, 50]) {
      const [a, b] = [beacon(1), beacon(2)]
      assert.strictEqual(open(b, seal(a, hello, at(0, -jump * minute * 0.5)), at(0, -jump * minute * 0.5)), "hello")
      // The sender's, while the receiver's is set at the same time.
      assert.strictEqual(
        open(b, seal(a, hello, at(1000, jump * minute)), at(1000, jump * minute)),
        "hello",
        `${jump} min`
      )
      // The receiver's alone.
      if (Math.abs(jump) < 10) {
        assert.strictEqual(open(b, seal(a, hello, at(2000, jump * minute)), at(2000)), "hello", `${jump} min`)
      }
    }
  })
})

describe("Beacon: for those who do not", () => {
  const others: ReadonlyArray<Uint8Array> = [
    new Uint8Array(32).fill(8),
    new Uint8Array(32),
    key.subarray(0, 31),
    Bytes.concat([key, key])
  ]

  it("another key, or an older one, finds nobody and is found by nobody", () => {
    for (const other of others) {
      const envelope = seal(beacon(1), hello, at(0))
      const stranger = beacon(2, other)
      assert.isFalse(stranger.isOurs(envelope.name, start))
      assert.strictEqual(open(stranger, envelope, at(0)), "Foreign")
      // Under a name that the stranger listens to.
      const named = { ...envelope, name: `${envelope.name.split(".")[0]}.${stranger.service(start)}` }
      assert.strictEqual(open(stranger, named, at(0)), "Unauthentic")
      assert.strictEqual(open(beacon(3), seal(stranger, hello, at(0)), at(0)), "Foreign")
    }
  })

  it("nothing of an envelope can be changed, nor put under another name", () => {
    const envelope = seal(beacon(1), hello, at(0))
    const bytes = Bytes.concat(envelope.texts)
    for (let i = 0; i < bytes.length; i += 97) {
      const changed = Bytes.copy(bytes)
      changed[i] = (changed[i] ?? 0) ^ 1
      assert.strictEqual(open(beacon(2), { ...envelope, texts: [changed] }, at(0)), "Unauthentic")
    }
    assert.strictEqual(open(beacon(2), { ...envelope, name: `x${envelope.name}` }, at(0)), "Unauthentic")
    const next = envelope.name.replace(beacon(1).service(start), beacon(1).service(start + epochMs))
    assert.strictEqual(open(beacon(2), { ...envelope, name: next }, at(0)), "Unauthentic")
    for (const size of [0, 1, 40, blockSize, bytes.length - 1, bytes.length + 1, 20 * blockSize + 40]) {
      assert.strictEqual(open(beacon(2), { ...envelope, texts: [noise(size, 1)] }, at(0)), "Malformed", `${size} bytes`)
    }
  })

  it.effect.prop("any texts under a name of the network are refused", [Schema.Array(Schema.Uint8Array)], ([texts]) =>
    Effect.sync(() => {
      const refused = open(beacon(2), { name: `x.${beacon(1).service(start)}`, texts }, at(0))
      assert.include(["Malformed", "Unauthentic"], refused)
    })
  )
})

describe("Beacon: what is sent again", () => {
  it("is refused: at once, after a later one, and from another host", () => {
    const [a, b] = [beacon(1), beacon(2)]
    const sent = [0, 5000, 10_000].map((ms) => seal(a, hello, at(ms)))
    const [first, second, third] = sent
    if (first === undefined || second === undefined || third === undefined) return assert.fail()
    assert.strictEqual(open(b, first, at(0)), "hello")
    assert.strictEqual(open(b, third, at(10_000)), "hello")
    for (const envelope of sent) {
      assert.strictEqual(open(b, envelope, at(11_000)), "Replayed")
      assert.strictEqual(open(b, envelope, at(11_000), "192.168.1.66"), "Replayed")
    }
    assert.strictEqual(open(b, first, at(3 * epochMs)), "Foreign")
  })

  it("what was sent at once is taken in any order, and each once", () => {
    const [a, b] = [beacon(1), beacon(2)]
    const sent = Array.from({ length: 40 }, (_, i) => seal(a, hello, at(i)))
    const order = sent.map((_, i) => (i * 17) % 40)
    for (const i of order) assert.strictEqual(open(b, sent[i] ?? assert.fail(), at(50)), "hello", `number ${i}`)
    for (const envelope of sent) assert.strictEqual(open(b, envelope, at(60)), "Replayed")
    // More at once than are remembered: the oldest are given up, and nothing is taken twice.
    const many = Array.from({ length: 200 }, (_, i) => seal(a, hello, at(100 + i)))
    for (const envelope of many) assert.strictEqual(open(b, envelope, at(400)), "hello")
    for (const envelope of many) assert.strictEqual(open(b, envelope, at(400)), "Replayed")
  })

  it("what was held back for more than a minute is refused of a sender that is known", () => {
    const [a, b] = [beacon(1), beacon(2)]
    assert.strictEqual(open(b, seal(a, hello, at(0)), at(0)), "hello")
    const held = seal(a, hello, at(10 * minute))
    assert.strictEqual(open(b, held, at(12 * minute)), "Late")
    assert.strictEqual(open(b, seal(a, hello, at(13 * minute)), at(13 * minute)), "hello")
    assert.strictEqual(open(b, held, at(14 * minute)), "Replayed")
  })

  it("one who has just come takes what is of the last ten minutes once, and no more", () => {
    const old = [seal(beacon(1), hello, at(0)), seal(beacon(3), hello, at(0))]
    const late = beacon(2)
    assert.deepStrictEqual(
      old.map((one) => open(late, one, at(9 * minute))),
      ["hello", "hello"]
    )
    assert.deepStrictEqual(
      old.map((one) => open(late, one, at(9 * minute))),
      ["Replayed", "Replayed"]
    )
    assert.deepStrictEqual(
      old.map((one) => open(beacon(4), one, at(11 * minute))),
      ["WrongTime", "WrongTime"]
    )
  })

  it("holds a bounded number of senders, and forgets them when they cannot be replayed any more", () => {
    const b = beacon(2, key, { senders: 10, perSource: 4 })
    const say = (seed: number, ms: number, source: string) => open(b, seal(beacon(seed), hello, at(ms)), at(ms), source)
    for (let i = 0; i < 4; i++) assert.strictEqual(say(10 + i, 0, "a"), "hello")
    assert.strictEqual(say(14, 0, "a"), "Crowded")
    for (let i = 0; i < 6; i++) assert.strictEqual(say(20 + i, 0, `b${i}`), "hello")
    assert.strictEqual(say(26, 0, "c"), "Crowded")
    assert.strictEqual(say(10, 1000, "a"), "hello")
    const later = 20 * minute + 2000
    assert.strictEqual(say(26, later, "c"), "hello")
    assert.strictEqual(say(14, later, "a"), "hello")
  })
})

describe("Beacon: an eavesdropper, for two hours, among ten peers", () => {
  const peers = Array.from({ length: 10 }, (_, i) => ({
    host: `192.168.1.${10 + i}`,
    id: `12D3KooW${Bytes.toHex(noise(18, i)).slice(0, 44)}`,
    beacon: beacon(100 + i)
  }))
  /** What a peer says in the clear: here I am, who is there, I go. */
  const messages = ({ host, id }: (typeof peers)[number]) =>
    [
      `dnsaddr=/ip4/${host}/tcp/4001/p2p/${id} _p2p._udp.local`,
      "who? _p2p._udp.local",
      `goodbye ${id}._p2p._udp.local`
    ].map((text) => Bytes.fromUtf8(text))

  const capture: Array<Envelope & { readonly hour: number; readonly peer: number }> = []
  for (let ms = 0; ms < 2 * epochMs; ms += 10 * minute) {
    const hour = Math.floor((start + ms) / epochMs)
    for (const [peer, one] of peers.entries()) {
      for (const message of messages(one)) capture.push({ ...seal(one.beacon, message, at(ms)), hour, peer })
    }
  }
  const hours = [...new Set(capture.map(({ hour }) => hour))]
  const payloads = capture.map(({ texts }) => Bytes.concat(texts))

  it("reads nothing of a peer, an address, a service or libp2p", () => {
    const all = Buffer.concat([...payloads, ...capture.map(({ name }) => Bytes.fromUtf8(name))]).toString("latin1")
    for (const { host, id } of peers) {
      for (const secret of [host, id, id.slice(8, 20), "/ip4", "p2p", "dnsaddr", "goodbye"])
        assert.notInclude(all, secret)
    }
  })

  it("sees one form and one size, whatever is said", () => {
    assert.deepStrictEqual([...new Set(payloads.map(({ length }) => length))], [blockSize + 40])
    assert.strictEqual(new Set(capture.map(({ name }) => name.length)).size, 1)
    for (const { name } of capture) assert.match(name, /^[a-z2-7]{32}\._[a-z2-7]{13}\._udp\.local$/)
  })

  it("sees names that do not outlast the hour, and have nothing in common with those of the next", () => {
    assert.lengthOf(hours, 3)
    const namesOf = (hour: number) => new Set(capture.filter((one) => one.hour === hour).map(({ name }) => name))
    for (const hour of hours) assert.strictEqual(namesOf(hour).size, 10)
    // Runs of letters of a name, without what all services end with.
    const runs = (hour: number) =>
      new Set(
        [...namesOf(hour)].flatMap((name) => {
          const letters = name.replace("._udp.local", "").replace("._", "")
          return Array.from({ length: letters.length - 5 }, (_, i) => letters.slice(i, i + 6))
        })
      )
    for (const one of hours) {
      for (const other of hours) {
        if (one < other)
          assert.deepStrictEqual(
            [...runs(one)].filter((run) => runs(other).has(run)),
            []
          )
      }
    }
  })

  it("finds no run of bytes twice in what is sealed", () => {
    const seen = new Set<string>()
    for (const payload of payloads.slice(0, 100)) {
      const own = new Set<string>()
      for (let i = 0; i + 8 <= payload.length; i += 1) {
        own.add(String.fromCharCode(...payload.subarray(i, i + 8)))
      }
      for (const run of own) {
        if (seen.has(run)) assert.fail("two beacons have eight bytes in common")
        seen.add(run)
      }
    }
  })

  it("finds bytes and letters that are all as frequent", () => {
    /** Chi-square over so many classes lies within five deviations of its mean. */
    const isUniform = (counts: ReadonlyArray<number>) => {
      const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length
      const chi = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
      const freedom = counts.length - 1
      assert.isBelow(Math.abs(chi - freedom), 5 * Math.sqrt(2 * freedom))
    }
    const bytes = Array.from({ length: 256 }, () => 0)
    for (const payload of payloads) for (const byte of payload) bytes[byte] = (bytes[byte] ?? 0) + 1
    isUniform(bytes)
    const letters = "abcdefghijklmnopqrstuvwxyz234567"
    const labels = [
      ...new Set(
        capture.flatMap(({ name }) =>
          name
            .split("._")
            .slice(0, 2)
            .map((part) => part.slice(0, 13))
        )
      )
    ]
    isUniform(letters.split("").map((letter) => labels.join("").split(letter).length - 1))
  })

  it("and those with the key read all of it", () => {
    const listener = beacon(99)
    let read = 0
    for (let ms = 0, i = 0; ms < 2 * epochMs; ms += 10 * minute) {
      for (const one of peers) {
        for (const message of messages(one)) {
          const envelope = capture[i++] ?? assert.fail()
          const opened = listener.open(envelope, one.host, at(ms, -7 * minute))
          assert.deepStrictEqual(Result.getOrThrow(opened), message)
          read++
        }
      }
    }
    assert.strictEqual(read, capture.length)
  })
})
