import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Bytes from "../../src/data/Bytes.ts"
import * as DagCbor from "../../src/data/DagCbor.ts"
import * as Record from "../../src/data/iprs/Record.ts"
import * as NodeCrypto from "../../src/layers/crypto/NodeCrypto.ts"
import * as FromSeed from "../../src/layers/identity/FromSeed.ts"
import * as MemoryRecordStore from "../../src/layers/records/MemoryRecordStore.ts"
import { Identity } from "../../src/services/Identity.ts"
import * as Iprs from "../../src/services/Iprs.ts"
import { RecordStore } from "../../src/services/RecordStore.ts"
import * as RecordValidators from "../../src/services/RecordValidators.ts"

const crypto = NodeCrypto.make()
const utf8 = Bytes.fromUtf8
const value = utf8("value")

/** A beacon that publishes the number of each minute, and no other. */
const minutes: Iprs.Beacon = {
  publishedAt: (proof) => {
    const minute = Number(Bytes.toUtf8(proof))
    return Number.isSafeInteger(minute) ? minute * 60_000 : undefined
  }
}
const scheme = Iprs.keyScheme(crypto, { beacons: { minutes } })

const identityOf = (seed: number) => FromSeed.make(new Uint8Array(32).fill(seed)).pipe(Effect.provide(NodeCrypto.layer))

/** A peer, its name, and what signs for it. */
const someone = (seed: number) =>
  Effect.map(identityOf(seed), (identity) => {
    const name = Iprs.nameOf("app", identity.peerId, "profile")
    const sign = (when: Iprs.When, of: Uint8Array = value, by: Uint8Array = name) =>
      Effect.provideService(Iprs.sign(by, of, when), Identity, identity)
    return { identity, name, sign }
  })

const check = (name: Uint8Array, record: Iprs.IprsRecord | Uint8Array, now: number, by = scheme): string =>
  Result.match(Iprs.verify(by, name, record instanceof Uint8Array ? record : record.bytes, now), {
    onSuccess: () => "ok",
    onFailure: ({ reason }) => reason._tag
  })

