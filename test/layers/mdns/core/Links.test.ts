import { assert, describe, it } from "@effect/vitest"
import { isFrom, type Link, linksOf } from "../../../../src/layers/mdns/core/Links.ts"

const at = (name: string, host: string, prefixLength: number, zone?: string) => ({
  name,
  host,
  family: host.includes(":") ? (6 as const) : (4 as const),
  internal: false,
  prefixLength,
  zone
})

const linkOf = (links: ReadonlyArray<Link>, id: string): Link =>
  links.find((link) => link.id === id) ?? assert.fail(`no link ${id}`)

/** Of a machine on two networks, with all that an interface has. */
const links = linksOf(
  [
    at("eth0", "192.168.1.7", 24),
    at("eth0", "2001:db8:1::7", 64),
    at("eth0", "fe80::7", 64),
    at("eth1", "10.1.0.7", 16),
    at("eth1", "fe80::1:7", 64)
  ],
  "all"
)

describe("Links: a packet is from a link if its sender is", () => {
  it("of a network of its interface, by IPv4", () => {
    const link = linkOf(links, "eth0/4")
    for (const host of ["192.168.1.9", "192.168.1.255", "192.168.1.7"]) assert.isTrue(isFrom(link, host), host)
    for (const host of ["192.168.2.9", "10.1.0.9", "8.8.8.8", "127.0.0.1", "0.0.0.0", "224.0.0.251", "no address"]) {
      assert.isFalse(isFrom(link, host), host)
    }
  })

  it("of a network of its interface, by IPv6", () => {
    const link = linkOf(links, "eth0/6")
    for (const host of ["2001:db8:1::9", "fe80::9", "fe80::9%eth0"]) assert.isTrue(isFrom(link, host), host)
    for (const host of ["2001:db8:2::9", "2001:db8::9", "fec0::9", "::1", "::", "ff02::fb"]) {
      assert.isFalse(isFrom(link, host), host)
    }
  })

  it("and of the interface itself, where all interfaces have the same network", () => {
    assert.isFalse(isFrom(linkOf(links, "eth0/6"), "fe80::9%eth1"))
    assert.isFalse(isFrom(linkOf(links, "eth1/6"), "fe80::9%eth0"))
    assert.isTrue(isFrom(linkOf(links, "eth1/6"), "fe80::9%eth1"))
    // Windows numbers them.
    const windows = linkOf(linksOf([at("Ethernet", "fe80::7", 64, "12")], "all"), "Ethernet/6")
    assert.isTrue(isFrom(windows, "fe80::9%12"))
    assert.isFalse(isFrom(windows, "fe80::9%13"))
  })

  it("and by the same version of IP, also where one is written as the other", () => {
    assert.isFalse(isFrom(linkOf(links, "eth0/4"), "2001:db8:1::9"))
    assert.isFalse(isFrom(linkOf(links, "eth0/6"), "192.168.1.9"))
    for (const id of ["eth0/4", "eth0/6"]) assert.isFalse(isFrom(linkOf(links, id), "::ffff:192.168.1.9"), id)
  })
})
