import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as PeerId from "../../../../src/data/PeerId.ts"
import * as NodeCrypto from "../../../../src/layers/crypto/NodeCrypto.ts"
import * as FromSeed from "../../../../src/layers/identity/FromSeed.ts"
import * as Proof from "../../../../src/layers/security/noise/Proof.ts"

const crypto = NodeCrypto.make()
const staticKey = (n: number) => crypto.dhKeyPair(new Uint8Array(32).fill(n)).publicKey
const identity = (n: number) =>
  Effect.runSync(Effect.orDie(FromSeed.make(new Uint8Array(32).fill(n)).pipe(Effect.provide(NodeCrypto.layer))))

const alice = identity(1)
const payloadOf = (who: typeof alice, key: Uint8Array) =>
  Proof.encode(who.publicKey, who.sign(Proof.signedBytes(key)), ["/yamux/1.0.0"])

/** A check that counts the signatures it verifies. */
const counting = () => {
  const counted = { verified: 0 }
  const check = Proof.rememberingCheck((...given) => {
    counted.verified++
    return crypto.verify(...given)
  })
  return { check, counted }
}

describe("Noise: proofs remembered", () => {
  it("the same proof is verified once, and comes out the same", () => {
    const { check, counted } = counting()
    const key = staticKey(10)
    const first = Result.getOrThrow(check(payloadOf(alice, key), key))
    assert.strictEqual(Result.getOrThrow(check(payloadOf(alice, key), key)), first)
    assert.strictEqual(counted.verified, 1)
    assert.isTrue(PeerId.equals(first.peer, alice.peerId))
    assert.deepStrictEqual(first.muxers, ["/yamux/1.0.0"])
  })

  it("what was proven for one static key proves nothing for another", () => {
    const { check, counted } = counting()
    const payload = payloadOf(alice, staticKey(10))
    assert.isTrue(Result.isSuccess(check(payload, staticKey(10))))
    assert.isTrue(Result.isFailure(check(payload, staticKey(11))))
    assert.strictEqual(counted.verified, 2)
  })

  it("any other byte is verified anew, and a proof that failed is not remembered", () => {
    const { check } = counting()
    const key = staticKey(10)
    const payload = payloadOf(alice, key)
    check(payload, key)
    for (let at = 0; at < payload.length; at++) {
      const forged = payload.slice()
      forged[at] = (forged[at] ?? 0) ^ 1
      const proven = check(forged, key)
      // Other bytes may be the name of a muxer, which nobody signs.
      if (Result.isSuccess(proven)) assert.isTrue(PeerId.equals(proven.success.peer, alice.peerId))
      else assert.isTrue(Result.isFailure(check(forged, key)))
    }
    assert.isTrue(Result.isSuccess(check(payload, key)))
  })

  it("there is a bound: who came last is remembered", () => {
    const { check, counted } = counting()
    const keys = Array.from({ length: 600 }, (_, n) =>
      Uint8Array.from({ length: 32 }, (_, i) => (i < 2 ? n >> (8 * i) : 1))
    )
    for (const key of keys) check(payloadOf(alice, key), key)
    const last = keys[599] ?? assert.fail()
    const first = keys[0] ?? assert.fail()
    check(payloadOf(alice, last), last)
    assert.strictEqual(counted.verified, 600)
    check(payloadOf(alice, first), first)
    assert.strictEqual(counted.verified, 601)
  })
})