describe("a record of IPRS", () => {
  it.effect("is an object of DAG-CBOR that links name, and is read as it was written", () =>
    Effect.gen(function* () {
      const { identity, name, sign } = yield* someone(1)
      const record = yield* sign(Iprs.range({ from: 1000, until: 2000, sequence: 7 }))
      const read = Result.getOrThrow(Iprs.verify(scheme, name, record.bytes, 1500))
      assert.deepStrictEqual(read, record)
      const { author, bytes, link, signature } = read
      assert.deepStrictEqual(Result.getOrThrow(DagCbor.decode(bytes)), {
        author,
        scheme: "libp2p-key",
        sequence: 7,
        signature,
        validity: { type: "range", from: 1000, until: 2000 },
        value
      })
      assert.strictEqual(link.toString(), DagCbor.linkTo(bytes).toString())
      assert.strictEqual(author.length, 36)
      assert.deepStrictEqual(yield* sign(Iprs.range({ from: 1000, until: 2000, sequence: 7 })), record)
      assert.isTrue(Iprs.isNameOf(name, identity.peerId))
    })
  )

  it.effect("is worth nothing under another name, of another author, or changed", () =>
    Effect.gen(function* () {
      const [alice, bob] = [yield* someone(1), yield* someone(2)]
      const record = yield* alice.sign(Iprs.range({}))
      assert.strictEqual(check(alice.name, record, 0), "ok")
      assert.strictEqual(check(Iprs.nameOf("app", alice.identity.peerId), record, 0), "IprsForged")
      assert.strictEqual(check(Iprs.nameOf("other", alice.identity.peerId, "profile"), record, 0), "IprsForged")
      assert.strictEqual(check(bob.name, record, 0), "IprsNotAuthor")
      const squatted = yield* alice.sign(Iprs.range({}), value, bob.name)
      assert.strictEqual(check(bob.name, squatted, 0), "IprsNotAuthor")
      const { bytes: _bytes, link: _link, ...fields } = record
      const changes = [
        { value: utf8("other") },
        { sequence: 1 },
        { validity: { type: "range", from: null, until: 1 } },
        { signature: new Uint8Array(64) },
        { author: bob.identity.publicKey.bytes },
        { scheme: "another" },
        { more: 1 },
        { sequence: -1 },
        { sequence: 1.5 },
        { sequence: 2n ** 60n },
        { value: "text" },
        { validity: { type: "range", from: 2, until: 2 } },
        { validity: { type: "range", from: 2 } },
        { validity: { type: "ancestry", parents: [record.link] } },
        { validity: { type: "ancestry", parents: [1] }, sequence: 1 },
        { validity: { type: "forever" } }
      ].map((change) => check(alice.name, Result.getOrThrow(DagCbor.encode({ ...fields, ...change })), 0))
      const forged = ["IprsForged", "IprsForged", "IprsForged", "IprsForged"]
      assert.deepStrictEqual(changes.slice(0, 6), [...forged, "IprsMalformed", "IprsWrongScheme"])
      assert.deepStrictEqual(new Set(changes.slice(6)), new Set(["IprsMalformed"]))
      for (let i = 0; i < record.bytes.length; i++) {
        const changed = record.bytes.slice()
        changed[i] = 1 ^ (changed[i] ?? 0)
        assert.notStrictEqual(check(alice.name, changed, 0), "ok", `byte ${i}`)
      }
      assert.strictEqual(check(alice.name, new Uint8Array(0), 0), "IprsMalformed")
      assert.strictEqual(check(alice.name, new Uint8Array(70_000), 0), "IprsMalformed")
    })
  )

  it.effect("is not made when it makes no sense, or is too large", () =>
    Effect.gen(function* () {
      const { name, sign } = yield* someone(1)
      const made = [
        sign(Iprs.range({ from: 2, until: 1 })),
        sign(Iprs.range({ until: 1.5 })),
        sign(Iprs.range({ until: Number.POSITIVE_INFINITY })),
        sign(Iprs.range({ sequence: -1 })),
        sign(Iprs.range({}), new Uint8Array(Record.maxSize)),
        sign(Iprs.fresh("x".repeat(129), value, "1 minute")),
        sign(Iprs.fresh("minutes", new Uint8Array(1025), "1 minute")),
        Effect.flatMap(sign(Iprs.after([])), (parent) => sign(Iprs.after([parent, parent])))
      ]
      for (const [i, one] of made.entries()) {
        const error = yield* Effect.flip(one)
        assert.strictEqual(error.reason._tag, "IprsMalformed", `${i}`)
        assert.include(error.message, `record of /app/0x${Bytes.toHex(name.subarray(5)).slice(0, 20)}`)
      }
    })
  )
})

