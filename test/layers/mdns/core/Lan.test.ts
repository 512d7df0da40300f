import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import * as Announcement from "../../../../src/layers/mdns/core/Announcement.ts"
import { Lan } from "../../../../src/layers/mdns/core/Lan.ts"
import { linksOf } from "../../../../src/layers/mdns/core/Links.ts"
import * as Names from "../../../../src/layers/mdns/core/Names.ts"
import * as Packet from "../../../../src/layers/mdns/core/Packet.ts"
import { addressOf, linkOf, Network, peerOf } from "./kit.ts"

const service = Names.serviceOf()

/** An announcement as the peer of a number would make it, under a name that is given. */
const hello = (n: number, name: string, addresses = [addressOf(n)], of = service, ttl = 120) => {
  const self = { peer: peerOf(n), name, service: of }
  return Packet.encode({
    kind: "response",
    questions: [],
    answers: [{ name: of, ttl, flush: false, type: "PTR", target: `${name}.${of}` }],
    additionals: [
      {
        name: `${name}.${of}`,
        ttl,
        flush: true,
        type: "TXT",
        texts: addresses.map((address) =>
          new TextEncoder().encode(`dnsaddr=${Multiaddr.withPeer(address, self.peer).toString()}`)
        )
      }
    ]
  })
}

