import { multiaddr as oracle } from "@multiformats/multiaddr"
import { assert, describe, it } from "@effect/vitest"
import { Equal, HashSet, Result, Schema } from "effect"
import * as Arbitrary from "effect/Arbitrary"
import { inspect } from "node:util"
import * as Bytes from "../../src/data/Bytes.ts"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import * as PeerId from "../../src/data/PeerId.ts"

const hex = (text: string): Uint8Array => Bytes.fromHex(text) ?? assert.fail(`not hexadecimal: ${text}`)
const parse = Multiaddr.fromStringUnsafe
const refused = (result: Result.Result<Multiaddr.Multiaddr, Multiaddr.MultiaddrError>): string =>
  Result.isFailure(result) ? result.failure.message : assert.fail(`accepted as ${result.success.toString()}`)

const ed = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
const qm = "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSooo1d"
const edId = Result.getOrThrow(PeerId.fromString(ed))
const qmId = Result.getOrThrow(PeerId.fromString(qm))
const edHex = "0024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
const onion = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd"

/** Text and binary form. The first part is of the tests of go-multiaddr. */
const vectors: ReadonlyArray<readonly [string, string]> = [
  ["/ip4/1.2.3.4", "0401020304"],
  ["/ip4/0.0.0.0", "0400000000"],
  ["/ip6/::1", "2900000000000000000000000000000001"],
  ["/ip6/2601:9:4f81:9700:803e:ca65:66e8:c21", "29260100094f819700803eca6566e80c21"],
  ["/ip6/::ffff:127.0.0.1/tcp/111", "2900000000000000000000ffff7f00000106006f"],
  ["/ip6zone/x/ip6/fe80::1", "2a017829fe800000000000000000000000000001"],
  ["/ip6zone/x/ip6/fe80::1/udp/1234/quic-v1", "2a017829fe800000000000000000000000000001910204d2cd03"],
  ["/ip4/127.0.0.1/udp/1234", "047f000001910204d2"],
  ["/ip4/127.0.0.1/udp/0", "047f00000191020000"],
  ["/ip4/127.0.0.1/tcp/4321", "047f0000010610e1"],
  ["/ip4/127.0.0.1/udp/1234/ip4/127.0.0.1/tcp/4321", "047f000001910204d2047f0000010610e1"],
  [
    `/ip4/127.0.0.1/p2p/${qm}/tcp/1234`,
    "047f000001a503221220d52ebb89d85b02a284948203a62ff28389c57c9f42beec4ec20db76a6483580c0604d2"
  ],
  [`/onion3/${onion}:1234`, "bd03adadec040be047f9658668b11a504f3155001f231a37f54c4476c07fb4cc139ed7e30304d2"],
  ["/dnsaddr/sjc-1.bootstrap.libp2p.io", "3819736a632d312e626f6f7473747261702e6c69627032702e696f"],
  ["/ip4/127.0.0.1/tcp/127/ws", "047f00000106007fdd03"],
  ["/ip4/127.0.0.1/tcp/127/tls/ws", "047f00000106007fc003dd03"],
  ["/ip4/127.0.0.1/tcp/127/noise", "047f00000106007fc603"],
  ["/ip4/127.0.0.1/ipcidr/16", "047f0000012b10"],
  // Worked out from the table of protocols.
  [`/p2p/${ed}`, `a50326${edHex}`],
  [`/p2p/${ed}/p2p-circuit`, `a50326${edHex}a202`],
  ["/dns4/ipfs.io/tcp/443/wss", "3607697066732e696f0601bbde03"],
  ["/dns6/ipfs.io/udp/443/quic", "3707697066732e696f910201bbcc03"],
  ["/dns/a.b/tcp/1/tls/sni/a.b/ws", "3503612e62060001c003c10303612e62dd03"],
  ["/ip4/1.2.3.4/udp/9/webrtc-direct", "0401020304910200099802"],
  ["/ip4/1.2.3.4/udp/9/quic-v1/webtransport", "040102030491020009cd03d103"],
  ["/ip4/1.2.3.4/tcp/80/http/http-path/a%2Fb", "0401020304060050e003e10303612f62"],
  ["/unix/%2Ftmp%2Fp2p.sock", "90030d2f746d702f7032702e736f636b"],
  ["/memory/1234", "890600000000000004d2"],
  ["/webrtc", "9902"],
  ["/ip4/1.2.3.4/tcp/80/https", "0401020304060050bb03"]
]

