import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Bytes from "../../src/data/Bytes.ts"
import * as Keys from "../../src/data/Keys.ts"
import * as Envelope from "../../src/data/messages/Envelope.ts"
import * as Identify from "../../src/data/messages/Identify.ts"
import * as NoisePayload from "../../src/data/messages/NoisePayload.ts"
import * as PeerRecord from "../../src/data/messages/PeerRecord.ts"
import { type DecodeError, Reader, Writer } from "../../src/data/Protobuf.ts"
import { EnvelopeSchema } from "./generated/envelope_pb.js"
import { IdentifySchema } from "./generated/identify_pb.js"
import { NoiseHandshakePayloadSchema } from "./generated/noise_pb.js"
import { PeerRecordSchema } from "./generated/peer_record_pb.js"
import { keys } from "../../src/conformance/vectors.ts"

const hex = (text: string): Uint8Array => Bytes.fromHex(text) ?? assert.fail(`not hexadecimal: ${text}`)
const refused = <A>(result: Result.Result<A, DecodeError>): string =>
  Result.isFailure(result) ? result.failure.message : assert.fail("it was accepted")

/** Without the fields that are absent: generated code leaves them out, ours has them as `undefined`. */
const defined = (message: object) =>
  Object.fromEntries(Object.entries(message).filter(([, value]) => value !== undefined))

const generate = <D extends DescMessage>(schema: D, message: MessageInitShape<D>): Uint8Array =>
  toBinary(schema, create(schema, message))

const text = Schema.String.check(Schema.makeFilter((value) => value.isWellFormed()))
const bytes = Schema.Uint8Array
const maybe = <S extends Schema.Constraint>(schema: S) => Schema.UndefinedOr(schema)

const identify = Schema.Struct({
  publicKey: maybe(bytes),
  listenAddrs: Schema.Array(bytes),
  protocols: Schema.Array(text),
  observedAddr: maybe(bytes),
  protocolVersion: maybe(text),
  agentVersion: maybe(text),
  signedPeerRecord: maybe(bytes)
})
const noise = Schema.Struct({
  identityKey: maybe(bytes),
  identitySig: maybe(bytes),
  extensions: maybe(Schema.Struct({ webtransportCerthashes: Schema.Array(bytes), streamMuxers: Schema.Array(text) }))
})
const envelope = Schema.Struct({ payloadType: bytes, payload: bytes, signature: bytes })
const record = Schema.Struct({ peerId: bytes, seq: Schema.BigInt, addresses: Schema.Array(bytes) })

const publicKey = Result.getOrThrow(Keys.decodePublicKey(hex(keys.ECDSA.publicKey)))

/** Fields that no message has: a number, 8 and 4 bytes, and bytes. */
const unknownFields = hex("f83fffffffffffffffffff01f93f0102030405060708fd3f01020304fa3f03616263")

const noisePayload = (value: typeof noise.Type) =>
  generate(NoiseHandshakePayloadSchema, {
    ...defined({ identityKey: value.identityKey, identitySig: value.identitySig }),
    ...(value.extensions === undefined
      ? {}
      : {
          extensions: {
            webtransportCerthashes: [...value.extensions.webtransportCerthashes],
            streamMuxers: [...value.extensions.streamMuxers]
          }
        })
  })

describe("messages agree with generated code", () => {
  it.prop("Identify", [identify], ([message]) => {
    const encoded = Identify.encode(message)
    assert.deepStrictEqual(
      encoded,
      generate(IdentifySchema, {
        ...defined(message),
        listenAddrs: [...message.listenAddrs],
        protocols: [...message.protocols]
      })
    )
    for (const input of [encoded, Bytes.concat([unknownFields, encoded, unknownFields])]) {
      assert.deepStrictEqual(defined(Result.getOrThrow(Identify.decode(input))), defined(message))
    }
  })

  it.prop("NoisePayload", [noise], ([message]) => {
    const encoded = NoisePayload.encode(message)
    assert.deepStrictEqual(encoded, noisePayload(message))
    for (const input of [encoded, Bytes.concat([unknownFields, encoded, unknownFields])]) {
      assert.deepStrictEqual(defined(Result.getOrThrow(NoisePayload.decode(input))), defined(message))
    }
  })

  it.prop("Envelope", [envelope], ([message]) => {
    const encoded = Envelope.encode({ ...message, publicKey })
    const generated = { ...message, publicKey: { Type: Keys.keyTypes.indexOf(publicKey.type), Data: publicKey.bytes } }
    assert.deepStrictEqual(encoded, generate(EnvelopeSchema, generated))
    for (const input of [encoded, Bytes.concat([unknownFields, encoded, unknownFields])]) {
      assert.deepStrictEqual(Result.getOrThrow(Envelope.decode(input)), { ...message, publicKey })
    }
  })

  it.prop("PeerRecord", [record], ([message]) => {
    const wanted = { ...message, seq: BigInt.asUintN(64, message.seq) }
    const encoded = PeerRecord.encode(wanted)
    const addresses = message.addresses.map((multiaddr) => ({ multiaddr }))
    assert.deepStrictEqual(encoded, generate(PeerRecordSchema, { ...wanted, addresses }))
    for (const input of [encoded, Bytes.concat([unknownFields, encoded, unknownFields])]) {
      assert.deepStrictEqual(Result.getOrThrow(PeerRecord.decode(input)), wanted)
    }
  })

  it("for numbers of all lengths", () => {
    for (let shift = 0n; shift <= 64n; shift++) {
      for (const seq of [(1n << shift) - 1n, 1n << shift].map((n) => BigInt.asUintN(64, n))) {
        const message = { peerId: new Uint8Array(0), seq, addresses: [] }
        const encoded = PeerRecord.encode(message)
        assert.deepStrictEqual(encoded, generate(PeerRecordSchema, message))
        assert.strictEqual(Result.getOrThrow(PeerRecord.decode(encoded)).seq, seq)
      }
    }
  })
})