describe("Lan", () => {
  it("two find each other at once, and miss each other when one goes", () => {
    const network = new Network("two")
    const [a, b] = [network.add(1), network.add(2)]
    network.run(300)
    assert.isTrue(network.isWhole())
    const found = b.lan.get(peerOf(1).toString())
    assert.deepStrictEqual(found?.addresses.map(String), ["/ip4/192.168.0.1/tcp/4001"])
    assert.deepStrictEqual(found?.services, [service])
    network.leave(a)
    network.run(1000)
    assert.strictEqual(b.lan.size, 0)
    assert.deepStrictEqual(
      b.events.map(({ _tag }) => _tag),
      ["Appeared", "Left"]
    )
  })

  // Each asked for it every four seconds, whoever else did, and each query was answered by those whom the asker had missed.
  it("one that goes without a word does not make all others talk", () => {
    const network = new Network("one silent", 0.1)
    const nodes = Array.from({ length: 30 }, (_, n) => network.add(n + 1))
    network.run(60_000)
    const [gone, ...others] = nodes
    if (gone === undefined) return assert.fail("there is none")
    gone.asleep = true
    const before = network.packets
    network.run(125_000)
    assert.isTrue(
      others.every(({ lan }) => lan.size === 28),
      "who is there is known, and who is gone is not"
    )
    // Eighteen, without it; eight, had nobody gone.
    assert.isBelow((network.packets - before) / others.length, 14)
  })

  it("one that goes without a word is forgotten in two minutes, and is asked for before", () => {
    const network = new Network("silent")
    const [a, b] = [network.add(1), network.add(2)]
    network.run(60_000)
    a.asleep = true
    network.run(100_000)
    assert.strictEqual(b.lan.size, 1)
    network.run(21_000)
    assert.strictEqual(b.lan.size, 0)
  })

  it("one that listens nowhere finds the others and is not found", () => {
    const network = new Network("client")
    const [a, b] = [network.add(1), network.add(2)]
    network.up(a, [])
    network.run(2000)
    assert.strictEqual(a.lan.size, 1)
    assert.strictEqual(b.lan.size, 0)
    network.up(a)
    network.run(500)
    assert.strictEqual(b.lan.size, 1)
  })

  it("thirty with a tenth of packets lost all know all within five seconds, and then are quiet and stay known", () => {
    for (const seed of ["x", "y"]) {
      const network = new Network(seed, 0.1)
      for (let n = 1; n <= 30; n++) network.add(n)
      network.run(5000)
      assert.strictEqual(network.missing(), 0, `seed ${seed}`)
      network.run(30_000)
      const before = network.packets
      const changes = () => network.nodes.reduce((sum, { events }) => sum + events.length, 0)
      const known = changes()
      network.run(150_000)
      assert.isBelow((network.packets - before) / 30 / 150, 0.25, "packets a second of a node")
      assert.strictEqual(changes(), known, "nobody was forgotten and found again")
      assert.isBelow(network.largest, 1432)
    }
  })

  it("two networks that become one know all of both within a minute", () => {
    const network = new Network("merge", 0.1)
    for (let n = 1; n <= 20; n++) network.add(n)
    const chance = network.loses
    network.loses = (from, to) => from % 2 !== to % 2 || chance(from, to)
    network.run(200_000)
    assert.strictEqual(network.missing(), 200)
    network.loses = chance
    network.run(60_000)
    assert.strictEqual(network.missing(), 0)
  })

  it("one that slept for an hour knows all again within five seconds, and they know it", () => {
    const network = new Network("sleep", 0.1)
    for (let n = 1; n <= 8; n++) network.add(n)
    network.run(10_000)
    const [sleeper] = network.nodes
    if (sleeper === undefined) return assert.fail()
    sleeper.asleep = true
    network.run(3_600_000)
    assert.strictEqual(network.nodes[1]?.lan.size, 6)
    sleeper.asleep = false
    network.run(5000)
    assert.strictEqual(network.missing(), 0)
  })

  it("one that starts again under another name, without a word, stays known when its old name is forgotten", () => {
    const network = new Network("again")
    const [a, b] = [network.add(1), network.add(2)]
    network.run(1000)
    network.nodes.splice(network.nodes.indexOf(b), 1)
    network.run(20_000)
    const random = network.random.fork("another start")
    const again = network.add(2, { random: () => random.nextDoubleUnsafe() })
    assert.notStrictEqual(again.lan.name, b.lan.name)
    network.run(5000)
    a.events.splice(0)
    network.run(200_000)
    assert.deepStrictEqual(a.events, [])
  })

  it("two with one name take others", () => {
    const network = new Network("names")
    const same = () => {
      const random = network.random.fork("the same for both")
      return () => random.nextDoubleUnsafe()
    }
    const [a, b] = [network.add(1, { random: same() }), network.add(2, { random: same() })]
    assert.strictEqual(a.lan.name, b.lan.name)
    network.run(500)
    assert.isAbove(a.lan.counters.renamed + b.lan.counters.renamed, 0)
  })

  it("who claims its name again and again makes it change it so often, and no more", () => {
    const network = new Network("rename")
    const a = network.add(1)
    for (let i = 0; i < 100; i++) {
      network.inject(hello(9, a.lan.name))
      network.run(1000)
    }
    assert.strictEqual(a.lan.counters.renamed, 16)
  })

  it("another service is another network", () => {
    const network = new Network("services")
    const chat = Names.serviceOf("chat")
    network.add(1)
    const b = network.add(2, { service: chat })
    network.add(3, { service: chat })
    const watcher = network.add(4, { watches: true })
    network.run(8000)
    assert.deepStrictEqual(
      b.lan.peers.map(({ peer }) => peer.toString()),
      [peerOf(3).toString()]
    )
    const seen = watcher.lan.peers.map(({ peer, services }) => `${peer.toString()} ${services.join()}`)
    assert.deepStrictEqual(
      seen.toSorted(),
      [1, 2, 3].map((n) => `${peerOf(n).toString()} ${n === 1 ? service : chat}`).toSorted()
    )
    assert.isUndefined(b.lan.get(peerOf(4).toString()), "who looks is not seen")
  })

  it("answers by name, for tools: service, details, addresses", () => {
    const network = new Network("tools")
    const a = network.add(1)
    network.run(6000)
    const ask = (name: string, type: string) => {
      const query = Packet.encode({ kind: "query", questions: [{ name, type }], answers: [], additionals: [] })
      a.lan.receive("eth0/4", { host: "192.168.0.77", port: 5353 }, query, network.now)
      network.now += 600
      a.lan.tick(network.now)
      return a.lan.takePackets(0).flatMap(({ bytes }) => {
        const { additionals, answers, kind } = Result.getOrThrow(Packet.decode(bytes))
        return kind === "response" ? [...answers, ...additionals] : []
      })
    }
    assert.deepInclude(ask(Names.meta, "PTR")[0], { type: "PTR", target: service })
    const instance = `${a.lan.name}.${service}`
    const host = `${a.lan.name}.p2p.local`
    assert.deepInclude(
      ask(instance, "SRV").find(({ type }) => type === "SRV"),
      { name: instance, port: 4001, target: host }
    )
    assert.deepInclude(
      ask(host, "A").find(({ type }) => type === "A"),
      { name: host, host: "192.168.0.1" }
    )
    const text = ask(instance.toUpperCase(), "TXT").find((rec) => rec.type === "TXT")
    assert.strictEqual(
      text?.texts.map((bytes) => new TextDecoder().decode(bytes)).join(),
      `dnsaddr=/ip4/192.168.0.1/tcp/4001/p2p/${peerOf(1).toString()}`
    )
  })

  describe("who asks from another port, as dig does,", () => {
    const ask = (name: string, type = "PTR", id = 4711, more: Partial<Packet.Message> = {}) =>
      Packet.encode({ kind: "query", id, questions: [{ name, type }], answers: [], additionals: [], ...more })
    const answered = (network: Network) =>
      network.toOne
        .splice(0)
        .map(({ bytes, host, port }) => ({ host, port, ...Result.getOrThrow(Packet.decode(bytes)) }))

    it("is answered alone: its question and number given back, for a short while, and as a whole", () => {
      const network = new Network("legacy")
      const a = network.add(1)
      network.run(10_000)
      const sent = network.packets
      const instance = `${a.lan.name}.${service}`
      for (const [name, type, target] of [
        [service, "PTR", instance],
        [Names.meta, "PTR", service]
      ] as const) {
        network.inject(ask(name, type), 77, 40_000)
        const [answer, more] = answered(network)
        assert.isUndefined(more)
        assert.deepInclude(answer, { host: "192.168.0.77", port: 40_000, kind: "response", id: 4711 })
        assert.deepStrictEqual(answer?.questions, [{ name, type }])
        assert.deepInclude(answer?.answers[0], { name, type: "PTR", target, ttl: 10, flush: false })
        for (const rec of [...(answer?.answers ?? []), ...(answer?.additionals ?? [])]) {
          assert.deepInclude(rec, { ttl: 10, flush: false })
        }
      }
      network.now += 2000
      network.inject(ask(instance, "TXT"), 77, 40_000)
      const [details] = answered(network)
      const text = details?.answers.find((rec) => rec.type === "TXT")
      assert.include(text?.texts.map((bytes) => new TextDecoder().decode(bytes)).join(), peerOf(1).toString())
      assert.strictEqual(network.packets, sent, "the others are told nothing")
    })

    it("is answered so often, and from the local network; nobody else gets an answer, whoever asks in its name", () => {
      const network = new Network("amplifier")
      network.add(1)
      network.run(10_000)
      for (let i = 0; i < 1000; i++) {
        network.inject(ask(service), 66 + (i % 100), 40_000)
        network.run(10)
      }
      assert.isAtMost(answered(network).length, 5 * 11)
      network.run(1000)
      for (const { lan } of network.nodes) {
        for (const host of ["203.0.113.7", "8.8.8.8", "224.0.0.251", "::ffff:192.168.0.7"]) {
          lan.receive("eth0/4", { host, port: 40_000 }, ask(service), network.now)
        }
        assert.isEmpty(lan.takePackets(network.now))
      }
    })

    it("is not answered what is not asked for in that way: answers, other names, several at once, no type that is written", () => {
      const network = new Network("not answered")
      const a = network.add(1)
      const watcher = network.add(2, { watches: true })
      const silent = network.add(3)
      network.up(silent, [])
      network.run(10_000)
      const key = Names.ofKey(new Uint8Array(34), service)
      a.held.set(key, undefined)
      const twice = { questions: [service, service].map((name) => ({ name, type: "PTR" })) }
      const noType = ask(service)
      noType[noType.length - 3] = 13
      for (const bytes of [
        hello(9, "x"),
        ask("_p2p-chat._udp.local"),
        ask(key),
        ask(service, "A"),
        ask(service, "PTR", 1, twice),
        ask(service, "PTR", 1, { questions: [] }),
        noType
      ]) {
        network.inject(bytes, 77, 40_000)
      }
      network.run(1000)
      assert.isEmpty(answered(network))
      assert.isUndefined(a.lan.get(peerOf(9).toString()))
      assert.strictEqual(watcher.n, 2)
    })
  })

  it("asks for a peer and for a key, and whoever has it answers, each once", () => {
    const network = new Network("probes", 0.1)
    for (let n = 1; n <= 10; n++) network.add(n)
    network.run(6000)
    const [a, b, c] = network.nodes
    if (a === undefined || b === undefined || c === undefined) return assert.fail()
    const key = Names.ofKey(new Uint8Array(34).fill(7), service)
    b.held.set(key, undefined)
    c.held.set(key, undefined)
    a.lan.probe(key, network.now)
    network.run(2000)
    const answers = a.events.flatMap((event) => (event._tag === "Answered" ? [event.peer.peer.toString()] : []))
    assert.deepStrictEqual(answers.toSorted(), [peerOf(2).toString(), peerOf(3).toString()].toSorted())
    const before = network.packets
    a.lan.endProbe(key)
    network.run(1000)
    assert.isBelow(network.packets - before, 20)
  })

  describe("against liars", () => {
    it("ten thousand invented peers find so much room and no more, and make room when they are not heard of again", () => {
      const network = new Network("flood")
      const a = network.add(1, { limits: { peers: 512, perSource: 128, addresses: 16 } })
      const b = network.add(2)
      network.run(1000)
      for (let i = 0; i < 10_000; i++) network.inject(hello(1000 + i, `x${i}`), 100 + (i % 20))
      assert.strictEqual(a.lan.size, 512)
      assert.isDefined(a.lan.get(peerOf(2).toString()), "whoever was there stays")
      assert.isAtMost(b.lan.size, 4096)
      network.run(130_000)
      assert.strictEqual(a.lan.size, 1)
    })

    it("a flood of peers in the name of as many hosts displaces nobody who was known", () => {
      const network = new Network("spoofed", 0.1)
      const honest = [1, 2, 3, 4].map((n) => network.add(n))
      network.run(5000)
      assert.isTrue(network.isWhole())
      for (const { events } of honest) events.splice(0)
      const flood = (seconds: number) => {
        for (let i = 0; i < seconds * 10; i++) {
          const n = 1000 + network.random.below(60_000)
          // Some end soon, so that somebody is to be asked for again at all times.
          network.inject(hello(n, `x${n}`, [addressOf(n)], service, n % 3 === 0 ? 5 : 120), 256 + (n % 50_000))
          network.run(100)
        }
      }
      for (let n = 2000; n < 6000; n++) network.inject(hello(n, `x${n}`, [addressOf(n)], service, 600), n)
      for (const { lan } of honest) assert.isAtLeast(lan.size, 2000)
      flood(200)
      // And those that are said again and again, so that none of them is to be asked for.
      for (let i = 0; i < 2000; i++) {
        const n = 2000 + (i % 2000)
        network.inject(hello(n, `x${n}`, [addressOf(n)], service, 600), n)
        network.run(100)
      }
      assert.isTrue(network.isWhole(honest))
      const known = new Set(honest.map(({ n }) => peerOf(n).toString()))
      for (const { events } of honest) {
        const lost = events.filter((event) => event._tag === "Left" && known.has(event.peer.peer.toString()))
        assert.isEmpty(lost)
      }
    })

    it("a goodbye in the name of another does not make room for an invented peer", () => {
      const network = new Network("goodbye and flood")
      const proven = new Set<string>()
      const [a, b] = [network.add(1, { isProven: (id) => proven.has(id) }), network.add(2)]
      network.run(5000)
      let n = 2000
      const flood = (count: number) => {
        for (let i = 0; i < count; i++, n++) network.inject(hello(n, `x${n}`, [addressOf(n)], service, 600), n)
      }
      flood(4000)
      a.events.splice(0)
      const goodbye = Packet.encode(Announcement.goodbye({ peer: peerOf(2), name: b.lan.name, service }))
      for (let i = 0; i < 10; i++) {
        network.inject(goodbye, 66)
        for (let ms = 0; ms < 1500; ms += 100) {
          flood(3)
          network.run(100)
        }
        assert.isDefined(a.lan.get(peerOf(2).toString()))
      }
      assert.isEmpty(
        a.events.filter((event) => event._tag === "Left"),
        "nobody has left"
      )
      // Nor does one that nobody contradicts, as long as there is a connection.
      proven.add(peerOf(2).toString())
      b.asleep = true
      network.inject(goodbye, 66)
      network.run(2000)
      assert.isDefined(a.lan.get(peerOf(2).toString()))
      proven.clear()
      network.inject(goodbye, 66)
      network.run(2000)
      assert.isUndefined(a.lan.get(peerOf(2).toString()))
    })

    it("who comes when all is full of invented peers is heard once there is a connection with it", () => {
      const network = new Network("full")
      const proven = new Set<string>()
      const a = network.add(1, { isProven: (id) => proven.has(id) })
      for (let n = 2000; n < 6000; n++) network.inject(hello(n, `x${n}`, [addressOf(n)], service, 600), n)
      network.add(2)
      network.run(30_000)
      assert.isUndefined(a.lan.get(peerOf(2).toString()))
      proven.add(peerOf(2).toString())
      network.run(60_000)
      assert.isDefined(a.lan.get(peerOf(2).toString()))
    })

    it("one host tells of so many", () => {
      const network = new Network("one host")
      const a = network.add(1)
      for (let i = 0; i < 1000; i++) network.inject(hello(1000 + i, `x${i}`))
      assert.strictEqual(a.lan.size, 256)
    })

    it("what leads out of the local network is passed over", () => {
      const network = new Network("outside")
      const a = network.add(1)
      const id = peerOf(9).toString()
      const outside = [
        "/ip4/203.0.113.7/tcp/4001",
        "/ip4/10.0.0.1/tcp/4001",
        "/ip4/127.0.0.1/tcp/4001",
        "/ip4/0.0.0.0/tcp/4001",
        "/dns4/example.org/tcp/4001",
        "/ip6/2001:db8::1/tcp/4001",
        `/ip4/192.168.0.9/tcp/4001/p2p/${peerOf(8).toString()}/p2p-circuit`
      ].map(Multiaddr.fromStringUnsafe)
      network.inject(hello(9, "liar", outside))
      assert.isUndefined(a.lan.get(id))
      network.inject(hello(9, "liar", [...outside, addressOf(9)]))
      assert.deepStrictEqual(a.lan.get(id)?.addresses.map(String), ["/ip4/192.168.0.9/tcp/4001"])
    })

    it("whoever speaks for another adds addresses, and takes none away", () => {
      const network = new Network("spoof")
      const [a] = [network.add(1), network.add(2)]
      network.run(1000)
      network.inject(hello(2, "liar", [Multiaddr.fromStringUnsafe("/ip4/192.168.0.66/tcp/1"), addressOf(2)]))
      network.inject(Packet.encode(Announcement.goodbye({ peer: peerOf(2), name: "liar", service })), 66)
      network.run(1000)
      assert.deepStrictEqual(a?.lan.get(peerOf(2).toString())?.addresses.map(String), ["/ip4/192.168.0.2/tcp/4001"])
      const many = Array.from({ length: 12 }, (_, i) => Multiaddr.fromStringUnsafe(`/ip4/192.168.0.66/tcp/${i + 1}`))
      for (const part of [many.slice(0, 6), many.slice(6)]) network.inject(hello(2, `liar${part.length}`, part))
      assert.isAtMost(a?.lan.get(peerOf(2).toString())?.addresses.length ?? 99, 16)
    })

    it("whoever speaks for another under its very name, again and again, does not take its addresses away", () => {
      const network = new Network("very name")
      const [a, b] = [network.add(1), network.add(2)]
      const another = Multiaddr.fromStringUnsafe("/ip4/192.168.0.2/tcp/4002")
      network.up(b, [addressOf(2), another])
      network.run(10_000)
      a.events.splice(0)
      const elsewhere = Multiaddr.fromStringUnsafe("/ip4/192.168.0.66/tcp/1")
      const before = b.lan.counters.sent
      for (let i = 0; i < 40; i++) {
        network.inject(hello(2, b.lan.name, i % 2 === 0 ? [elsewhere] : [another]), 66)
        for (let ms = 0; ms < 10_000; ms += 50) {
          network.run(50)
          const known = a.lan.get(peerOf(2).toString())?.addresses.map(String) ?? []
          assert.includeMembers(known, [addressOf(2).toString(), another.toString()])
        }
      }
      assert.isAtMost(b.lan.counters.sent - before, 100)
    })

    it("whoever speaks for another under many names, or says the same first, takes nothing away either", () => {
      const network = new Network("crowding")
      const [a, b] = [network.add(1), network.add(2)]
      network.run(1000)
      const lies = (of: string) =>
        Array.from({ length: 16 }, (_, i) => Multiaddr.fromStringUnsafe(`/ip4/192.168.0.66/tcp/${of}${10 + i}`))
      const isThere = () =>
        a.lan.get(peerOf(2).toString())?.addresses.map(String).includes("/ip4/192.168.0.2/tcp/4001") ?? false
      for (let i = 1; i < 30; i++) network.inject(hello(2, `liar${i}`, lies(String(i))), 66)
      assert.isTrue(isThere(), "more names than there is room for")
      assert.lengthOf(a.lan.get(peerOf(2).toString())?.addresses ?? [], 16)
      network.leave(b)
      network.run(1000)
      // The peer comes back, and the liar was first.
      network.inject(hello(2, "first", [addressOf(2)]), 66)
      network.inject(hello(2, "second", lies("9")), 66)
      const again = network.add(2)
      network.run(2000)
      assert.isTrue(isThere())
      network.inject(Packet.encode(Announcement.goodbye({ peer: peerOf(2), name: "first", service })), 66)
      network.inject(Packet.encode(Announcement.goodbye({ peer: peerOf(2), name: "second", service })), 66)
      assert.isTrue(isThere(), "the liar takes back what it said")
      assert.strictEqual(again.n, 2)
    })

    it("whoever says goodbye in the name of another is contradicted", () => {
      const network = new Network("goodbye")
      const [a, b] = [network.add(1), network.add(2)]
      network.run(60_000)
      const before = b.lan.counters.sent
      for (let i = 0; i < 10; i++) {
        network.inject(Packet.encode(Announcement.goodbye({ peer: peerOf(2), name: b.lan.name, service })), 66)
        network.run(500)
        assert.isDefined(a.lan.get(peerOf(2).toString()))
      }
      assert.isAtMost(b.lan.counters.sent - before, 20)
    })

    it("whoever answers in the name of others, sooner than they do, does not silence them", () => {
      const network = new Network("answers")
      const [a, b] = [network.add(1), network.add(2)]
      network.run(1000)
      const key = Names.ofRecord(new Uint8Array(34).fill(7), service)
      const [truth, lie] = [1, 2].map((n) => new Uint8Array(10).fill(n))
      b.held.set(key, truth)
      a.lan.probe(key, network.now)
      const self = { peer: peerOf(2), name: b.lan.name, service }
      for (let i = 0; i < 100; i++) {
        const other = new Uint8Array(10).fill(i + 2)
        network.inject(Announcement.answer(self, linkOf(2), [addressOf(2)], key, i === 0 ? lie : other), 66)
      }
      network.run(2000)
      const contents = a.events.flatMap((event) => (event._tag === "Answered" ? [event.content] : []))
      assert.deepStrictEqual(contents, [lie, truth])
    })

    it("answers in the name of as many hosts do not keep out those of a peer that is proven", () => {
      const network = new Network("answers of many hosts")
      const a = network.add(1, { isProven: (id) => id === peerOf(2).toString() })
      const b = network.add(2)
      network.run(1000)
      for (let n = 1000; n < 2500; n++) network.inject(hello(n, `x${n}`), n)
      const key = Names.ofKey(new Uint8Array(34).fill(7), service)
      b.held.set(key, undefined)
      a.lan.probe(key, network.now)
      for (let n = 1000; n < 2500; n++) {
        const self = { peer: peerOf(n), name: `x${n}`, service }
        network.inject(Announcement.answer(self, linkOf(n), [addressOf(n)], key, undefined), n)
      }
      network.run(2000)
      const told = a.events.flatMap((event) => (event._tag === "Answered" ? [event.peer.peer.toString()] : []))
      assert.lengthOf(told, 1025)
      assert.include(told, peerOf(2).toString())
    })

    it("answers in the name of one peer, by as many hosts, are told up to a bound", () => {
      const network = new Network("answers of one")
      const [a, b] = [network.add(1), network.add(2)]
      network.run(1000)
      const key = Names.ofRecord(new Uint8Array(34).fill(7), service)
      a.lan.probe(key, network.now)
      const self = { peer: peerOf(2), name: b.lan.name, service }
      for (let n = 1; n < 100; n++) {
        network.inject(Announcement.answer(self, linkOf(2), [addressOf(2)], key, Uint8Array.of(n)), 1000 + n)
      }
      assert.lengthOf(
        a.events.filter(({ _tag }) => _tag === "Answered"),
        8
      )
    })

    it("answers without end to a question that stays open are told up to a bound, and one host's leave room", () => {
      const network = new Network("endless")
      const a = network.add(1, { limits: { perSource: 4096 } })
      const key = Names.ofKey(new Uint8Array(34).fill(7), service)
      const told = () => a.events.filter(({ _tag }) => _tag === "Answered").length
      a.lan.probe(key, network.now)
      const lie = (n: number, from: number) => {
        const self = { peer: peerOf(n), name: `x${n}`, service }
        network.inject(hello(n, self.name, [addressOf(n)]), from)
        network.inject(Announcement.answer(self, linkOf(n), [addressOf(n)], key, undefined), from)
      }
      for (let n = 1000; n < 1300; n++) lie(n, 66)
      assert.strictEqual(told(), 256)
      for (let n = 1300; n < 2500; n++) lie(n, 67 + (n % 10))
      assert.strictEqual(told(), 1024)
    })

    it("packets of another port, or of a host that is not on the link, are not looked at", () => {
      const network = new Network("elsewhere")
      const a = network.add(1)
      network.inject(hello(9, "x"), 9, 40_000)
      assert.strictEqual(a.lan.counters.refused, 1)
      a.lan.receive("eth0/4", { host: "203.0.113.7", port: 5353 }, hello(9, "x"), network.now)
      assert.strictEqual(a.lan.size, 0)
    })

    it("queries without end are answered so often and no more", () => {
      const network = new Network("queries")
      const a = network.add(1)
      network.run(20_000)
      const query = Packet.encode({
        kind: "query",
        questions: [
          { name: service, type: "PTR" },
          { name: Names.meta, type: "PTR" },
          { name: Names.ofPeer(peerOf(1).bytes, service), type: "PTR" }
        ],
        answers: [],
        additionals: []
      })
      const before = a.lan.counters.sent
      for (let i = 0; i < 10_000; i++) {
        network.inject(query)
        network.run(1)
      }
      assert.isBelow(a.lan.counters.sent - before, 80)
    })

    it("whoever asks without end and knows everybody keeps nobody from asking", () => {
      const network = new Network("overheard")
      const [a, b] = [network.add(1), network.add(2)]
      network.run(20_000)
      const known = {
        shares: 1,
        share: 0,
        digests: [a, b].map(({ lan }) => Names.digest(`${lan.name}.${service}`))
      }
      const { encode } = Packet
      for (let i = 0; i < 600; i++) {
        network.inject(
          encode({
            kind: "query",
            questions: [{ name: service, type: "PTR" }],
            answers: [
              {
                name: Names.knownOf(service),
                ttl: 120,
                flush: false,
                type: "TXT",
                texts: [
                  new Uint8Array([
                    1,
                    0,
                    1,
                    0,
                    0,
                    ...known.digests.flatMap((d) => [d >>> 24, (d >> 16) & 255, (d >> 8) & 255, d & 255])
                  ])
                ]
              }
            ],
            additionals: []
          })
        )
        network.run(1000)
      }
      assert.strictEqual(network.missing(), 0)
    })
  })

  it("on two links, its addresses on both are known, and those of a link go with it", () => {
    const wires = [1, 2].map((n) => ({ ...linkOf(n), id: `eth${n}/4`, interfaceName: `eth${n}` }))
    const [a, b] = [1, 2].map((n) => new Lan({ peer: peerOf(n), service, random: () => (n === 1 ? 0.5 : 0.25) }))
    if (a === undefined || b === undefined) return assert.fail()
    const own = [addressOf(1), addressOf(2)]
    for (const lan of [a, b]) lan.setLinks(wires, own, 0)
    for (let now = 0; now < 3000; now += 10) {
      for (const [lan, other] of [
        [a, b],
        [b, a]
      ] as const) {
        lan.tick(now)
        for (const { bytes, link } of lan.takePackets(now)) {
          for (const to of [lan, other]) to.receive(link, { host: "192.168.0.7", port: 5353 }, bytes, now)
        }
      }
    }
    const known = () => a.get(peerOf(2).toString())?.addresses.map(String).toSorted()
    assert.deepStrictEqual(known(), own.map(String))
    a.setLinks(wires.slice(0, 1), own, 3000)
    assert.deepStrictEqual(known(), own.slice(0, 1).map(String))
  })

  it("with two links on one wire it does not contradict on one what it says on the other", () => {
    const address = (name: string, host: string, prefixLength: number) => ({
      name,
      host,
      family: host.includes(":") ? (6 as const) : (4 as const),
      internal: false,
      prefixLength
    })
    // What is said on each has an address that is of no use on the other.
    const wires = linksOf(
      [
        address("eth1", "192.168.0.1", 16),
        address("eth1", "2001:db8:1::1", 64),
        address("eth2", "192.168.0.2", 16),
        address("eth2", "2001:db8:2::1", 64)
      ],
      "all"
    ).filter(({ family }) => family === 4)
    assert.lengthOf(wires, 2)
    const lan = new Lan({ peer: peerOf(1), service, random: () => 0.5 })
    const others = [1, 2].map((n) => Multiaddr.fromStringUnsafe(`/ip6/2001:db8:${n}::1/tcp/4001`))
    lan.setLinks(wires, [addressOf(1), addressOf(2), ...others], 0)
    const run = (from: number, until: number) => {
      for (let now = from; now < until; now += 10) {
        lan.tick(now)
        for (const { bytes } of lan.takePackets(now)) {
          for (const { id } of wires) lan.receive(id, { host: "192.168.0.7", port: 5353 }, bytes, now)
        }
      }
    }
    run(0, 60_000)
    const before = lan.counters.sent
    run(60_000, 120_000)
    assert.isAtMost(lan.counters.sent - before, 12)
  })

  it("an interface that goes takes its peers along; one that comes brings them", () => {
    const network = new Network("interface")
    const [a, b] = [network.add(1), network.add(2)]
    network.run(1000)
    a.lan.setLinks([], [], network.now)
    assert.strictEqual(a.lan.size, 0)
    network.run(130_000)
    assert.strictEqual(b.lan.size, 0)
    const link = { ...linkOf(5), id: "eth0/4" }
    a.lan.setLinks([link], [addressOf(5)], network.now)
    network.run(1000)
    assert.deepStrictEqual(b.lan.get(peerOf(1).toString())?.addresses.map(String), ["/ip4/192.168.0.5/tcp/4001"])
    assert.strictEqual(a.lan.size, 1)
  })
})
