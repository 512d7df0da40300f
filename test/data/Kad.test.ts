/** Messages of Kademlia: as generated code has them, and within bounds. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Bytes from "../../src/data/Bytes.ts"
import * as Kad from "../../src/data/messages/Kad.ts"
import { Reader, Writer } from "../../src/data/Protobuf.ts"
import { Message_ConnectionType as Connection, Message_MessageType as Type, MessageSchema } from "./generated/kad_pb.js"

const bytes = Schema.Uint8Array
const text = Schema.String.check(Schema.makeFilter((value) => value.isWellFormed()))
const peer = Schema.Struct({
  id: bytes,
  addrs: Schema.Array(bytes),
  connection: Schema.Literals(Kad.connections)
})
const message = Schema.Struct({
  type: Schema.Literals(Kad.types),
  key: bytes,
  record: Schema.UndefinedOr(Schema.Struct({ key: bytes, value: bytes, timeReceived: text })),
  closerPeers: Schema.Array(peer),
  providerPeers: Schema.Array(peer)
})

const typeOf = {
  PutValue: Type.PUT_VALUE,
  GetValue: Type.GET_VALUE,
  AddProvider: Type.ADD_PROVIDER,
  GetProviders: Type.GET_PROVIDERS,
  FindNode: Type.FIND_NODE,
  Ping: Type.PING
}
const connectionOf = {
  NotConnected: Connection.NOT_CONNECTED,
  Connected: Connection.CONNECTED,
  CanConnect: Connection.CAN_CONNECT,
  CannotConnect: Connection.CANNOT_CONNECT
}
const generatedPeer = (one: Kad.Peer) => ({
  id: one.id,
  addrs: [...one.addrs],
  connection: connectionOf[one.connection]
})
const generated = (value: Kad.Kad) =>
  toBinary(
    MessageSchema,
    create(MessageSchema, {
      type: typeOf[value.type],
      key: value.key,
      ...(value.record === undefined ? {} : { record: value.record }),
      closerPeers: value.closerPeers.map(generatedPeer),
      providerPeers: value.providerPeers.map(generatedPeer)
    })
  )

const refused = (input: Uint8Array, limit?: number): string => {
  const read = Kad.decode(input, limit)
  return Result.isFailure(read) ? read.failure.message : assert.fail("it was accepted")
}
const somebody: Kad.Peer = { id: Uint8Array.of(0, 1, 2), addrs: [], connection: "NotConnected" }

describe("Kad", () => {
  it.prop("is written as generated code writes it, and read back", [message], ([value]) => {
    const encoded = Kad.encode(value)
    assert.deepStrictEqual(encoded, generated(value))
    assert.deepStrictEqual(Result.getOrThrow(Kad.decode(encoded)), value)
  })

  it.prop("random bytes are never thrown at", [bytes], ([input]) => {
    assert.isTrue(Result.isResult(Kad.decode(input)))
  })

  it("tolerates a cluster level and unknown fields", () => {
    const old = toBinary(
      MessageSchema,
      create(MessageSchema, { type: Type.FIND_NODE, key: Uint8Array.of(7), clusterLevelRaw: -1 })
    )
    const unknown = new Writer().bytes(99, Uint8Array.of(1)).finish()
    assert.deepStrictEqual(
      Result.getOrThrow(Kad.decode(Bytes.concat([old, unknown]))),
      Kad.make("FindNode", { key: Uint8Array.of(7) })
    )
  })

  it("merges a record that comes in two pieces, as protobuf has it", () => {
    const first = new Writer().bytes(3, new Writer().bytes(1, Uint8Array.of(1)).finish()).finish()
    const second = new Writer().bytes(3, new Writer().bytes(2, Uint8Array.of(2)).finish()).finish()
    const input = Bytes.concat([first, second])
    const { record } = Result.getOrThrow(Kad.decode(input))
    assert.deepStrictEqual(record, { key: Uint8Array.of(1), value: Uint8Array.of(2), timeReceived: "" })
    assert.deepStrictEqual(fromBinary(MessageSchema, input).record?.value, record?.value)
  })

  it("refuses a type that it does not know", () => {
    assert.include(refused(new Writer().uint64(1, 6n).finish()), "Kad: the unknown type 6")
    assert.include(refused(new Writer().uint64(1, 2n ** 64n - 1n).finish()), "the unknown type 18446744073709551615")
  })

  it("reads an unknown connection type as not connected", () => {
    const input = new Writer().bytes(8, new Writer().uint64(3, 77n).finish()).finish()
    assert.strictEqual(Result.getOrThrow(Kad.decode(input)).closerPeers[0]?.connection, "NotConnected")
  })

  it("has bounds", () => {
    assert.include(refused(new Uint8Array(Kad.maxSize + 1)), `over the limit of ${Kad.maxSize}`)
    assert.include(refused(new Uint8Array(101), 100), "101 bytes, over the limit of 100")
    const key = new Uint8Array(Kad.maxKeySize + 1)
    assert.include(refused(Kad.encode(Kad.make("GetValue", { key }))), "a key of 1025 bytes, over the limit of 1024")
    const record = { key, value: key, timeReceived: "" }
    assert.include(refused(Kad.encode(Kad.make("PutValue", { record }))), "a key of 1025 bytes")
    const many = (count: number) => Array.from({ length: count }, () => somebody)
    assert.include(refused(Kad.encode(Kad.make("FindNode", { closerPeers: many(257) }))), "more than 256 closer peers")
    const providers = Kad.encode(Kad.make("GetProviders", { providerPeers: many(2000) }))
    assert.lengthOf(Result.getOrThrow(Kad.decode(providers)).providerPeers, Kad.maxProviderPeers)
    const addrs = Array.from({ length: 1000 }, () => Uint8Array.of(4))
    const talkative = Kad.encode(Kad.make("FindNode", { closerPeers: [{ ...somebody, addrs }] }))
    assert.lengthOf(Result.getOrThrow(Kad.decode(talkative)).closerPeers[0]?.addrs ?? [], Kad.maxAddresses)
  })

  it("refuses 100,000 closer peers without keeping them", () => {
    const one = new Writer().bytes(8, new Uint8Array(0)).finish()
    const flood = new Uint8Array(one.length * 100_000)
    for (let i = 0; i < 100_000; i++) flood.set(one, i * one.length)
    assert.include(refused(flood), "more than 256 closer peers")
  })

  it("reads what is cut short as an error of its own name", () => {
    const whole = Kad.encode(Kad.make("FindNode", { closerPeers: [{ ...somebody, addrs: [Uint8Array.of(1, 2, 3)] }] }))
    for (let size = 3; size < whole.length; size++) {
      const read = Kad.decode(whole.subarray(0, size))
      if (Result.isFailure(read)) assert.match(read.failure.message, /^Kad: /)
    }
    assert.match(refused(whole.subarray(0, whole.length - 1)), /cut short/)
    assert.isTrue(new Reader("Kad", whole, 1000).next())
  })
})
