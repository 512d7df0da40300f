/** Whole cores that seal what they say, beside others that do not. */
import { assert, describe, it } from "@effect/vitest"
import { Beacon } from "../../../../src/layers/mdns/core/Beacon.ts"
import { Sealed } from "../../../../src/layers/mdns/core/Codec.ts"
import * as Names from "../../../../src/layers/mdns/core/Names.ts"
import * as Packet from "../../../../src/layers/mdns/core/Packet.ts"
import { noise } from "../../../support/peers.ts"
import { linkOf, Network, type Node, peerOf } from "./kit.ts"

const keyOf = (n: number) => new Uint8Array(32).fill(n)

/** A frame of Ethernet has so many bytes for a packet of UDP over IPv6. */
const frame = 1500 - 40 - 8

/** The codec of a peer; its wall clock is off by so much. */
const sealed = (n: number, key = 1, options: { readonly alsoPlain?: boolean; readonly skewMs?: number } = {}) => {
  const codec = new Sealed(new Beacon({ key: keyOf(key), seed: noise(32, n) }), options.alsoPlain === true)
  codec.aheadMs = 1_700_000_000_000 + (options.skewMs ?? 0)
  return codec
}

/** Writes down what everybody hears. */
const overhear = (network: Network): Array<Uint8Array> => {
  const heard: Array<Uint8Array> = []
  const ear = network.add(200)
  ear.lan.setLinks([linkOf(200)], [], network.now)
  const receive = ear.lan.receive.bind(ear.lan)
  ear.lan.receive = (link, from, bytes, now) => {
    heard.push(bytes)
    receive(link, from, bytes, now)
  }
  return heard
}

const knows = (node: Node, n: number): boolean => node.lan.get(peerOf(n).toString()) !== undefined

describe("sealed on the local network", () => {
  it("twenty find each other although a tenth of all packets is lost, and clocks are minutes apart", () => {
    const network = new Network("twenty", 0.1)
    for (let n = 1; n <= 20; n++) network.add(n, { codec: sealed(n, 1, { skewMs: (n - 10) * 30_000 }) })
    network.run(6000)
    assert.strictEqual(network.missing(), 0)
    assert.isAtMost(network.largest, frame)
    network.run(2 * 60_000)
    assert.strictEqual(network.missing(), 0)
  })

  it("goes on for hours, while names change", () => {
    const network = new Network("hours", 0.05)
    for (let n = 1; n <= 3; n++) network.add(n, { codec: sealed(n) })
    for (let minutes = 0; minutes < 130; minutes += 10) {
      network.run(10 * 60_000)
      assert.strictEqual(network.missing(), 0, `after ${minutes + 10} min`)
    }
  })

  it("a goodbye is heard by those who have the key", () => {
    const network = new Network("goodbye")
    const [a, b] = [1, 2].map((n) => network.add(n, { codec: sealed(n) }))
    if (a === undefined || b === undefined) return assert.fail()
    network.run(3000)
    assert.isTrue(knows(a, 2))
    network.leave(b)
    network.run(1000)
    assert.isFalse(knows(a, 2))
  })

  it("nobody is answered who asks from another port, as dig does, also where all is said in the clear, too", () => {
    const network = new Network("dig")
    for (const alsoPlain of [false, true]) {
      network.add(alsoPlain ? 1 : 2, { codec: sealed(alsoPlain ? 1 : 2, 1, { alsoPlain }) })
    }
    network.run(3000)
    const questions = [{ name: Names.serviceOf(), type: "PTR" }]
    const query = Packet.encode({ kind: "query", id: 1, questions, answers: [], additionals: [] })
    const sent = network.packets
    network.inject(query, 77, 40_000)
    assert.isEmpty(network.toOne)
    assert.strictEqual(network.packets, sent)
  })

  it("questions for a peer are answered by those who have the key", () => {
    const network = new Network("questions")
    const [a, b] = [1, 2].map((n) => network.add(n, { codec: sealed(n) }))
    if (a === undefined || b === undefined) return assert.fail()
    network.run(1000)
    const question = Names.ofKey(keyOf(3), Names.serviceOf())
    b.held.set(question, undefined)
    a.lan.probe(question, network.now)
    network.run(1000)
    assert.isTrue(a.events.some((event) => event._tag === "Answered" && event.question === question))
  })

  it("without the key, with another, and with the key: each hears its own", () => {
    const network = new Network("three")
    for (const [first, key] of [
      [1, 1],
      [11, 2],
      [21, 0]
    ] as const) {
      for (let n = first; n < first + 3; n++) network.add(n, key === 0 ? {} : { codec: sealed(n, key) })
    }
    network.run(10_000)
    for (const node of network.nodes) {
      const heard = network.nodes.filter(({ n }) => n !== node.n && knows(node, n)).map(({ n }) => Math.floor(n / 10))
      assert.deepStrictEqual(heard, [Math.floor(node.n / 10), Math.floor(node.n / 10)], `node ${node.n}`)
    }
  })

  it("also in the clear: all are heard by all that can be", () => {
    const network = new Network("both")
    const secret = network.add(1, { codec: sealed(1) })
    const both = network.add(2, { codec: sealed(2, 1, { alsoPlain: true }) })
    const open = network.add(3)
    network.run(5000)
    assert.deepStrictEqual([knows(secret, 2), knows(secret, 3)], [true, false])
    assert.deepStrictEqual([knows(both, 1), knows(both, 3)], [true, true])
    assert.deepStrictEqual([knows(open, 1), knows(open, 2)], [false, true])
  })

  it("an eavesdropper hears no name of a peer, no address and no service, and packets of one size", () => {
    const network = new Network("eavesdropper")
    for (let n = 1; n <= 10; n++) network.add(n, { codec: sealed(n) })
    const heard = overhear(network)
    network.run(60_000)
    const ears = network.nodes.filter(({ n }) => n === 200)
    const said = heard.filter((bytes) => bytes.length > 500)
    assert.isAbove(said.length, 30)
    const text = Buffer.concat(said).toString("latin1")
    for (const word of ["p2p", "dnsaddr", "/ip4", "/tcp", "12D3", "192.168", peerOf(3).toString()]) {
      assert.notInclude(text, word)
    }
    assert.lengthOf([...new Set(said.map(({ length }) => length))], 1)
    assert.isEmpty(ears[0]?.lan.peers ?? [1])
  })

  it("what is replayed brings nobody back who has gone", () => {
    const network = new Network("replay")
    const [a, b] = [1, 2].map((n) => network.add(n, { codec: sealed(n) }))
    if (a === undefined || b === undefined) return assert.fail()
    const heard = overhear(network)
    network.run(5000)
    network.leave(b)
    network.run(1000)
    assert.isFalse(knows(a, 2))
    for (const bytes of heard.slice()) network.inject(bytes, 250)
    network.run(1000)
    assert.isFalse(knows(a, 2))
  })
})
