/** Keys of content, held to the CIDs of a library. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { base10 } from "multiformats/bases/base10"
import { base16, base16upper } from "multiformats/bases/base16"
import { base2 } from "multiformats/bases/base2"
import { base256emoji } from "multiformats/bases/base256emoji"
import { base32, base32hexpadupper, base32z } from "multiformats/bases/base32"
import { base36upper } from "multiformats/bases/base36"
import { base58btc, base58flickr } from "multiformats/bases/base58"
import { base64, base64urlpad } from "multiformats/bases/base64"
import { base8 } from "multiformats/bases/base8"
import { CID } from "multiformats/cid"
import { create } from "multiformats/hashes/digest"
import * as Bytes from "../../src/data/Bytes.ts"
import * as ContentKey from "../../src/data/ContentKey.ts"
import * as PeerId from "../../src/data/PeerId.ts"

const bases = [
  base2,
  base8,
  base10,
  base16,
  base16upper,
  base32,
  base32hexpadupper,
  base32z,
  base36upper,
  base58btc,
  base58flickr,
  base64,
  base64urlpad,
  base256emoji
]

const version0 = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
const refused = (read: Result.Result<Uint8Array, ContentKey.ContentKeyError>): string =>
  Result.isFailure(read) ? read.failure.message : assert.fail("it was accepted")

describe("ContentKey", () => {
  it("reads version 0 as its multihash, in text and in binary", () => {
    const cid = CID.parse(version0)
    assert.deepStrictEqual(Result.getOrThrow(ContentKey.fromString(version0)), cid.multihash.bytes)
    assert.deepStrictEqual(Result.getOrThrow(ContentKey.fromBytes(cid.bytes)), cid.multihash.bytes)
  })

  it("is one key for all CIDs of one hash", () => {
    const { multihash } = CID.parse(version0)
    for (const codec of [0x55, 0x70, 0x71, 0x0129, 0x0200]) {
      const cid = CID.createV1(codec, multihash)
      assert.deepStrictEqual(Result.getOrThrow(ContentKey.fromBytes(cid.bytes)), multihash.bytes)
      for (const base of bases) {
        const text = base.encode(cid.bytes)
        assert.deepStrictEqual(Result.getOrThrow(ContentKey.fromString(text)), multihash.bytes, text)
      }
    }
  })

  it.prop("agrees with the library on any digest", [Schema.Uint8Array], ([bytes]) => {
    const digest = Bytes.concat([Uint8Array.of(9), bytes.subarray(0, 63)])
    const multihash = create(0x13, digest)
    const key = Result.getOrThrow(ContentKey.fromBytes(CID.createV1(0x71, multihash).bytes))
    assert.deepStrictEqual(key, multihash.bytes)
    assert.deepStrictEqual(Result.getOrThrow(ContentKey.fromMultihash(key)), key)
    assert.deepStrictEqual(CID.parse(ContentKey.toText(key)).multihash.bytes, key)
  })

  it("has memory of its own", () => {
    const cid = CID.parse(version0).bytes.slice()
    const key = Result.getOrThrow(ContentKey.fromBytes(cid))
    cid.fill(0)
    assert.strictEqual(key[0], 0x12)
  })

  it.each([
    ["", "neither of version 0"],
    ["Qm0", "neither of version 0"],
    ["b", "it has no version"],
    ["not a cid", "neither of version 0"],
    [`z${version0}`, "unknown version 18"],
    [base32.encode(Uint8Array.of(2, 0x55, 0x12, 1, 7)), "unknown version 2"],
    [base32.encode(Uint8Array.of(1)), "it has no codec"],
    [base32.encode(Uint8Array.of(1, 0x55)), "it has no hash function"],
    [base32.encode(Uint8Array.of(1, 0x55, 0x12)), "the multihash has no length"],
    [base32.encode(Uint8Array.of(1, 0x55, 0x12, 32, 7)), "says 32 bytes and has 1"],
    [base32.encode(Uint8Array.of(1, 0x55, 0x12, 0)), "the digest is empty"],
    ["b".repeat(1025), "over the limit of 1024"]
  ])("refuses %s", (text, why) => {
    assert.include(refused(ContentKey.fromString(text)), why)
  })

  it("refuses a multihash that is too long, and cuts what it shows of it", () => {
    const long = Bytes.concat([Uint8Array.of(0, 100), new Uint8Array(100)])
    assert.include(refused(ContentKey.fromMultihash(long)), "over the limit of 80")
    assert.isBelow(refused(ContentKey.fromMultihash(long)).length, 250)
  })

  it("names any key: a peer id, a CID, or bytes", () => {
    const peer = "12D3KooWDKaCjvmLThQxeHRQ4AhWfzAz2GCn9W8z2VzLtp2vFfCj"
    assert.strictEqual(ContentKey.nameOf(Result.getOrThrow(PeerId.fromString(peer)).bytes), peer)
    const key = Result.getOrThrow(ContentKey.fromString(version0))
    assert.strictEqual(ContentKey.nameOf(key), ContentKey.toText(key))
    assert.strictEqual(ContentKey.nameOf(Uint8Array.of(0, 1, 7)), ContentKey.toText(Uint8Array.of(0, 1, 7)))
    assert.strictEqual(ContentKey.nameOf(Bytes.fromUtf8("/v/a")), "2f762f61")
    assert.isBelow(ContentKey.nameOf(new Uint8Array(1000)).length, 130)
  })
})
