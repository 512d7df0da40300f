import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { createHash } from "node:crypto"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as PeerId from "../../../../src/data/PeerId.ts"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { chance, contacts, number, texts, trueClosest } from "./model.ts"

const prng = new Prng("Key.test")
const random = chance(prng)
/** Two places that share so many bits, with the rest by chance. */
const pair = (shared: number): readonly [Key.Key, Key.Key] => {
  const a = Key.random(random)
  return [a, Key.inBucket(a, shared, random)]
}

describe("Key", () => {
  it("is the SHA-256 of a peer id's bytes", () => {
    const id = Result.getOrThrow(PeerId.fromString("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"))
    const digest = createHash("sha256").update(id.bytes).digest("hex")
    assert.strictEqual(Key.toHex(Key.contact(id).key), digest)
    assert.strictEqual(Key.toHex(Key.fromDigest(Bytes.fromHex(digest) ?? assert.fail())), digest)
    assert.strictEqual(String(Key.fromBytes(id.bytes)), digest)
  })

  it("compares distances, measures prefixes and orders as numbers do", () => {
    for (let i = 0; i < 2_000; i++) {
      const [target, a] = pair(prng.below(256))
      const b = prng.chance(0.5) ? Key.inBucket(a, prng.below(256), random) : Key.random(random)
      const [t, x, y] = [number(target), number(a), number(b)]
      assert.strictEqual(Math.sign(Key.compare(target, a, b)), (t ^ x) < (t ^ y) ? -1 : 1)
      assert.strictEqual(Math.sign(Key.order(a, b)), x < y ? -1 : 1)
      assert.strictEqual(Key.commonPrefix(a, b), 256 - (x ^ y).toString(2).length)
      assert.closeTo(Key.distance(a, b) / (Number(x ^ y) / 2 ** 256), 1, 1e-12)
    }
  })

  it("knows itself", () => {
    const [a, b] = pair(255)
    const again = Key.fromDigest(Key.toBytes(a))
    assert.strictEqual(Key.commonPrefix(a, again), 256)
    assert.strictEqual(Key.compare(b, a, again), 0)
    assert.strictEqual(Key.distance(a, again), 0)
    assert.isTrue(Key.equals(a, again))
    assert.isFalse(Key.equals(a, b))
    assert.strictEqual(a.id, again.id)
    assert.notStrictEqual(a.id, b.id)
  })

  it("falls into the bucket that is asked for, and is another each time", () => {
    for (let shared = 0; shared < 256; shared++) {
      const [a, b] = pair(shared)
      assert.strictEqual(Key.commonPrefix(a, b), shared)
    }
    const own = Key.random(random)
    const distinct = new Set(Array.from({ length: 100 }, () => Key.inBucket(own, 8, random).id))
    assert.strictEqual(distinct.size, 100)
    const prefixed = Key.withPrefix(own, 77, random)
    assert.isAtLeast(Key.commonPrefix(own, prefixed), 77)
  })

  it("finds the closest of many as sorting does", () => {
    for (const count of [0, 1, 19, 20, 21, 300]) {
      const all = contacts(prng, count)
      const target = Key.random(random)
      assert.deepStrictEqual(texts(Key.closest(target, all, 20)), texts(trueClosest(target, all, 20)))
    }
  })

  it("finds peer ids that hash into a bucket", () => {
    const own = Key.random(random)
    for (let shared = 0; shared <= 8; shared++) {
      const { bytes, key } = Key.preimageInBucket(own, shared, random) ?? assert.fail(`none for ${shared}`)
      assert.isTrue(Result.isSuccess(PeerId.fromBytes(bytes)))
      assert.isTrue(Key.equals(Key.fromBytes(bytes), key))
      assert.strictEqual(Key.commonPrefix(own, key), shared)
    }
    assert.isUndefined(Key.preimageInBucket(own, 200, random, 100))
  })
})
