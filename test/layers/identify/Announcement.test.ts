import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Result } from "effect"
import { TestClock } from "effect/testing"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as Message from "../../../src/data/messages/Identify.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as Announcement from "../../../src/layers/identify/Announcement.ts"
import * as IdentityFromSeed from "../../../src/layers/identity/FromSeed.ts"
import { Crypto } from "../../../src/services/Crypto.ts"
import { Identity } from "../../../src/services/Identity.ts"
import * as SignedEnvelope from "../../../src/services/SignedEnvelope.ts"

const addr = Multiaddr.fromStringUnsafe
const addresses = [
  addr("/ip4/127.0.0.1/tcp/4001"),
  addr("/ip4/192.168.1.2/tcp/4001"),
  addr("/ip4/198.51.100.1/tcp/4001")
]
const protocols = ["/ipfs/id/1.0.0"]
const here = addr("/ip4/127.0.0.1/tcp/5")
const near = addr("/ip4/192.168.1.9/tcp/5")
const far = addr("/ip4/203.0.113.9/tcp/5")

/** A composer, the number of times it has signed, and the record that is in what it gives. */
const setup = Effect.gen(function* () {
  const context = yield* Layer.build(
    Layer.provideMerge(IdentityFromSeed.layer(new Uint8Array(32).fill(1)), NodeCrypto.layer)
  )
  const identity = Context.get(context, Identity)
  let signed = 0
  const compose = Announcement.make(
    {
      ...identity,
      sign: (bytes) => {
        signed++
        return identity.sign(bytes)
      }
    },
    "test/1"
  )
  const told = (facts: Announcement.Facts, remote: Multiaddr.Multiaddr) =>
    Effect.map(compose(facts, remote), (parts) => {
      const message = Result.getOrThrow(Message.decode(Bytes.concat(parts)))
      const record = Result.getOrThrow(
        SignedEnvelope.openPeerRecord(
          Context.get(context, Crypto),
          message.signedPeerRecord ?? assert.fail("it has no record")
        )
      )
      return { parts, message, record, signed: record.addresses.map(String) }
    })
  return { told, identity, times: () => signed }
})

describe("what is told to whom", () => {
  it.effect("addresses that mean the same there, and the same in the record", () =>
    Effect.gen(function* () {
      const { identity, told } = yield* setup
      for (const [remote, count] of [
        [here, 3],
        [near, 2],
        [far, 1],
        [addr("/memory/1"), 3],
        [addr("/dns4/example.com/tcp/1"), 1]
      ] as const) {
        const { message, record, signed } = yield* told({ addresses, protocols }, remote)
        assert.deepStrictEqual(signed, addresses.slice(3 - count).map(String))
        assert.deepStrictEqual(
          message.listenAddrs,
          addresses.slice(3 - count).map(({ bytes }) => bytes)
        )
        assert.deepStrictEqual(message.observedAddr, remote.bytes)
        assert.strictEqual(record.peer.toString(), identity.peerId.toString())
      }
    }).pipe(Effect.scoped)
  )

  it.effect("one record is signed for each reach, and another when the addresses change, with a greater number", () =>
    Effect.gen(function* () {
      const { times, told } = yield* setup
      yield* TestClock.adjust(5000)
      const first = yield* told({ addresses, protocols }, far)
      for (let i = 0; i < 10; i++) yield* told({ addresses, protocols: [`/${i}`] }, far)
      assert.strictEqual(times(), 1)
      assert.strictEqual(first.record.sequence, 5000n)
      yield* told({ addresses, protocols }, near)
      // What changes for peers nearby does not change for those far away.
      yield* told({ addresses: addresses.slice(2), protocols }, far)
      assert.strictEqual(times(), 2)
      // The clock has not moved, and may even go back.
      const moved = yield* told({ addresses: [addr("/ip4/198.51.100.2/tcp/4001")], protocols }, far)
      assert.strictEqual(moved.record.sequence, 5002n)
      yield* TestClock.setTime(1000)
      const back = yield* told({ addresses, protocols }, far)
      assert.strictEqual(back.record.sequence, 5003n)
      assert.strictEqual(times(), 4)
    }).pipe(Effect.scoped)
  )
})

describe("long messages", () => {
  it.effect("addresses are bounded", () =>
    Effect.gen(function* () {
      const { told } = yield* setup
      const many = Array.from({ length: 5000 }, (_, i) => addr(`/ip4/198.51.${i >> 8}.${i & 255}/tcp/1`))
      const { message, parts, signed } = yield* told({ addresses: many, protocols }, far)
      assert.isAtLeast(signed.length, 100)
      assert.lengthOf(message.listenAddrs, signed.length)
      assert.isTrue(parts.every(({ length }) => length <= Announcement.maxPart))
    }).pipe(Effect.scoped)
  )

  it.effect("protocols are cut into parts that everybody reads, the first of which stands alone", () =>
    Effect.gen(function* () {
      const { told } = yield* setup
      const many = Array.from({ length: 300 }, (_, i) => `/a/rather/long/protocol/name/${i}`)
      const { message, parts } = yield* told({ addresses, protocols: many }, far)
      assert.isAtLeast(parts.length, 3)
      assert.isTrue(parts.every(({ length }) => length <= Announcement.maxPart))
      assert.deepStrictEqual(message.protocols, many)
      const first = Result.getOrThrow(Message.decode(parts[0] ?? new Uint8Array(0)))
      assert.isDefined(first.publicKey)
      assert.lengthOf(first.listenAddrs, 1)
      assert.isUndefined(first.signedPeerRecord)
      const endless = Array.from({ length: 20_000 }, (_, i) => `/a/rather/long/protocol/name/${i}`)
      assert.strictEqual(Announcement.cut({ ...message, protocols: endless }).length, Announcement.maxParts)
    }).pipe(Effect.scoped)
  )
})