describe("a record holds", () => {
  it.effect("within a range of time", () =>
    Effect.gen(function* () {
      const { name, sign } = yield* someone(1)
      const both = yield* sign(Iprs.range({ from: 1000, until: 2000 }))
      const outcomes = [999, 1000, 1999, 2000].map((now) => check(name, both, now))
      assert.deepStrictEqual(outcomes, ["IprsNotYetValid", "ok", "ok", "IprsExpired"])
      assert.strictEqual(Iprs.remaining(scheme, both, 1500), 500)
      assert.strictEqual(Iprs.remaining(scheme, both, 2500), 0)
      const open = yield* sign(Iprs.range({}))
      assert.strictEqual(check(name, open, Number.MAX_SAFE_INTEGER), "ok")
      assert.strictEqual(Iprs.remaining(scheme, open, 0), Number.POSITIVE_INFINITY)
      const ends = yield* sign(Iprs.range({ until: 2000 }))
      assert.isAbove(Iprs.compare(scheme, open, ends), 0, "what ends later is newer")
      const error = Result.getOrThrow(Result.flip(Iprs.verify(scheme, name, both.bytes, 2000)))
      assert.include(error.message, "valid until 1970-01-01T00:00:02.000Z, it is 1970-01-01T00:00:02.000Z")
    })
  )

  it.effect("for some time after it was made, by a clock that may be a minute fast", () =>
    Effect.gen(function* () {
      const { name, sign } = yield* someone(1)
      yield* TestClock.setTime(100_000)
      const record = yield* sign(yield* Iprs.timeToLive("10 seconds"))
      const outcomes = [39_999, 40_000, 109_999, 110_000].map((now) => check(name, record, now))
      assert.deepStrictEqual(outcomes, ["IprsNotYetValid", "ok", "ok", "IprsExpired"])
      const strict = Iprs.keyScheme(crypto, { clockSkew: 0 })
      assert.strictEqual(check(name, record, 99_999, strict), "IprsNotYetValid")
      yield* TestClock.adjust("1 seconds")
      const later = yield* sign(yield* Iprs.timeToLive("10 seconds"))
      assert.isAbove(Iprs.compare(scheme, later, record), 0)
      const numbered = yield* sign(yield* Iprs.timeToLive("1 seconds", { sequence: 1 }))
      assert.isAbove(Iprs.compare(scheme, numbered, later), 0)
    })
  )

  it.effect("until there is one that comes after it", () =>
    Effect.gen(function* () {
      const { name, sign } = yield* someone(1)
      const next = (text: string, ...parents: ReadonlyArray<Iprs.IprsRecord>) => sign(Iprs.after(parents), utf8(text))
      const first = yield* next("first")
      const second = yield* next("second", first)
      const [left, right] = [yield* next("left", second), yield* next("right", second)]
      const more = yield* next("more", left)
      const joined = yield* next("joined", more, right)
      const all = [first, second, left, right, more, joined]
      for (const record of all) assert.strictEqual(check(name, record, 0), "ok")
      assert.deepStrictEqual(
        all.map(({ sequence }) => sequence),
        [0, 1, 2, 2, 3, 4]
      )
      for (const [i, one] of all.entries()) {
        for (const [j, other] of all.entries()) {
          const order = Iprs.compare(scheme, one, other)
          assert.strictEqual(Math.sign(order), 0 - Math.sign(Iprs.compare(scheme, other, one)))
          if (i === j) assert.strictEqual(order, 0)
          else assert.notStrictEqual(order, 0)
          if (Iprs.descendsFrom(one, other, all)) assert.isAbove(order, 0)
        }
      }
      assert.isTrue(Iprs.descendsFrom(joined, first, all))
      assert.isFalse(Iprs.descendsFrom(joined, first, []), "the line between is not known")
      assert.isFalse(Iprs.descendsFrom(more, right, all))
      assert.isFalse(Iprs.descendsFrom(first, first, all))
    })
  )

  it.effect("for some time after a beacon published what it contains", () =>
    Effect.gen(function* () {
      const { name, sign } = yield* someone(1)
      const record = yield* sign(Iprs.fresh("minutes", utf8("10"), "5 minutes"))
      const at = (minute: number) => check(name, record, minute * 60_000)
      assert.deepStrictEqual([8, 9, 14.9, 15].map(at), ["IprsNotYetValid", "ok", "ok", "IprsExpired"])
      for (const lie of [Iprs.fresh("minutes", utf8("now"), "1 hour"), Iprs.fresh("drand", utf8("10"), "1 hour")]) {
        assert.strictEqual(check(name, yield* sign(lie), 600_000), "IprsUnproven")
      }
      const newer = yield* sign(Iprs.fresh("minutes", utf8("11"), "5 minutes"))
      assert.isAbove(Iprs.compare(scheme, newer, record), 0)
      assert.strictEqual(check(name, record, 600_000, Iprs.keyScheme(crypto)), "IprsUnproven")
    })
  )
})

describe("a name belongs", () => {
  it.effect("to the peer whose id it holds", () =>
    Effect.gen(function* () {
      const { peerId } = yield* identityOf(1)
      const owned = [Iprs.nameOf("a", peerId), Iprs.nameOf("a", peerId, ""), Iprs.nameOf("a", peerId, "b/c")]
      for (const name of owned) assert.isTrue(Iprs.isNameOf(name, peerId))
      const others = [
        Bytes.concat([Iprs.nameOf("a", peerId), utf8("b")]),
        Iprs.nameOf("a", peerId).subarray(0, -1),
        Iprs.nameOf("a", peerId).subarray(1),
        Iprs.nameOf("", peerId),
        Iprs.nameOf("a/b", peerId),
        utf8("/a/"),
        utf8(""),
        utf8(`/a/${peerId.toString()}`)
      ]
      for (const [i, name] of others.entries()) assert.isFalse(Iprs.isNameOf(name, peerId), `${i}`)
    })
  )

  it.effect("to whom the scheme says, who may sign as it says", () =>
    Effect.gen(function* () {
      const [alice, bob] = [yield* someone(1), yield* someone(2)]
      const shared = utf8("/team/motto")
      const team = Iprs.keyScheme(crypto, { maySign: (peer) => peer.toString() === alice.identity.peerId.toString() })
      assert.strictEqual(check(shared, yield* alice.sign(Iprs.range({}), value, shared), 0, team), "ok")
      assert.strictEqual(check(shared, yield* bob.sign(Iprs.range({}), value, shared), 0, team), "IprsNotAuthor")
      // Whoever knows the hash's input is the author; the alphabet is the order.
      const secret = Iprs.scheme(
        "password",
        (_name, { signature }, message) =>
          Bytes.equals(signature, crypto.sha256(Bytes.concat([utf8("secret"), message])))
            ? undefined
            : new Iprs.IprsForged({ detail: "wrong password" }),
        { order: (a, b) => (Bytes.toUtf8(a.value) < Bytes.toUtf8(b.value) ? 1 : -1) }
      )
      const author = (password: string) => ({
        scheme: "password",
        author: new Uint8Array(0),
        sign: (message: Uint8Array) => crypto.sha256(Bytes.concat([utf8(password), message]))
      })
      const made = (password: string, text: string) =>
        Result.getOrThrow(Iprs.signAs(author(password), shared, utf8(text), Iprs.range({})))
      assert.strictEqual(check(shared, made("secret", "a"), 0, secret), "ok")
      assert.strictEqual(check(shared, made("guess", "a"), 0, secret), "IprsForged")
      assert.strictEqual(check(shared, made("secret", "a"), 0), "IprsWrongScheme")
      assert.isAbove(Iprs.compare(secret, made("secret", "a"), made("secret", "b")), 0)
    })
  )
})

