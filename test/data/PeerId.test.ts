import { assert, describe, it } from "@effect/vitest"
import { Equal, HashMap, Option, Result, Schema } from "effect"
import { CID } from "multiformats/cid"
import { base36 } from "multiformats/bases/base36"
import { base58btc } from "multiformats/bases/base58"
import { createHash } from "node:crypto"
import { inspect } from "node:util"
import * as Bytes from "../../src/data/Bytes.ts"
import * as Keys from "../../src/data/Keys.ts"
import * as PeerId from "../../src/data/PeerId.ts"
import { keys } from "../../src/conformance/vectors.ts"

const hex = (text: string): Uint8Array => Bytes.fromHex(text) ?? assert.fail(`not hexadecimal: ${text}`)
const parse = (text: string): PeerId.PeerId => Result.getOrThrow(PeerId.fromString(text))
const refused = (result: Result.Result<PeerId.PeerId, PeerId.PeerIdError>): string =>
  Result.isFailure(result) ? result.failure.message : assert.fail(`accepted as ${result.success.toString()}`)

/** The texts that js-libp2p gives for the keys of the specification; for ECDSA, the SHA-256 of the encoded key. */
const texts = {
  RSA: [
    "QmaeANgBs1DTSxWSrPPtobgQuxW8XTfsS4ydbK4rCHzqxG",
    "bafzbeifwzcumbiyql7bhv7fe7mixg6i7aohegq75k234m63bnw6dbicmzu"
  ],
  Ed25519: [
    "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq",
    "bafzaajaiaejcahwr5d5ofrfbis4l5d6uwr57hu5tjodrypfm6yaq6dsc2r2pzyt6"
  ],
  secp256k1: [
    "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY",
    "bafzaajiiaijcca3xo7uzjzcsyilaj6i54cj44qk7kqzpoao5rti2pjx6udtdbp6kte"
  ],
  ECDSA: [
    "QmVMT29id3TUASyfZZ6k9hmNyc2nYabCo4uMSpDw4zrgDk",
    "bafzbeidigywdclqvl5hxfefwp5onbffcfife7pza57mmfb4tiqmtkdjw64"
  ]
} as const

