import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Keys from "../../src/data/Keys.ts"
import * as Exchange from "../../src/data/messages/Exchange.ts"
import { KeyType } from "./generated/keys_pb.js"
import { ExchangeSchema } from "./generated/plaintext_pb.js"

const key = { type: "Ed25519", bytes: new Uint8Array(32).fill(9) } as const

describe("Exchange", () => {
  it.prop("is written as generated code writes it, and read back", [Schema.Uint8Array], ([bytes]) => {
    const id = bytes.subarray(0, 2000)
    const publicKey = Keys.encodePublicKey(key)
    const encoded = Exchange.encode({ id, publicKey })
    const generated = create(ExchangeSchema, { id, pubkey: { Type: KeyType.Ed25519, Data: key.bytes } })
    assert.deepStrictEqual(encoded, toBinary(ExchangeSchema, generated))
    assert.deepStrictEqual(fromBinary(ExchangeSchema, encoded).id, id)
    assert.deepStrictEqual(Result.getOrThrow(Exchange.decode(encoded)), { id, publicKey })
  })

  it.prop("random bytes are never thrown at", [Schema.Uint8Array], ([bytes]) => {
    assert.isTrue(Result.isResult(Exchange.decode(bytes)))
  })

  it("is read up to 4096 bytes", () => {
    assert.isTrue(Result.isSuccess(Exchange.decode(Exchange.encode({ id: new Uint8Array(4093) }))))
    const failure = Exchange.decode(Exchange.encode({ id: new Uint8Array(4094) }))
    assert.match(Result.isFailure(failure) ? failure.failure.message : "", /over the limit of 4096/)
  })
})
