import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as NobleCrypto from "../../../../src/layers/crypto/NobleCrypto.ts"
import * as NodeCrypto from "../../../../src/layers/crypto/NodeCrypto.ts"
import { HandshakeState, type NoiseRole } from "../../../../src/layers/security/noise/HandshakeState.ts"
import { CipherState, maxCounter, type NoiseCrypto } from "../../../../src/layers/security/noise/SymmetricState.ts"
import { hex } from "../../../../src/conformance/Crypto.ts"
import vectors from "./vectors.json" with { type: "json" }

const crypto = NodeCrypto.make()
const nothing = new Uint8Array(0)

const side = (role: NoiseRole, seed = role === "initiator" ? 1 : 3) =>
  new HandshakeState(crypto, {
    role,
    staticKey: crypto.dhKeyPair(new Uint8Array(32).fill(seed)),
    ephemeralKey: crypto.dhKeyPair(new Uint8Array(32).fill(seed + 1))
  })

const get = <A>(result: Result.Result<A, unknown>): A => Result.getOrThrow(result)

const detail = <A>(result: Result.Result<A, { readonly detail: string }>): string =>
  Result.isFailure(result) ? result.failure.detail : assert.fail("it did not fail")

/** The first two messages, and the sides that exchanged them. */
const started = () => {
  const initiator = side("initiator")
  const responder = side("responder")
  const first = get(initiator.write(nothing))
  get(responder.read(first))
  return { initiator, responder, second: get(responder.write(Bytes.fromUtf8("second"))) }
}

describe("published vectors of Noise_XX_25519_ChaChaPoly_SHA256", () => {
  const layers: ReadonlyArray<readonly [string, NoiseCrypto]> = [
    ["Node", crypto],
    ["noble", NobleCrypto.make()]
  ]
  for (const [name, layer] of layers) {
    for (const vector of vectors) {
      it(`${vector.source}, ${name}`, () => {
        const make = (role: NoiseRole, staticKey: string, ephemeralKey: string) =>
          new HandshakeState(layer, {
            role,
            staticKey: layer.dhKeyPair(hex(staticKey)),
            ephemeralKey: layer.dhKeyPair(hex(ephemeralKey)),
            prologue: hex(vector.prologue)
          })
        const initiator = make("initiator", vector.initStatic, vector.initEphemeral)
        const responder = make("responder", vector.respStatic, vector.respEphemeral)
        vector.messages.forEach((message, i) => {
          const [from, to] = i % 2 === 0 ? [initiator, responder] : [responder, initiator]
          const payload = hex(message.payload)
          const sealed =
            i < 3 ? get(from.write(payload)) : (from.ciphers?.send.encrypt(nothing, [payload]) ?? assert.fail())
          assert.strictEqual(Bytes.toHex(sealed), message.ciphertext)
          const opened = i < 3 ? get(to.read(sealed)) : to.ciphers?.receive.decrypt(nothing, sealed)
          assert.deepStrictEqual(opened, payload)
        })
        if (vector.handshakeHash !== undefined) assert.strictEqual(Bytes.toHex(initiator.hash), vector.handshakeHash)
        assert.deepStrictEqual(initiator.hash, responder.hash)
      })
    }
  }
})

