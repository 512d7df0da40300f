import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import * as Ip from "../../src/data/IpAddress.ts"
import * as Subnet from "../../src/data/Subnet.ts"

const read = (text: string): string => {
  const subnet = Subnet.fromString(text)
  return Result.isSuccess(subnet) ? Subnet.format(subnet.success) : "no"
}
const has = (network: string, address: string): boolean =>
  Subnet.contains(
    Result.getOrThrow(Subnet.fromString(network)),
    Ip.parse4(address) ?? Ip.parse6(address) ?? new Uint8Array()
  )

describe("networks of IP addresses", () => {
  it("are read and written", () => {
    assert.strictEqual(read("192.0.2.77/24"), "192.0.2.0/24")
    assert.strictEqual(read("192.0.2.77"), "192.0.2.77")
    assert.strictEqual(read("192.0.2.77/32"), "192.0.2.77")
    assert.strictEqual(read("10.255.0.0/9"), "10.128.0.0/9")
    assert.strictEqual(read("0.0.0.0/0"), "0.0.0.0/0")
    assert.strictEqual(read("2001:db8:1:2:3::/48"), "2001:db8:1::/48")
    assert.strictEqual(read("::1"), "::1")
    assert.strictEqual(read("::ffff:192.0.2.77/120"), "192.0.2.0/24")
    assert.strictEqual(read("::/0"), "::/0")
    for (const bad of [
      "",
      "/",
      "/24",
      "192.0.2.0/",
      "192.0.2.0/33",
      "192.0.2.0/-1",
      "192.0.2.0/2x",
      "192.0.2/24",
      "::/129",
      "x/8",
      "1.2.3.4/8/8",
      "1.2.3.4/1e1"
    ]) {
      assert.strictEqual(read(bad), "no", bad)
    }
  })

  it("know what is in them", () => {
    assert.isTrue(has("192.0.2.0/25", "192.0.2.127"))
    assert.isFalse(has("192.0.2.0/25", "192.0.2.128"))
    assert.isTrue(has("0.0.0.0/0", "203.0.113.9"))
    assert.isFalse(has("0.0.0.0/0", "2001:db8::1"))
    assert.isTrue(has("192.0.2.0/24", "::ffff:192.0.2.9"))
    assert.isTrue(has("2001:db8::/33", "2001:db8:7fff::1"))
    assert.isFalse(has("2001:db8::/33", "2001:db8:8000::1"))
    assert.isFalse(has("192.0.2.1", "192.0.2.2"))
  })

  it.effect.prop(
    "an address is in the network of any length that is made of it",
    [
      Schema.Uint8Array.check(Schema.isMinLength(4), Schema.isMaxLength(4)),
      Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 32 }))
    ],
    ([ip, bits]) =>
      Effect.sync(() => {
        const subnet = Subnet.of(ip, bits)
        assert.isTrue(Subnet.contains(subnet, ip))
        assert.strictEqual(read(`${Ip.format4(ip)}/${bits}`), Subnet.format(subnet))
        if (bits === 0) return
        const other = ip.slice()
        other[(bits - 1) >> 3] = (other[(bits - 1) >> 3] ?? 0) ^ (0x80 >> ((bits - 1) & 7))
        assert.isFalse(Subnet.contains(subnet, other))
      })
  )
})
