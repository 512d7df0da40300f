import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Bytes from "../../../../src/data/Bytes.ts"
import { guard, maxBytes } from "../../../../src/layers/mdns/core/Guard.ts"
import * as Known from "../../../../src/layers/mdns/core/Known.ts"
import * as Names from "../../../../src/layers/mdns/core/Names.ts"
import * as Packet from "../../../../src/layers/mdns/core/Packet.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"

const hex = (text: string): Uint8Array => Bytes.fromHex(text.replaceAll(/\s/g, "")) ?? assert.fail("no hexadecimal")
const utf8 = Bytes.fromUtf8

const service = Names.serviceOf()
const response: Packet.Message = {
  kind: "response",
  id: 0,
  questions: [],
  answers: [{ name: service, ttl: 120, flush: false, type: "PTR", target: `abc.${service}` }],
  additionals: [
    { name: `abc.${service}`, ttl: 120, flush: true, type: "TXT", texts: [utf8("dnsaddr=/ip4/1.2.3.4"), utf8("x")] },
    { name: `abc.${service}`, ttl: 120, flush: true, type: "SRV", port: 4001, target: "abc.p2p.local" },
    { name: "abc.p2p.local", ttl: 120, flush: true, type: "A", host: "192.168.0.1" },
    { name: "abc.p2p.local", ttl: 120, flush: true, type: "AAAA", host: "2001:db8::1" }
  ]
}

const detail = (bytes: Uint8Array): string => {
  const read = Packet.decode(bytes)
  return Result.isFailure(read) ? read.failure.detail : "it was read"
}

/** A header, and what follows. */
const packet = (counts: ReadonlyArray<number>, body: string, flags = "8400"): Uint8Array =>
  hex(`0000${flags}${counts.map((count) => count.toString(16).padStart(4, "0")).join("")}${body}`)

const serviceName = "045f703270045f756470056c6f63616c00"

describe("packets of multicast DNS", () => {
  it("are read as they were written", () => {
    assert.deepStrictEqual(Result.getOrThrow(Packet.decode(Packet.encode(response))), response)
    const query: Packet.Message = {
      kind: "query",
      id: 4711,
      questions: [
        { name: service, type: "PTR" },
        { name: Names.meta, type: "PTR" }
      ],
      answers: response.answers,
      additionals: []
    }
    assert.deepStrictEqual(Result.getOrThrow(Packet.decode(Packet.encode(query))), query)
  })

  it("have the form that others read", () => {
    const query = Packet.encode({
      kind: "query",
      questions: [{ name: service, type: "PTR" }],
      answers: [],
      additionals: []
    })
    assert.strictEqual(Bytes.toHex(query), `000000000001000000000000${serviceName}000c0001`)
  })

  it("of others are read: names of any case, pointers, questions for an answer to one alone, types of no use", () => {
    const query = packet([1, 0, 0, 0], "045f503250045f756470054c4f43414c00000c8001", "0000")
    assert.deepStrictEqual(Result.getOrThrow(Packet.decode(query)).questions, [{ name: service, type: "PTR" }])
    assert.deepStrictEqual(Result.getOrThrow(guard(query)).unicast, [true])
    // A PTR to x.<pointer to the first name>, an NSEC of bytes that mean nothing, and a TXT after it.
    const answer = packet(
      [0, 1, 0, 2],
      `${serviceName}000c000100000078 0004 0178c00c` +
        "c027 002f 8001 00000078 0003 ffffff" +
        "c027 0010 8001 00000078 0005 0161 0262 63"
    )
    const { additionals, answers } = Result.getOrThrow(Packet.decode(answer))
    assert.deepStrictEqual(answers, [{ name: service, ttl: 120, flush: false, type: "PTR", target: `x.${service}` }])
    assert.strictEqual(additionals.length, 1)
    assert.deepInclude(additionals[0], { name: `x.${service}`, type: "TXT", flush: true })
  })

  it("that stall the codec are not given to it", () => {
    const stalling = hex(
      "000080000000dd02e90000000161045f703270045f756470056c6f63616c000010005000000000750403783d310161000021000100000000000f0000000000010162056c6f63616c00"
    )
    const began = performance.now()
    for (let i = 0; i < 1000; i++) assert.strictEqual(detail(stalling), "too many records")
    assert.isBelow(performance.now() - began, 1000)
  })

  it("that are cut short, anywhere, are refused or read, and never more than that", () => {
    const whole = Packet.encode(response)
    for (let size = 0; size < whole.length; size++)
      assert.notStrictEqual(detail(whole.subarray(0, size)), "it was read")
  })

  it("whose pointers lead in circles, forward, or through too many others are refused", () => {
    assert.strictEqual(detail(packet([1, 0, 0, 0], "c00c000c0001")), "a question has no name")
    assert.strictEqual(detail(packet([1, 0, 0, 0], "c00e00c00c000c0001")), "a question has no name")
    assert.strictEqual(detail(packet([1, 0, 0, 0], "c000000c0001")), "a question has no name")
    // A record of bytes holds a chain: an empty name at 23, and each pointer after it leads to the one before.
    const chain = Array.from({ length: 40 }, (_, i) => `c0${(i === 0 ? 23 : 22 + 2 * i).toString(16)}`)
    const opaque = `00000a0001000000000051 00 ${chain.join("")}`
    const at = (i: number) => `c0${(24 + 2 * i).toString(16)}`
    const last = (i: number) => packet([0, 2, 0, 0], `${opaque}${at(i)}000a0001000000000000`)
    assert.strictEqual(detail(last(5)), "it was read")
    assert.strictEqual(detail(last(39)), "a record has no name")
  })

  it("of 64 KiB, or one byte too many, are refused before they are looked at", () => {
    assert.strictEqual(detail(new Uint8Array(65_536)), "larger than multicast DNS allows")
    assert.strictEqual(detail(new Uint8Array(maxBytes + 1)), "larger than multicast DNS allows")
  })

  it("with more questions or records than anybody needs are refused", () => {
    assert.strictEqual(detail(packet([65, 0, 0, 0], "")), "too many questions")
    assert.strictEqual(detail(packet([0, 513, 0, 0], "")), "too many records")
    assert.strictEqual(detail(packet([0, 65_535, 65_535, 65_535], "")), "too many records")
  })

  it("whose records are not as their types say are refused", () => {
    for (const record of [
      "0001 0001 00000000 0003 010203",
      "001c 0001 00000000 0004 01020304",
      "000c 0001 00000000 0004 016100 00",
      "0021 0001 00000000 0006 000000000000",
      "0010 0001 00000000 0002 0561",
      "000c 0001 00000000 ffff 00"
    ]) {
      assert.notStrictEqual(detail(packet([0, 1, 0, 0], `00${record}`)), "it was read", record)
    }
  })

  it("of chance are refused or read, in time that is bounded by their size", () => {
    const random = new Prng("packets")
    const whole = Packet.encode(response)
    const began = performance.now()
    for (let i = 0; i < 5000; i++) {
      const bytes = random.chance(0.3)
        ? random.bytes(1 + Math.floor(random.nextDoubleUnsafe() * 300))
        : new Uint8Array(whole)
      for (let flips = 0; flips < 4; flips++) {
        bytes[Math.floor(random.nextDoubleUnsafe() * bytes.length)] = Math.floor(random.nextDoubleUnsafe() * 256)
      }
      const read = Packet.decode(bytes)
      if (Result.isSuccess(read)) assert.isAtMost(read.success.answers.length, 512)
    }
    assert.isBelow(performance.now() - began, 10_000)
  })

  it("that are as heavy as they can be are read in a moment", () => {
    // 512 records whose names are as long as they can be, all by one pointer.
    const label = `3f${"61".repeat(63)}`
    const name = `${label}${label}${label}3c${"61".repeat(60)}00`
    const record = "c00c000c00010000000000 02c00c".replaceAll(" ", "")
    const heavy = packet([1, 511, 0, 0], `${name}000c0001${record.repeat(511)}`)
    assert.isBelow(heavy.length, maxBytes)
    const began = performance.now()
    for (let i = 0; i < 20; i++) assert.strictEqual(detail(heavy), "it was read")
    assert.isBelow(performance.now() - began, 2000)
  })
})