describe("records of IPRS in a store", () => {
  const stored = Layer.provide(MemoryRecordStore.layer(), RecordValidators.layer({ app: Iprs.validator(scheme) }))

  it.effect("are checked and ordered by their scheme", () =>
    Effect.gen(function* () {
      const store = yield* RecordStore
      const [alice, bob] = [yield* someone(1), yield* someone(2)]
      const first = yield* alice.sign(Iprs.after([]), utf8("first"))
      const second = yield* alice.sign(Iprs.after([first]), utf8("second"))
      const third = yield* alice.sign(Iprs.after([second]), utf8("third"))
      yield* store.put(alice.name, third.bytes)
      for (const old of [second, first]) {
        const refused = yield* Effect.flip(store.put(alice.name, old.bytes))
        assert.strictEqual(refused.reason._tag, "RecordOutdated")
      }
      const squatted = yield* bob.sign(Iprs.after([third]), value, alice.name)
      const { reason } = yield* Effect.flip(store.put(alice.name, squatted.bytes))
      assert.include(reason._tag === "RecordInvalid" ? reason.detail : "", "may not sign for this name")
      const got = yield* store.get(alice.name)
      assert.strictEqual(
        Result.getOrThrow(Iprs.verify(scheme, alice.name, got.value, 0)).link.toString(),
        third.link.toString()
      )
    }).pipe(Effect.provide(stored))
  )

  it.effect("are given as long as they hold", () =>
    Effect.gen(function* () {
      const store = yield* RecordStore
      const { name, sign } = yield* someone(1)
      const record = yield* sign(yield* Iprs.timeToLive("1 minute"))
      yield* store.put(name, record.bytes)
      assert.deepStrictEqual((yield* store.get(name)).value, record.bytes)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Effect.flip(store.get(name))).reason._tag, "RecordNotFound")
      assert.deepStrictEqual(yield* Stream.runCollect(store.list()), [])
    }).pipe(Effect.provide(stored))
  )

  it.effect("the best of several is the same in any order", () =>
    Effect.gen(function* () {
      const { name, sign } = yield* someone(1)
      const { select } = Iprs.validator(scheme)
      const all = yield* Effect.forEach(
        [Iprs.range({ until: 5 }), Iprs.range({ until: 6 }), Iprs.range({ until: 6, from: 1 }), Iprs.after([])],
        (when) => sign(when)
      )
      const values = all.map(({ bytes }) => bytes)
      const best = values[select(name, values, 0)]
      for (let i = 0; i < values.length; i++) {
        const turned = [...values.slice(i), ...values.slice(0, i)]
        assert.strictEqual(turned[select(name, turned, 0)], best)
        const back = turned.toReversed()
        assert.strictEqual(back[select(name, back, 0)], best)
      }
      assert.strictEqual(best, values[3], "what has no end")
      assert.strictEqual(select(name, [utf8("no record"), value], 0), 0)
      assert.strictEqual(select(name, [utf8("no record"), values[0] ?? value], 0), 1)
    })
  )
})
