import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import type { Heard } from "../../../../src/layers/mdns/core/Announcement.ts"
import * as Known from "../../../../src/layers/mdns/core/Known.ts"
import * as Names from "../../../../src/layers/mdns/core/Names.ts"
import { type Limits, Table } from "../../../../src/layers/mdns/core/Table.ts"
import { addressOf, peerOf } from "./kit.ts"

const service = Names.serviceOf()
const idOf = (n: number) => peerOf(n).toString()

/** The peer of a number, as it would say that it is there. */
const said = (n: number, more: Partial<Heard> = {}): Heard => ({
  peer: peerOf(n),
  name: `x${n}.${service}`,
  service,
  addresses: [addressOf(n)],
  ttl: 120,
  replaces: false,
  ...more
})

const small = (max: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: max }))

/** Somebody says something, some time later. */
const Step = Schema.Struct({
  kind: Schema.Literals(["hear", "hear", "hear", "goodbye", "look", "unlink"]),
  peer: small(3),
  name: small(3),
  address: small(3),
  link: small(1),
  ttl: small(5),
  replaces: Schema.Boolean,
  laterMs: small(4000)
})

/** What is known, by going through all of it each time. */
class Naive {
  private said: Array<{ peer: number; name: string; text: string; link: string; heardAt: number; endsAt: number }> = []
  private names = new Map<string, number>()

  hear(peer: number, name: string, text: string, link: string, lastsMs: number, replaces: boolean, now: number) {
    const own = `${peer} ${name}`
    this.names.set(own, now + lastsMs)
    const before = this.said.find((one) => one.peer === peer && one.name === name && one.text === text)
    if (before === undefined) this.said.push({ peer, name, text, link, heardAt: now, endsAt: now + lastsMs })
    else Object.assign(before, { link, heardAt: now, endsAt: Math.max(before.endsAt, now + lastsMs) })
    if (!replaces) return
    for (const one of this.said) {
      if (`${one.peer} ${one.name}` !== own || one.link !== link || one.text === text) continue
      if (now - one.heardAt >= 1000) one.endsAt = Math.min(one.endsAt, now + 750)
    }
  }

  goodbye(name: string, now: number) {
    for (const [own, endsAt] of this.names) {
      if (own.endsWith(` ${name}`)) this.names.set(own, Math.min(endsAt, now + 750))
    }
  }

  unlink(link: string) {
    this.said = this.said.filter((one) => one.link !== link)
  }

  pass(now: number) {
    for (const [own, endsAt] of this.names) if (endsAt <= now) this.names.delete(own)
    this.said = this.said.filter(({ endsAt, name, peer }) => endsAt > now && this.names.has(`${peer} ${name}`))
    for (const own of this.names.keys()) {
      // Without an address nobody is there.
      if (!this.said.some(({ peer }) => own.startsWith(`${peer} `))) this.names.delete(own)
    }
  }

  get shown() {
    const texts = Map.groupBy(this.said, ({ peer }) => idOf(peer))
    return [...texts].map(([id, all]) => `${id} ${[...new Set(all.map(({ text }) => text))].toSorted().join()}`)
  }
}

