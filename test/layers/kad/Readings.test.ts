import { assert, describe, it } from "@effect/vitest"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as PeerId from "../../../src/data/PeerId.ts"
import { Readings } from "../../../src/layers/kad/Readings.ts"
import { Prng } from "../../../src/layers/simulation/Prng.ts"
import { contact } from "./core/model.ts"

const addressOf = (i: number) => Multiaddr.fromStringUnsafe(`/ip4/10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/tcp/4001`)

describe("Readings", () => {
  it("gives the same object for the same bytes, and another for others", () => {
    const readings = new Readings()
    const { bytes } = addressOf(1)
    const one = readings.address(bytes) ?? assert.fail("not read")
    assert.strictEqual(one.toString(), addressOf(1).toString())
    assert.strictEqual(readings.address(bytes.slice()), one)
    assert.strictEqual(readings.address(addressOf(2).bytes)?.toString(), addressOf(2).toString())
    const { peer } = contact(new Prng("readings"))
    const read = readings.peer(peer.bytes.slice()) ?? assert.fail("not read")
    assert.isTrue(PeerId.equals(read, peer))
    assert.strictEqual(readings.peer(peer.bytes), read)
  })

  it("does not see what becomes of the bytes", () => {
    const readings = new Readings()
    const bytes = addressOf(1).bytes.slice()
    readings.address(bytes)
    bytes[1] = 99
    assert.strictEqual(readings.address(bytes)?.toString(), "/ip4/99.0.0.1/tcp/4001")
    assert.strictEqual(readings.address(addressOf(1).bytes)?.toString(), addressOf(1).toString())
  })

  it("reads what is none each time as none, and what is long", () => {
    const readings = new Readings()
    for (let i = 0; i < 2; i++) {
      assert.isUndefined(readings.address(Uint8Array.of(1, 2)))
      assert.isUndefined(readings.peer(new Uint8Array(0)))
      const long = Multiaddr.fromStringUnsafe(`/dns/${"a".repeat(60)}.example/tcp/4001`)
      assert.strictEqual(readings.address(long.bytes)?.toString(), long.toString())
    }
  })

  it("keeps what is used while thousands of others come by", () => {
    const readings = new Readings()
    const used = readings.address(addressOf(0).bytes)
    const unused = readings.address(addressOf(1).bytes)
    for (let i = 2; i < 10_000; i++) {
      readings.address(addressOf(i).bytes)
      if (i % 500 === 0) assert.strictEqual(readings.address(addressOf(0).bytes), used)
    }
    assert.notStrictEqual(readings.address(addressOf(1).bytes), unused)
  })
})