describe("the list of what is known", () => {
  it("is read as it was written, in texts of at most 255 bytes", () => {
    for (const count of [0, 1, 62, 63, 200, 300]) {
      const digests = Array.from({ length: count }, (_, i) => Names.digest(`peer ${i}`))
      const known = Known.make(digests, 1, 0)
      const texts = Known.encode(known)
      assert.isTrue(texts.every(({ length }) => length <= 255))
      assert.deepStrictEqual(Known.decode(texts), { shares: 1, share: 0, digests })
    }
  })

  it("of many is told in shares, in each of which others answer", () => {
    const digests = Array.from({ length: 1000 }, (_, i) => Names.digest(`peer ${i}`))
    const shares = Known.sharesOf(digests.length)
    const lists = Array.from({ length: shares }, (_, share) => Known.make(digests, shares, share))
    for (const known of lists) assert.isAtMost(known.digests.length, 300)
    const stranger = Names.digest("nobody knows it")
    assert.strictEqual(lists.filter((known) => !Known.isUnwanted(known, stranger)).length, 1)
    const told = lists.reduce((sum, known) => sum + known.digests.length, 0)
    assert.strictEqual(told, 1000)
    for (const digest of digests) assert.isTrue(lists.every((known) => Known.isUnwanted(known, digest)))
  })

  it("that is none is not read", () => {
    for (const bytes of ["", "01", "0200010000", "0100000000", "0100010001", "01000100000102"]) {
      assert.isUndefined(Known.decode([hex(bytes)]), bytes)
    }
  })
})

describe("names", () => {
  it("of services are those of the specification, and fit into a label", () => {
    assert.strictEqual(Names.serviceOf(), "_p2p._udp.local")
    assert.strictEqual(Names.serviceOf("chat"), "_p2p-chat._udp.local")
    const fingerprint = "ab".repeat(16)
    assert.strictEqual(Names.serviceOf(undefined, fingerprint), `_p2p-${fingerprint}._udp.local`)
    const both = Names.serviceOf("a".repeat(20), fingerprint)
    assert.isAtMost(both.indexOf("."), 63)
    for (const name of [Names.serviceOf(), Names.serviceOf("chat"), both]) assert.isTrue(Names.isService(name))
    for (const name of ["_p2p", "_p2px._udp.local", "_p2p-._tcp.local", "_http._tcp.local", "x._p2p._udp.local"]) {
      assert.isFalse(Names.isService(name), name)
    }
    for (const name of ["", "A", "a b", "a.b", "-a", "a-", "a".repeat(21), "ä"]) {
      assert.isFalse(Names.isServiceName(name), name)
    }
  })

  it("of peers are of 32 letters and digits, and say nothing", () => {
    const random = new Prng("names")
    const names = Array.from({ length: 100 }, () => Names.peerName(() => random.nextDoubleUnsafe()))
    assert.strictEqual(new Set(names).size, 100)
    for (const name of names) assert.match(name, /^[a-z0-9]{32}$/)
  })
})
