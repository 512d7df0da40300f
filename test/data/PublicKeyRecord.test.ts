import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { keys } from "../../src/conformance/vectors.ts"
import * as Bytes from "../../src/data/Bytes.ts"
import * as Keys from "../../src/data/Keys.ts"
import * as PeerId from "../../src/data/PeerId.ts"
import * as PublicKeyRecord from "../../src/data/PublicKeyRecord.ts"

/** The text that js-libp2p gives for the RSA key of the specification. */
const id = "QmaeANgBs1DTSxWSrPPtobgQuxW8XTfsS4ydbK4rCHzqxG"
const value = Bytes.fromHex(keys.RSA.publicKey) ?? assert.fail()

const checked = (key: Uint8Array, of: Uint8Array): string => PublicKeyRecord.validate(key, of) ?? "valid"

describe("the record of a public key", () => {
  const publicKey = Result.getOrThrow(Keys.decodePublicKey(value))
  const peer = PeerId.fromPublicKey(publicKey)
  const key = PublicKeyRecord.keyOf(peer)

  it("is valid under the id that is made of it", () => {
    assert.strictEqual(peer.toString(), id)
    assert.deepStrictEqual(key, Bytes.concat([Bytes.fromUtf8("/pk/"), peer.bytes]))
    assert.strictEqual(checked(key, value), "valid")
    const ed25519: Keys.PublicKey = { type: "Ed25519", bytes: new Uint8Array(32).fill(9) }
    const inline = PublicKeyRecord.keyOf(PeerId.fromPublicKey(ed25519))
    assert.strictEqual(checked(inline, Keys.encodePublicKey(ed25519)), "valid")
    assert.strictEqual(checked(inline, value), `it is not the key of ${PeerId.fromPublicKey(ed25519).toString()}`)
  })

  it("is refused otherwise", () => {
    assert.include(checked(Bytes.fromUtf8("/pk"), value), "does not start with /pk/")
    assert.include(checked(Bytes.fromUtf8("/pk/"), value), "holds no peer id")
    // The text of an id is another key.
    assert.include(checked(Bytes.fromUtf8(`/pk/${id}`), value), "holds no peer id")
    assert.include(checked(Bytes.concat([key, Uint8Array.of(0)]), value), "holds no peer id")
    assert.include(checked(key, new Uint8Array(0)), "the value is no public key")
    assert.include(checked(key, value.subarray(1)), "the value is no public key")
    assert.include(checked(key, Bytes.concat([value, Uint8Array.of(0)])), "the value is no public key")
    const other = value.slice()
    other[40] = 1 ^ (other[40] ?? 0)
    assert.strictEqual(checked(key, other), `it is not the key of ${id}`)
  })
})