describe("Table", () => {
  it.effect.prop("knows what one knows that goes through all of it each time", [Schema.Array(Step)], ([steps]) =>
    Effect.sync(() => {
      const table = new Table()
      const naive = new Naive()
      let now = 0
      for (const { address, kind, laterMs, link: onLink, name: ofName, peer, replaces, ttl } of steps) {
        const name = `name${ofName}.${service}`
        const at = Multiaddr.fromStringUnsafe(`/ip4/192.168.0.${address}/tcp/1`)
        const link = `eth${onLink}/4`
        if (kind === "hear") {
          const addresses = [at]
          table.hear(said(peer, { name, addresses, ttl: ttl + 1, replaces }), link, "a", now)
          naive.hear(peer, name, at.toString(), link, (ttl + 1) * 1000, replaces, now)
        }
        if (kind === "goodbye") {
          table.leave(name, now)
          naive.goodbye(name, now)
        }
        if (kind === "unlink") {
          table.leaveLink(link)
          naive.unlink(link)
        }
        now += laterMs
        table.pass(now)
        naive.pass(now)
        assert.isAbove(table.nextAt, now)
        const shown = table.all().map((one) => `${one.peer.toString()} ${one.addresses.map(String).toSorted().join()}`)
        assert.deepStrictEqual(shown.toSorted(), naive.shown.toSorted())
      }
    })
  )

  it.effect.prop(
    "looks at as much as was heard, and not at all that is known, however soon it ends",
    [Schema.Array(small(9)).check(Schema.isMinLength(1)), small(20)],
    ([ttls, everyMs]) =>
      Effect.sync(() => {
        const table = new Table({ peers: 1e6, perLink: 1e6, perSource: 1e6 })
        // Many who stay, and a flood of those that end soon.
        const many = 100
        for (let n = 0; n < many; n++) table.hear(said(n, { ttl: 600 }), "eth0/4", "a", 0)
        const flood = 200
        for (let i = 0; i < flood; i++) {
          const now = i * everyMs
          const ttl = 1 + (ttls[i % ttls.length] ?? 0)
          table.hear(said(many + (i % 70), { ttl }), "eth0/4", "b", now)
          table.pass(now)
        }
        const looks = table.looked
        // To be asked for again at most twice within ten seconds, or put off; its end; and those who stay, in their time.
        const asked = Math.ceil((flood * everyMs) / 4000)
        assert.isAtMost(looks, 5 * flood + many * asked)
        table.pass(1e9)
        assert.strictEqual(table.size, 0)
        assert.strictEqual(table.nextAt, Number.POSITIVE_INFINITY)
      })
  )

  it("so many peers have one name, and those who are proven", () => {
    const proven = new Set<string>()
    const table = new Table({}, (id) => proven.has(id))
    const name = `same.${service}`
    for (let n = 1; n <= 1000; n++) table.hear(said(n, { name }), "eth0/4", `host${n}`, 0)
    assert.lengthOf([...table.named(name)], 8)
    assert.strictEqual(table.size, 8)
    assert.isUndefined(table.hear(said(2000, { name }), "eth0/4", "another", 0))
    proven.add(idOf(2000))
    assert.isDefined(table.hear(said(2000, { name }), "eth0/4", "another", 0))
    table.leave(name, 0)
    assert.lengthOf(table.pass(750).changes, 8)
    // With whom there is a connection, that has not left.
    assert.deepStrictEqual(
      table.all().map(({ peer }) => peer.toString()),
      [...proven]
    )
  })

  describe("full of invented peers, of invented hosts", () => {
    const limits: Partial<Limits> = { peers: 100, perLink: 60, perSource: 20, proven: 5 }
    const flood = (table: Table, link: string, from: number) => {
      for (let n = from; n < from + 1000; n++) table.hear(said(n), link, `host${n % 300}`, 0)
    }

    it("whoever is known stays; one link leaves room for the others; all are bounded", () => {
      const table = new Table(limits)
      for (let n = 1; n <= 10; n++) table.hear(said(n), "eth0/4", "a", 0)
      flood(table, "eth0/4", 1000)
      assert.strictEqual(table.size, 60)
      for (let n = 1; n <= 10; n++) assert.isDefined(table.get(idOf(n)))
      assert.isDefined(table.hear(said(11), "eth1/4", "a", 0))
      flood(table, "eth1/4", 3000)
      assert.strictEqual(table.size, 100)
      assert.isUndefined(table.hear(said(12), "eth2/4", "b", 0))
      // Of one who leaves the room is another's.
      table.leave(`x1.${service}`, 0)
      assert.isUndefined(table.hear(said(12), "eth2/4", "b", 0))
      table.pass(750)
      assert.isDefined(table.hear(said(12), "eth2/4", "b", 0))
    })

    it("who is proven is taken in all the same, so many, and makes room when it goes", () => {
      const table = new Table(limits, (id) => proven.has(id))
      const proven = new Set([1, 2, 3, 4, 5, 6].map(idOf))
      flood(table, "eth0/4", 1000)
      for (let n = 1; n <= 5; n++) assert.isDefined(table.hear(said(n), "eth0/4", `host${n}`, 0))
      assert.isUndefined(table.hear(said(6), "eth0/4", "host6", 0))
      assert.strictEqual(table.size, 65)
      table.leave(`x5.${service}`, 0)
      proven.delete(idOf(5))
      table.pass(750)
      assert.isDefined(table.hear(said(6), "eth0/4", "host6", 0))
      // Its host is one in whose name others were invented.
      const host = new Table(limits, (id) => proven.has(id))
      for (let n = 1000; n < 1100; n++) host.hear(said(n), "eth0/4", "host1", 0)
      assert.strictEqual(host.size, 20)
      assert.isDefined(host.hear(said(1), "eth0/4", "host1", 0))
    })
  })

  it("whoever makes up names of a peer, also in the name of its host, takes none away that was known", () => {
    const table = new Table()
    table.hear(said(1), "eth0/4", "192.168.0.1", 0)
    for (let i = 0; i < 100; i++) {
      const lie = said(1, { name: `lie${i}.${service}`, addresses: [addressOf(66)] })
      table.hear(lie, "eth0/4", i % 3 === 0 ? `host${i}` : "192.168.0.1", 0)
    }
    assert.include(table.get(idOf(1))?.addresses.map(String) ?? [], addressOf(1).toString())
  })

  describe("a query", () => {
    const ask = (table: Table, now: number) => table.query(service, "eth0/4", [], now)

    it("has whom it knows, but for those whose name another has, or one with its digest", () => {
      const table = new Table()
      for (let n = 1; n <= 3; n++) table.hear(said(n), "eth0/4", "a", 0)
      const digests = [1, 2, 3].map((n) => Names.digest(said(n).name))
      assert.deepStrictEqual(ask(table, 0).digests, digests)
      table.hear(said(66, { name: said(2).name }), "eth0/4", "liar", 0)
      assert.deepStrictEqual(ask(table, 0).digests, digests.toSpliced(1, 1))
      assert.deepStrictEqual(ask(table, 30_000).digests, [], "they are to say again that they are there")
    })

    it("among very many asks for those who are nearly forgotten: the proven, then those known for longest", () => {
      const table = new Table({ perSource: 4096 }, (id) => id === idOf(3))
      const first = { ttl: 40 }
      for (let n = 1; n <= 3; n++) table.hear(said(n, first), "eth0/4", "a", n)
      for (let n = 1000; n < 3000; n++) table.hear(said(n), "eth0/4", "a", 10_000)
      const isAsked = (known: Known.Known, n: number) => !Known.isUnwanted(known, Names.digest(said(n).name))
      /** One query in four is for the share whose turn it is. */
      const next = () => {
        if (queries++ % 3 === 0) ask(table, 26_000)
        return ask(table, 26_000)
      }
      let queries = 0
      const answer = (n: number) => void table.hear(said(n, { ttl: 600 }), "eth0/4", "a", 26_000)
      const known = next()
      assert.strictEqual(known.shares, 8)
      assert.isTrue(isAsked(known, 3))
      answer(3)
      // Who does not answer is given up in time for others.
      for (let i = 0; i < 3; i++) assert.isTrue(isAsked(next(), 1))
      assert.isTrue(isAsked(next(), 2))
      answer(2)
      assert.isTrue(isAsked(next(), 1))
    })
  })
})