describe("HandshakeState", () => {
  it("each side learns the other's static key", () => {
    const { initiator, responder, second } = started()
    assert.deepStrictEqual(get(initiator.read(second)), Bytes.fromUtf8("second"))
    get(responder.read(get(initiator.write(nothing))))
    assert.deepStrictEqual(initiator.remoteStatic, crypto.dhKeyPair(new Uint8Array(32).fill(3)).publicKey)
    assert.deepStrictEqual(responder.remoteStatic, crypto.dhKeyPair(new Uint8Array(32).fill(1)).publicKey)
  })

  it("there are no ciphers before the last message", () => {
    const { initiator, responder, second } = started()
    get(initiator.read(second))
    assert.isUndefined(initiator.ciphers)
    assert.isUndefined(responder.ciphers)
    const third = get(initiator.write(nothing))
    assert.isDefined(initiator.ciphers)
    assert.isUndefined(responder.ciphers)
    get(responder.read(third))
    assert.isDefined(responder.ciphers)
  })

  it("a truncated message of each number is refused at every length", () => {
    for (let n = 0; n < 32; n++) assert.include(detail(side("responder").read(new Uint8Array(n))), "too short")
    const { second } = started()
    for (let n = 0; n < second.length; n++) {
      assert.isTrue(Result.isFailure(started().initiator.read(second.subarray(0, n))))
    }
    const { initiator, second: again } = started()
    get(initiator.read(again))
    const third = get(initiator.write(nothing))
    for (let n = 0; n < third.length; n++) {
      assert.isTrue(Result.isFailure(started().responder.read(third.subarray(0, n))))
    }
  })

  it("an empty message is refused", () => {
    assert.include(detail(side("responder").read(nothing)), "too short")
    assert.include(detail(started().initiator.read(nothing)), "too short")
  })

  it("an oversized message is refused, whether read or written", () => {
    assert.include(detail(side("responder").read(new Uint8Array(65536).fill(9))), "over the limit")
    assert.include(detail(side("initiator").write(new Uint8Array(65535))), "over the limit")
    assert.isTrue(Result.isSuccess(side("initiator").write(new Uint8Array(65535 - 32))))
  })

  it("a change of any byte of the second or third message is noticed", () => {
    const { initiator, second } = started()
    for (let i = 0; i < second.length; i++) {
      const changed = Uint8Array.from(second, (byte, j) => (i === j ? byte ^ 1 : byte))
      assert.isTrue(Result.isFailure(started().initiator.read(changed)), `byte ${i}`)
    }
    get(initiator.read(second))
    const third = get(initiator.write(Bytes.fromUtf8("third")))
    for (let i = 0; i < third.length; i++) {
      const changed = Uint8Array.from(third, (byte, j) => (i === j ? byte ^ 1 : byte))
      assert.isTrue(Result.isFailure(started().responder.read(changed)), `byte ${i}`)
    }
  })

  it("an all-zero ephemeral key is refused by both sides", () => {
    const responder = side("responder")
    get(responder.read(new Uint8Array(32)))
    assert.include(detail(responder.write(nothing)), "low order")
    const initiator = side("initiator")
    get(initiator.write(nothing))
    assert.include(detail(initiator.read(new Uint8Array(96))), "low order")
  })

  it("an all-zero static key is refused", () => {
    const zero = { publicKey: new Uint8Array(32), agree: crypto.dhKeyPair(new Uint8Array(32).fill(3)).agree }
    const initiator = side("initiator")
    const responder = new HandshakeState(crypto, {
      role: "responder",
      staticKey: zero,
      ephemeralKey: crypto.dhKeyPair(new Uint8Array(32).fill(4))
    })
    get(responder.read(get(initiator.write(nothing))))
    assert.include(detail(initiator.read(get(responder.write(nothing)))), "low order")
  })

  it("a message out of turn is refused", () => {
    assert.include(detail(side("responder").write(nothing)), "turn to write")
    assert.include(detail(side("initiator").read(nothing)), "turn to read")
    const { responder } = started()
    assert.include(detail(responder.write(nothing)), "turn to write")
  })

  it("after a failure every call fails the same way", () => {
    const { initiator, second } = started()
    const first = initiator.read(second.subarray(1))
    assert.deepStrictEqual(initiator.read(second), first)
    assert.deepStrictEqual(
      initiator.write(nothing),
      Result.fail(Result.isFailure(first) ? first.failure : assert.fail())
    )
    assert.isUndefined(initiator.ciphers)
  })

  it("a message of another handshake is refused", () => {
    const initiator = side("initiator", 50)
    get(initiator.write(nothing))
    assert.isTrue(Result.isFailure(initiator.read(started().second)))
  })

  it.prop("random bytes never crash either side", { bytes: Schema.Uint8Array }, ({ bytes }) => {
    side("responder").read(bytes)
    started().initiator.read(bytes)
    const { initiator, responder, second } = started()
    get(initiator.read(second))
    assert.isTrue(Result.isFailure(responder.read(bytes)))
  })
})

describe("CipherState", () => {
  const key = crypto.aeadKey(new Uint8Array(32).fill(1))

  it("the last number is used, and none after it", () => {
    const send = new CipherState(key, maxCounter - 1)
    const receive = new CipherState(key, maxCounter - 1)
    const sealed = send.encrypt(nothing, [Uint8Array.of(1)]) ?? assert.fail()
    assert.isUndefined(send.encrypt(nothing, [Uint8Array.of(1)]))
    assert.isUndefined(send.encryptInto([Uint8Array.of(1)], new Uint8Array(20), 0))
    assert.isTrue(send.exhausted)
    assert.deepStrictEqual(receive.decrypt(nothing, sealed), Uint8Array.of(1))
    assert.isUndefined(receive.decrypt(nothing, sealed))
  })

  it("a message that does not authenticate takes no number", () => {
    const send = new CipherState(key)
    const receive = new CipherState(key)
    const sealed = send.encrypt(nothing, [Uint8Array.of(1)]) ?? assert.fail()
    assert.isUndefined(receive.decrypt(nothing, new Uint8Array(20)))
    assert.deepStrictEqual(receive.decrypt(nothing, sealed), Uint8Array.of(1))
  })
})