const decoders = {
  Identify: Identify.decode,
  NoisePayload: NoisePayload.decode,
  Envelope: Envelope.decode,
  PeerRecord: PeerRecord.decode
}

describe("decoding", () => {
  it("has bounds", () => {
    assert.include(refused(Identify.decode(new Uint8Array(16_385))), "Identify: 16385 bytes, over the limit of 16384")
    assert.include(refused(NoisePayload.decode(new Uint8Array(65_536))), "limit of 65535")
    assert.include(refused(Envelope.decode(new Uint8Array(65_537))), "limit of 65536")
    assert.include(refused(PeerRecord.decode(new Uint8Array(65_537))), "limit of 65536")
  })

  it.each([
    ["00", "no field at byte 0"],
    ["80", "no field at byte 0"],
    ["ffffffffffffffffff7f", "no field at byte 0"],
    ["8080808010", "no field at byte 0"],
    ["0a", "a malformed length at byte 1"],
    ["0a01", "field 1, cut short, at byte 0"],
    ["0affffffffffffffffff01", "field 1, cut short, at byte 0"],
    ["0affffffffffffffffff02", "a malformed length at byte 1"],
    ["f83f80", "a malformed varint at byte 2"],
    ["f83f8080808080808080808001", "a malformed varint at byte 2"],
    ["f93f01020304050607", "field 1023, cut short, at byte 0"],
    ["fd3f010203", "field 1023, cut short, at byte 0"],
    ["0b0c", "a field of the unknown wire type 3 at byte 0"],
    ["0801", "field 1 has the wire type 0 instead of 2"],
    ["1201610a0261", "field 1, cut short, at byte 3"]
  ])("refuses %s", (input, why) => {
    assert.strictEqual(refused(Identify.decode(hex(input))), `Identify: ${why}`)
  })

  it("takes varints that are longer than they need be, the last of two, and none", () => {
    assert.strictEqual(Result.getOrThrow(PeerRecord.decode(hex("1081808080808080808000"))).seq, 1n)
    assert.strictEqual(Result.getOrThrow(PeerRecord.decode(hex("10011002"))).seq, 2n)
    assert.deepStrictEqual(Result.getOrThrow(PeerRecord.decode(hex("8a80000161"))).peerId, hex("61"))
    assert.deepStrictEqual(Result.getOrThrow(PeerRecord.decode(hex(""))), {
      peerId: new Uint8Array(0),
      seq: 0n,
      addresses: []
    })
  })

  it("joins the messages that one was split over", () => {
    const message = { listenAddrs: [hex("01"), hex("02")], protocols: ["/a", "/b"], agentVersion: "x" }
    const parts = [
      Identify.encode({ listenAddrs: [hex("01")], protocols: ["/a"] }),
      Identify.encode({ listenAddrs: [hex("02")], protocols: ["/b"], agentVersion: "x" })
    ]
    assert.deepStrictEqual(defined(Result.getOrThrow(Identify.decode(Bytes.concat(parts)))), message)
  })

  it("puts U+FFFD for malformed UTF-8, and keeps a byte order mark", () => {
    assert.deepStrictEqual(Result.getOrThrow(Identify.decode(hex("1a01ff1a04efbbbf61"))).protocols, [
      "\uFFFD",
      "\uFEFFa"
    ])
  })

  it("wants a well-formed key in an envelope", () => {
    assert.strictEqual(refused(Envelope.decode(hex("2a0161"))), "Envelope: it has no public_key")
    assert.include(refused(Envelope.decode(hex("0a0408041200"))), "no key type 4")
  })

  it("passes on what is wrong inside a message", () => {
    assert.strictEqual(
      refused(NoisePayload.decode(hex("22020a05"))),
      "NoiseHandshakePayload: field 1, cut short, at byte 0"
    )
    assert.include(refused(PeerRecord.decode(hex("1a020801"))), "wire type 0 instead of 2")
  })

  it("does not share memory with what it read", () => {
    const input = Identify.encode({ listenAddrs: [hex("0102")], protocols: [] })
    const message = Result.getOrThrow(Identify.decode(input))
    input.fill(0)
    assert.deepStrictEqual(message.listenAddrs, [hex("0102")])
  })

  it("reads and writes field numbers of any size", () => {
    for (const number of [1, 15, 16, 2047, 2048, 2 ** 29 - 1]) {
      const fields = new Reader("Test", new Writer().string(number, "ok").finish(), 100)
      assert.isTrue(fields.next())
      assert.deepStrictEqual(
        [fields.number, fields.string(), fields.next(), fields.error],
        [number, "ok", false, undefined]
      )
    }
  })

  it.prop("never throws, and reads what generated code reads", [bytes, identify], ([noise, message]) => {
    const valid = Identify.encode(message)
    const at = noise[0] ?? 0
    const damaged = valid.slice()
    damaged[at % (damaged.length + 1)] = noise[1] ?? 0
    for (const input of [noise, damaged, valid.subarray(0, at % (valid.length + 1)), Bytes.concat([valid, noise])]) {
      for (const decode of Object.values(decoders)) decode(input)
      const read = Identify.decode(input)
      if (Result.isFailure(read)) continue
      const generated = fromBinary(IdentifySchema, input)
      assert.deepStrictEqual(read.success.listenAddrs, generated.listenAddrs)
      assert.deepStrictEqual(read.success.protocols, generated.protocols)
    }
  })
})