describe("PeerId", () => {
  for (const type of Keys.keyTypes) {
    it(`names the ${type} key of the specification`, () => {
      const key = Result.getOrThrow(Keys.decodePublicKey(hex(keys[type].publicKey)))
      const id = PeerId.fromPublicKey(key)
      const [text, cid] = texts[type]
      assert.strictEqual(id.toString(), text)
      assert.strictEqual(id.toCid(), cid)
      assert.isTrue(PeerId.equals(parse(text), id))
      assert.isTrue(PeerId.equals(parse(cid), id))
      assert.isTrue(PeerId.matchesPublicKey(parse(text), key))
      const inline = type === "Ed25519" || type === "secp256k1"
      const inside = parse(text).publicKey
      assert.strictEqual(inside !== undefined && Keys.equals(inside, key), inline)
      assert.strictEqual(id.publicKey !== undefined, inline)
      const encoded = hex(keys[type].publicKey)
      const expected = inline
        ? Bytes.concat([Uint8Array.of(0, encoded.length), encoded])
        : Bytes.concat([Uint8Array.of(0x12, 32), createHash("sha256").update(encoded).digest()])
      assert.deepStrictEqual(id.bytes, expected)
    })
  }

  it.each(["QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"])(
    "reads %s of the specification, in every base",
    (text) => {
      const id = parse(text)
      assert.strictEqual(id.toString(), text)
      const cid = CID.parse(id.toCid())
      assert.strictEqual(cid.code, 0x72)
      for (const form of [cid.toString(base36), cid.toString(base58btc), id.toCid().toUpperCase()]) {
        assert.isTrue(PeerId.equals(parse(form), id), form)
      }
    }
  )

  it("reads the CID of the specification", () => {
    const text = "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe"
    assert.strictEqual(parse(text).toCid(), text)
    assert.isTrue(PeerId.equals(parse(text), parse("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")))
  })

  it("refuses what is not a peer id, and says why", () => {
    const qm = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["", "neither"],
      ["hello", "neither"],
      ["Qm0", "not base58btc"],
      [qm.slice(0, -1), "multihash"],
      [`${qm}1`, "multihash"],
      // A CID of a file (codec dag-pb), and one of version 0 in base58 with a multibase prefix.
      ["bafybeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe", "libp2p-key"],
      [`z${qm}`, "version 1"],
      ["1".repeat(129), "over the limit of 128"],
      ["11", "key inside"]
    ]
    for (const [text, why] of cases) assert.include(refused(PeerId.fromString(text)), why, text)
    assert.isBelow(refused(PeerId.fromString("Q".repeat(1e6))).length, 300)
    const bytes: ReadonlyArray<readonly [string, string]> = [
      ["", "too short"],
      ["12", "too short"],
      ["1220", "says 32 bytes and has 0"],
      ["121f" + "00".repeat(31), "a SHA-256 has 32 bytes"],
      ["1120" + "00".repeat(32), "code 0x11"],
      ["002b" + "00".repeat(43), "at most 42"],
      ["0024080112207e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d00", "says 36 bytes and has 37"],
      ["0003080112", "the key inside"]
    ]
    for (const [text, why] of bytes) assert.include(refused(PeerId.fromBytes(hex(text))), why, text)
  })

  it("takes a key in up to 42 bytes of its encoding, and hashes one of 43", () => {
    const ofSize = (size: number) => PeerId.fromPublicKey({ type: "ECDSA", bytes: new Uint8Array(size - 4).fill(0x30) })
    const inline = ofSize(42)
    assert.deepStrictEqual([...inline.bytes.subarray(0, 2)], [0, 42])
    assert.isTrue(PeerId.equals(parse(inline.toString()), inline))
    assert.deepStrictEqual([...ofSize(43).bytes.subarray(0, 2)], [0x12, 32])
  })

  it("does not match another key, nor the hash of a key that goes inline", () => {
    const ed = Result.getOrThrow(Keys.decodePublicKey(hex(keys.Ed25519.publicKey)))
    const rsa = Result.getOrThrow(Keys.decodePublicKey(hex(keys.RSA.publicKey)))
    assert.isFalse(PeerId.matchesPublicKey(PeerId.fromPublicKey(ed), rsa))
    const hashed = createHash("sha256").update(Keys.encodePublicKey(ed)).digest()
    const id = Result.getOrThrow(PeerId.fromBytes(Bytes.concat([Uint8Array.of(0x12, 32), hashed])))
    assert.isFalse(PeerId.matchesPublicKey(id, ed))
  })

  it("is a key of Effect's collections, and prints as its text", () => {
    const [text, cid] = texts.Ed25519
    const map = HashMap.make([parse(text), 1])
    assert.deepStrictEqual(HashMap.get(map, parse(cid)), Option.some(1))
    assert.isTrue(Equal.equals(parse(text), parse(cid)))
    assert.isFalse(Equal.equals(parse(text), parse(texts.RSA[0])))
    assert.strictEqual(JSON.stringify(parse(cid)), `"${text}"`)
    assert.strictEqual(inspect(parse(cid)), `PeerId(${text})`)
  })

  it("has a schema", () => {
    const [text, cid] = texts.secp256k1
    const id = Schema.decodeSync(PeerId.FromString)(cid)
    assert.strictEqual(Schema.encodeSync(PeerId.FromString)(id), text)
    assert.isTrue(Schema.is(PeerId.schema)(id))
    assert.throws(() => Schema.decodeSync(PeerId.FromString)("bogus"), /neither base58btc/)
  })

  it("does not share memory with what it read", () => {
    const bytes = parse(texts.RSA[0]).bytes.slice()
    const id = Result.getOrThrow(PeerId.fromBytes(bytes))
    bytes.fill(0)
    assert.strictEqual(id.toString(), texts.RSA[0])
  })

  it.prop("every Ed25519 key has an id that holds it", [Schema.Uint8Array], ([noise]) => {
    const bytes = new Uint8Array(createHash("sha256").update(noise).digest())
    const key = Result.getOrThrow(Keys.publicKey("Ed25519", bytes))
    const id = PeerId.fromPublicKey(key)
    assert.isTrue(id.toString().startsWith("12D3KooW"))
    for (const again of [parse(id.toString()), parse(id.toCid()), Result.getOrThrow(PeerId.fromBytes(id.bytes))]) {
      assert.isTrue(Equal.equals(again, id))
      assert.deepStrictEqual(again.publicKey, key)
    }
  })

  it.prop("never throws", [Schema.Uint8Array, Schema.String], ([bytes, text]) => {
    for (const prefix of [[], [0, bytes.length], [0x12, 32], [0, 36, 8, 1, 18, 32]]) {
      const whole = Bytes.concat([Uint8Array.from(prefix), bytes])
      const id = PeerId.fromBytes(whole)
      if (Result.isSuccess(id)) assert.deepStrictEqual(id.success.bytes, whole)
    }
    for (const prefix of ["", "1", "Qm", "12D3KooW", "b", "bafz", "k", "z", "f0172", "m", "u"]) {
      PeerId.fromString(prefix + text)
    }
  })
})