describe("Multiaddr", () => {
  it.each(vectors)("%s is %s", (text, binary) => {
    const address = parse(text)
    assert.strictEqual(address.toString(), text)
    assert.strictEqual(Bytes.toHex(address.bytes), binary)
    const again = Result.getOrThrow(Multiaddr.fromBytes(hex(binary)))
    assert.strictEqual(again.toString(), text)
    assert.deepStrictEqual(again.components, address.components)
    // In js-libp2p the value of /memory is text, and that of /http-path starts with a slash; here as in go-multiaddr.
    if (!/memory|http-path/.test(text)) assert.strictEqual(Bytes.toHex(oracle(text).bytes), binary)
  })

  it("splits into components", () => {
    assert.deepStrictEqual(parse("/dns4/ipfs.io/tcp/443/wss").components, [
      { name: "dns4", value: "ipfs.io" },
      { name: "tcp", value: "443" },
      { name: "wss" }
    ])
  })

  it.each([
    ["/ip4/1.2.3.4/tcp/80/", "/ip4/1.2.3.4/tcp/80"],
    ["/ip4/1.2.3.4/tcp/0080", "/ip4/1.2.3.4/tcp/80"],
    ["/ip6/2001:DB8:0:0:0:0:0:1", "/ip6/2001:db8::1"],
    ["/ip6/0:0:1::", "/ip6/0:0:1::"],
    ["/ip6/1:0:0:2:0:0:0:3", "/ip6/1:0:0:2::3"],
    ["/ip6/1:0:2:3:4:5:6:7", "/ip6/1:0:2:3:4:5:6:7"],
    ["/ip6/::", "/ip6/::"],
    ["/ip6/::ffff:102:304", "/ip6/::ffff:1.2.3.4"],
    [`/ipfs/${qm}`, `/p2p/${qm}`],
    [`/p2p/${edId.toCid()}`, `/p2p/${ed}`]
  ])("writes %s as %s", (text, canonical) => {
    assert.strictEqual(parse(text).toString(), canonical)
    assert.isTrue(Multiaddr.equals(parse(text), parse(canonical)))
  })

  it("writes a certificate hash as base64url, whatever base it comes in", () => {
    const text = "/ip4/1.2.3.4/udp/9/quic-v1/webtransport/certhash/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g"
    assert.strictEqual(parse(text).toString(), text)
    assert.strictEqual(Bytes.toHex(parse(text).bytes), Bytes.toHex(oracle(text).bytes))
    const value = parse(text).bytes.slice(-34)
    assert.strictEqual(
      parse(`/ip4/1.2.3.4/udp/9/quic-v1/webtransport/certhash/f${Bytes.toHex(value)}`).toString(),
      text
    )
  })

  const bad: ReadonlyArray<readonly [string, string]> = [
    ["", '"": an address has at least one component'],
    ["/", "/: an address has at least one component"],
    ["//", '//: "" is not a protocol'],
    ["ip4/1.2.3.4", "ip4/1.2.3.4: an address starts with /"],
    ["/ip4/999.1.1.1/tcp/1", '/ip4/999.1.1.1/tcp/1: "999.1.1.1" is not an IPv4 address'],
    ["/ip4", '/ip4: "ip4" needs an IPv4 address after it'],
    ["/ip4/", '/ip4/: "ip4" needs an IPv4 address after it'],
    ["/ip4/::1", '/ip4/::1: "::1" is not an IPv4 address'],
    ["/ip4/1.2.3", '/ip4/1.2.3: "1.2.3" is not an IPv4 address'],
    ["/ip4/01.2.3.4", '/ip4/01.2.3.4: "01.2.3.4" is not an IPv4 address'],
    ["/ip4/1.2.3.4/tcp", '/ip4/1.2.3.4/tcp: "tcp" needs a port (0 to 65535) after it'],
    ["/ip4/1.2.3.4/tcp/65536", '/ip4/1.2.3.4/tcp/65536: "65536" is not a port (0 to 65535)'],
    ["/ip4/1.2.3.4/tcp/-1", '/ip4/1.2.3.4/tcp/-1: "-1" is not a port (0 to 65535)'],
    ["/ip4/1.2.3.4/tcp/+1", '/ip4/1.2.3.4/tcp/+1: "+1" is not a port (0 to 65535)'],
    ["/ip4/1.2.3.4/udp/1/quick", '/ip4/1.2.3.4/udp/1/quick: "quick" is not a protocol'],
    ["/ip4/1.2.3.4/udp/1//quic", '/ip4/1.2.3.4/udp/1//quic: "" is not a protocol'],
    ["/ip4/1.2.3.4/p2p", '/ip4/1.2.3.4/p2p: "p2p" needs a peer id after it'],
    ["/ip4/1.2.3.4/p2p/tcp", '/ip4/1.2.3.4/p2p/tcp: "tcp" is not a peer id'],
    ["/p2p-circuit/50", '/p2p-circuit/50: "50" is not a protocol'],
    ["/toString", '/toString: "toString" is not a protocol'],
    ["/__proto__/1", '/__proto__/1: "__proto__" is not a protocol'],
    ["/dns//tcp/1", '/dns//tcp/1: "" is not a domain name'],
    ["/dns/a b/tcp/1", '/dns/a b/tcp/1: "a b" is not a domain name'],
    ["/ip6zone//ip6/fe80::1", '/ip6zone//ip6/fe80::1: "" is not a zone of an IPv6 address'],
    ["/ip4/::/ipcidr/256", '/ip4/::/ipcidr/256: "::" is not an IPv4 address'],
    ["/ip6/::/ipcidr/256", '/ip6/::/ipcidr/256: "256" is not a prefix length (0 to 255)'],
    ["/unix/%zz", '/unix/%zz: "%zz" is not a percent-encoded path'],
    ["/memory/18446744073709551616", '/memory/18446744073709551616: "18446744073709551616" is not a number of 64 bits'],
    [`/onion3/9${onion.slice(1)}:80`, "is not an onion address"],
    [`/onion3/${onion}:0`, "is not an onion address"],
    [`/onion3/${onion}:65536`, "is not an onion address"],
    [`/onion3/${onion}`, "is not an onion address"],
    ["/certhash/uEiDDq4", "is not a multihash in multibase"],
    ["/certhash/!", "is not a multihash in multibase"]
  ]
  it.each(bad)("refuses %s", (text, message) => {
    assert.include(refused(Multiaddr.fromString(text)), message)
  })

  it.each([
    "1::2::3",
    ":1",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    ":::",
    "12345::",
    "g::",
    "::1.2.3",
    "1.2.3.4::",
    "::1.2.3.4:1",
    "fe80::1%eth0",
    "",
    ":"
  ])("refuses the IPv6 address %s", (text) => {
    assert.include(refused(Multiaddr.fromString(`/ip6/${text}/tcp/1`)), "is not an IPv6 address")
  })

  it("throws for a bad literal in code", () => {
    assert.throws(() => Multiaddr.fromStringUnsafe("/ip5/1"), /"ip5" is not a protocol/)
  })

  it("has bounds", () => {
    assert.strictEqual(parse("/ws".repeat(32)).components.length, 32)
    assert.include(refused(Multiaddr.fromString("/ws".repeat(33))), "limit of 32 components")
    assert.include(refused(Multiaddr.fromBytes(hex("dd03".repeat(33)))), "limit of 32 components")
    assert.include(refused(Multiaddr.fromString(`/dns/${"a".repeat(250)}`.repeat(5))), "limit of 1024")
    assert.include(refused(Multiaddr.fromString(`/dns/${"a".repeat(256)}`)), "is not a domain name")
    assert.include(refused(Multiaddr.fromString("/".repeat(1e6))), "limit of 4096")
    assert.isBelow(refused(Multiaddr.fromString(`/${"x".repeat(4000)}`)).length, 400)
    assert.include(refused(Multiaddr.fromBytes(new Uint8Array(1025))), "1025 bytes, over the limit of 1024")
  })

  it.each([
    ["", "at least one"],
    ["04", "cut short"],
    ["047f0000", "cut short"],
    ["047f00000106", "cut short"],
    ["00", "no protocol has the code 0"],
    ["80", "no code"],
    ["8400", "no code"],
    ["35", "no length"],
    ["3505616263", "cut short"],
    ["35ffffffffffffff0f61", "cut short"],
    ["3500", "is not a domain name"],
    ["3503612f62", "is not a domain name"],
    ["3501ff", "is not a domain name"],
    ["a503021220", "is not a peer id"],
    ["d203021220", "is not a multihash"]
  ])("refuses the bytes %s", (text, why) => {
    assert.include(refused(Multiaddr.fromBytes(hex(text))), why)
  })

  it("joins addresses, and puts a peer at the end or takes it off", () => {
    const tcp = parse("/ip4/1.2.3.4/tcp/1")
    assert.strictEqual(Multiaddr.encapsulate(tcp, parse("/ws")).toString(), "/ip4/1.2.3.4/tcp/1/ws")
    const named = Multiaddr.withPeer(tcp, edId)
    assert.isTrue(Multiaddr.equals(named, parse(`/ip4/1.2.3.4/tcp/1/p2p/${ed}`)))
    assert.deepStrictEqual(named.components, parse(named.toString()).components)
    assert.strictEqual(Multiaddr.withPeer(named, qmId).toString(), `/ip4/1.2.3.4/tcp/1/p2p/${qm}`)
    const bare = Multiaddr.withoutPeer(named) ?? assert.fail("nothing left")
    assert.isTrue(Multiaddr.equals(bare, tcp))
    assert.strictEqual(Multiaddr.withoutPeer(tcp), tcp)
    assert.strictEqual(Multiaddr.withoutPeer(parse(`/p2p/${ed}`)), undefined)
    const circuit = parse(`/ip4/1.2.3.4/tcp/1/p2p/${ed}/p2p-circuit`)
    assert.strictEqual(Multiaddr.withoutPeer(circuit), circuit)
  })

  it("tells the peer it leads to", () => {
    const peerOf = (text: string) => Multiaddr.peerId(parse(text))?.toString()
    assert.strictEqual(peerOf("/ip4/1.2.3.4/tcp/1"), undefined)
    assert.strictEqual(peerOf(`/ip4/1.2.3.4/tcp/1/p2p/${ed}`), ed)
    assert.strictEqual(peerOf(`/ip4/1.2.3.4/tcp/1/p2p/${ed}/p2p-circuit/p2p/${qm}`), qm)
    assert.strictEqual(peerOf(`/ip4/1.2.3.4/tcp/1/p2p/${ed}/p2p-circuit`), undefined)
    assert.strictEqual(peerOf(`/ip4/1.2.3.4/p2p/${ed}/tcp/1`), ed)
    assert.strictEqual(Multiaddr.peerId(Multiaddr.withPeer(parse("/ws"), edId)), edId)
  })

  it.each([
    ["/ip4/1.2.3.4/tcp/80", { host: "1.2.3.4", port: 80, family: 4, transport: "tcp" }],
    ["/ip6/::1/udp/53", { host: "::1", port: 53, family: 6, transport: "udp" }],
    ["/ip6zone/eth0/ip6/fe80::1/tcp/1", { host: "fe80::1%eth0", port: 1, family: 6, transport: "tcp" }],
    [`/ip4/1.2.3.4/tcp/80/p2p/${ed}`, { host: "1.2.3.4", port: 80, family: 4, transport: "tcp" }],
    ["/ip4/1.2.3.4/udp/80/quic-v1", undefined],
    ["/ip4/1.2.3.4/tcp/80/ws", undefined],
    [`/ip4/1.2.3.4/tcp/80/p2p/${ed}/p2p-circuit`, undefined],
    ["/ip6zone/eth0/ip4/1.2.3.4/tcp/1", undefined],
    ["/dns4/a.b/tcp/80", undefined],
    ["/ip4/1.2.3.4", undefined],
    ["/tcp/80", undefined]
  ])("%s has the endpoint %j", (text, endpoint) => {
    assert.deepStrictEqual<unknown>(Multiaddr.toEndpoint(parse(text)), endpoint)
  })

  it("is made of an endpoint", () => {
    const of = (host: string, port: number) => Result.map(Multiaddr.fromEndpoint(host, port, "tcp"), String)
    assert.deepStrictEqual(of("1.2.3.4", 80), Result.succeed("/ip4/1.2.3.4/tcp/80"))
    assert.deepStrictEqual(of("::1", 80), Result.succeed("/ip6/::1/tcp/80"))
    assert.deepStrictEqual(of("fe80::1%eth0", 80), Result.succeed("/ip6zone/eth0/ip6/fe80::1/tcp/80"))
    assert.deepStrictEqual(of("::ffff:1.2.3.4", 80), Result.succeed("/ip4/1.2.3.4/tcp/80"))
    for (const [host, port] of [
      ["localhost", 1],
      ["1.2.3.4/tcp/1", 2],
      ["fe80::1%x/ip6/::1", 1],
      ["", 1],
      ["1.2.3.4", -1],
      ["1.2.3.4", 65_536],
      ["1.2.3.4", 1.5],
      ["fe80::1%", 1],
      ["1.2.3.4%x", 1]
    ] as const) {
      assert.isTrue(Result.isFailure(of(host, port)), `${host} ${port}`)
    }
  })

  it("tells the name to look up", () => {
    assert.deepStrictEqual(Multiaddr.dnsName(parse("/dnsaddr/a.b/p2p/" + ed)), { kind: "dnsaddr", name: "a.b" })
    assert.deepStrictEqual(Multiaddr.dnsName(parse("/dns/a.b/tcp/1")), { kind: "dns", name: "a.b" })
    assert.strictEqual(Multiaddr.dnsName(parse("/ip4/1.2.3.4/tcp/1/tls/sni/a.b/ws")), undefined)
  })

  it.each([
    ["/ip4/127.0.0.1/tcp/1", "loopback"],
    ["/ip4/127.255.0.1/tcp/1", "loopback"],
    ["/ip6/::1/tcp/1", "loopback"],
    ["/ip6/::ffff:127.0.0.1/tcp/1", "loopback"],
    ["/ip4/10.1.1.1", "private"],
    ["/ip4/172.16.0.1", "private"],
    ["/ip4/172.31.255.255", "private"],
    ["/ip4/192.168.0.1", "private"],
    ["/ip4/100.127.0.1", "private"],
    ["/ip4/169.254.0.1", "private"],
    ["/ip6/fd00::1", "private"],
    ["/ip6zone/x/ip6/fe80::1", "private"],
    ["/ip6/::ffff:10.0.0.1", "private"],
    ["/ip4/0.0.0.0/tcp/1", "unspecified"],
    ["/ip6/::/tcp/1", "unspecified"],
    ["/ip4/172.32.0.1", "none"],
    ["/ip4/100.128.0.1", "none"],
    ["/ip4/100.63.0.1", "none"],
    ["/ip4/172.15.0.1", "none"],
    ["/ip4/8.8.8.8", "none"],
    ["/ip4/128.0.0.1", "none"],
    ["/ip6/::2", "none"],
    ["/ip6/2001:db8::1", "none"],
    ["/ip6/fec0::1", "none"],
    ["/dns/localhost/tcp/1", "none"],
    ["/tcp/1/ip4/127.0.0.1", "none"]
  ])("%s is %s", (text, kind) => {
    const address = parse(text)
    assert.strictEqual(Multiaddr.isLoopback(address), kind === "loopback")
    assert.strictEqual(Multiaddr.isPrivate(address), kind === "private")
    assert.strictEqual(Multiaddr.isUnspecified(address), kind === "unspecified")
  })

  it.each([
    ["/ip4/127.0.0.1/tcp/1", "loopback"],
    ["/ip4/0.0.0.0/tcp/1", "loopback"],
    ["/ip6/::ffff:0.0.0.0/tcp/1", "loopback"],
    ["/dns4/localhost/tcp/1", "loopback"],
    ["/dnsaddr/a.LocalHost.", "loopback"],
    ["/unix/%2Frun%2Fx.sock", "loopback"],
    ["/memory/1", "loopback"],
    ["/ip6zone/x/ip6/fe80::1", "private"],
    ["/ip4/8.8.8.8/tcp/1/ws", "public"],
    ["/dns/notlocalhost/tcp/1", "private"],
    ["/dns4/nas/tcp/1", "private"],
    ["/dns4/nas./tcp/1", "private"],
    ["/dns4/printer.LOCAL/tcp/1", "private"],
    ["/dns4/printer.local./tcp/1", "private"],
    ["/dns6/db.cluster.internal/tcp/1", "private"],
    ["/dnsaddr/box.home.arpa", "private"],
    ["/dns/router.lan/tcp/1", "private"],
    ["/dns/localhost.localdomain/tcp/1", "loopback"],
    ["/dns4/10.1.2.3/tcp/1", "private"],
    ["/dns4/127.0.0.1/tcp/1", "loopback"],
    ["/dns4/8.8.8.8/tcp/1", "public"],
    ["/dns6/::1/tcp/1", "loopback"],
    ["/dns4/local.example.com/tcp/1", "public"],
    ["/dns4/notlocal/tcp/1", "private"],
    ["/dns4/example.notlocal/tcp/1", "public"],
    ["/dns4/home.arpa.example.com/tcp/1", "public"],
    ["/dnsaddr/bootstrap.libp2p.io", "public"],
    ["/dns/localhost.example.com/tcp/1", "public"]
  ])("%s reaches: %s", (text, reach) => assert.strictEqual(Multiaddr.reach(parse(text)), reach))

  it("is a key of Effect's collections, prints as its text, has a schema", () => {
    const text = "/ip4/1.2.3.4/tcp/1"
    assert.isTrue(Equal.equals(parse(text), parse(`${text}/`)))
    assert.isFalse(Equal.equals(parse(text), parse("/ip4/1.2.3.4/tcp/2")))
    assert.isTrue(HashSet.has(HashSet.make(parse(text)), parse(text)))
    assert.strictEqual(JSON.stringify([parse(text)]), `["${text}"]`)
    assert.strictEqual(inspect(parse(text)), `Multiaddr(${text})`)
    const decoded = Schema.decodeSync(Multiaddr.FromString)(`${text}/`)
    assert.strictEqual(Schema.encodeSync(Multiaddr.FromString)(decoded), text)
    assert.throws(() => Schema.decodeSync(Multiaddr.FromString)("/ip4/x"), /"x" is not an IPv4 address/)
  })

  it("does not share memory with what it read", () => {
    const bytes = parse("/dns/a.b/tcp/1").bytes.slice()
    const address = Result.getOrThrow(Multiaddr.fromBytes(bytes))
    bytes.fill(0)
    assert.strictEqual(Bytes.toHex(address.bytes), Bytes.toHex(parse("/dns/a.b/tcp/1").bytes))
  })

  const word = Schema.Natural.check(Schema.isLessThan(2 ** 32))
  /** A component from two numbers. Zero runs, so that IPv6 is shortened, are common. */
  const component = ([kind, value]: readonly [number, number]): string => {
    const high = value >>> 16
    const low = value & 0xffff
    const choices = [
      `/ip4/${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`,
      `/ip6/${high.toString(16)}:0:${(low & 1).toString(16)}:0:0:${(high & 1).toString(16)}:0:${low.toString(16)}`,
      `/tcp/${low}`,
      `/udp/${high}`,
      `/dns4/x${value}.example`,
      `/p2p/${value % 2 === 0 ? ed : qm}`,
      "/p2p-circuit",
      "/ws",
      "/quic-v1",
      `/ip6zone/z${low}`,
      `/unix/${encodeURIComponent(`/run/${value}%`)}`
    ]
    return choices[kind % choices.length] ?? ""
  }
  const address = Arbitrary.map(
    Arbitrary.array(Arbitrary.schema(Schema.Tuple([word, word])), { minLength: 1, maxLength: 8 }),
    (parts) => parts.map(component).join("")
  )

  it.prop("goes to bytes and text and back, in the same bytes as js-libp2p", [address], ([text]) => {
    const parsed = parse(text)
    assert.strictEqual(parse(parsed.toString()).toString(), parsed.toString())
    const again = Result.getOrThrow(Multiaddr.fromBytes(parsed.bytes))
    assert.isTrue(Equal.equals(again, parsed))
    assert.strictEqual(again.toString(), parsed.toString())
    assert.strictEqual(Bytes.toHex(parsed.bytes), Bytes.toHex(oracle(text).bytes))
  })

  it.prop(
    "never throws for a damaged address, and what it reads comes back",
    [address, word, word],
    ([text, at, to]) => {
      const bytes = parse(text).bytes
      const damaged = bytes.slice()
      damaged[at % damaged.length] = to & 0xff
      for (const input of [damaged, bytes.subarray(0, at % bytes.length), damaged.subarray(at % bytes.length)]) {
        const read = Multiaddr.fromBytes(input)
        if (Result.isFailure(read)) continue
        assert.isTrue(Equal.equals(parse(read.success.toString()), read.success), read.success.toString())
      }
      const i = at % text.length
      Multiaddr.fromString(text.slice(0, i) + String.fromCharCode(to & 0xffff) + text.slice(i + 1))
    }
  )

  it.prop("never throws for noise", [Schema.Uint8Array, Schema.String, Schema.String], ([bytes, a, b]) => {
    for (const input of [bytes, Bytes.concat([Uint8Array.of(0x35, bytes.length), bytes])]) {
      const read = Multiaddr.fromBytes(input)
      if (Result.isSuccess(read)) assert.isTrue(Equal.equals(parse(read.success.toString()), read.success))
    }
    for (const text of [a, `/${a}/${b}`, `/dns/${a}`, `/unix/${a}`, `/ip6zone/${a}/p2p/${b}`, `/certhash/${a}`]) {
      const read = Multiaddr.fromString(text)
      if (Result.isSuccess(read)) assert.isTrue(Equal.equals(parse(read.success.toString()), read.success), text)
    }
  })
})
