import { assert, describe, it } from "@effect/vitest"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import * as Diversity from "../../../../src/layers/kad/core/Diversity.ts"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import * as Query from "../../../../src/layers/kad/core/Query.ts"
import * as RoutingTable from "../../../../src/layers/kad/core/RoutingTable.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { run } from "./lookup.ts"
import { chance, contact, contactAt, contacts, texts, trueClosest } from "./model.ts"

const facts = { groups: [], useful: true }
const minute = 60_000

/** Contacts by chance of one bucket. */
const inBucket = (own: Key.Key, shared: number, count: number, prng: Prng) =>
  Array.from({ length: count }, () => contactAt(Key.inBucket(own, shared, chance(prng))))

const setting = (seed: string, options: RoutingTable.Options = {}) => {
  const prng = new Prng(`table ${seed}`)
  const self = Key.random(chance(prng))
  return { prng, self, table: new RoutingTable.RoutingTable(self, options) }
}

const members = (table: RoutingTable.RoutingTable, now = 0) =>
  table.snapshot(now).buckets.flatMap(({ peers }) => peers.map(({ contact }) => contact))

describe("RoutingTable", () => {
  it("keeps what its buckets say under any course of events", () => {
    for (let seed = 0; seed < 8; seed++) {
      const { prng, self, table } = setting(`course ${seed}`, { k: 4, maxReplacements: 3, uselessAfterMs: 30 * minute })
      const all = contacts(prng, 300)
      const present = new Map<string, Key.Contact>()
      const apply = ({ added, removed }: RoutingTable.Change) => {
        for (const one of removed) assert.isTrue(present.delete(one.key.id), "only who is in leaves")
        for (const one of added) {
          assert.isFalse(present.has(one.key.id), "only who is not in comes")
          present.set(one.key.id, one)
        }
      }
      let now = 0
      for (let step = 0; step < 400; step++) {
        now += prng.below(2 * minute)
        const one = prng.pick(all) ?? assert.fail("nobody")
        const dice = prng.below(10)
        if (dice < 6) {
          const before = table.has(one.key)
          const offered = table.offer(one, { ...facts, useful: prng.chance(0.5) }, now)
          assert.strictEqual(offered.outcome === "known", before)
          assert.strictEqual(offered.outcome === "added", !before && table.has(one.key))
          assert.isEmpty(offered.removed, "an offer pushes nobody out")
          apply(offered)
        } else if (dice < 7) apply(table.remove(one, now))
        else if (dice < 8) table.seen(one, now)
        else {
          for (const checked of table.toCheck(now, 3)) {
            apply(table.checked(checked, prng.pick(["useful", "alive", "dead"]), now))
          }
        }
        const { buckets, size } = table.snapshot(now)
        assert.strictEqual(size, present.size)
        for (const { bucket, last, peers, replacements } of buckets) {
          assert.isAtMost(peers.length, 4)
          assert.isAtMost(replacements, 3)
          for (const { contact } of peers) {
            const shared = Key.commonPrefix(self, contact.key)
            assert.isTrue(last ? shared >= bucket : shared === bucket)
          }
        }
      }
      assert.deepStrictEqual(texts(members(table)).toSorted(), texts([...present.values()]).toSorted())
      const target = Key.random(chance(prng))
      const peers = table.snapshot(now).buckets.flatMap(({ peers }) => peers)
      const sure = peers.filter(({ doubtful }) => !doubtful).map(({ contact }) => contact)
      assert.deepStrictEqual(texts(table.nearest(target, 7)), texts(trueClosest(target, sure, 7)))
    }
  })

  it("holds all of its own neighbours, and k of each bucket further away", () => {
    const { prng, self, table } = setting("large")
    const all = contacts(prng, 2_000)
    for (const one of all) table.offer(one, facts, 0)
    for (let shared = 0; shared < 12; shared++) {
      const there = all.filter(({ key }) => Key.commonPrefix(self, key) === shared).length
      const held = members(table).filter(({ key }) => Key.commonPrefix(self, key) === shared).length
      assert.strictEqual(held, Math.min(20, there))
    }
    assert.deepStrictEqual(texts(table.nearest(self)), texts(trueClosest(self, all, 20)))
  })

  it("takes neither itself nor who is slow", () => {
    const { prng, self, table } = setting("refused")
    assert.strictEqual(table.offer(contactAt(self), facts, 0).outcome, "self")
    assert.strictEqual(table.offer(contact(prng), { ...facts, latencyMs: 60_000 }, 0).outcome, "latency")
    assert.strictEqual(table.size, 0)
  })

  it("keeps who answers, and replaces who does not by the one heard of last", () => {
    const { prng, self, table } = setting("replace", { k: 3, maxReplacements: 2 })
    const [a, b, c, d, e, f] = inBucket(self, 0, 6, prng)
    if (!a || !b || !c || !d || !e || !f) assert.fail("too few")
    for (const one of [a, b, c]) assert.strictEqual(table.offer(one, facts, 0).outcome, "added")
    for (const one of [d, e, f]) assert.strictEqual(table.offer(one, facts, minute).outcome, "waiting")
    table.seen(b, 5 * minute)
    assert.deepStrictEqual(texts(table.toCheck(9 * minute, 9)), [])
    assert.deepStrictEqual(texts(table.toCheck(10 * minute, 9)), texts([a, c]))
    assert.deepStrictEqual(table.toCheck(10 * minute, 9), [], "they are being checked")
    assert.deepStrictEqual(table.checked(a, "alive", 10 * minute), { added: [], removed: [] })
    assert.deepStrictEqual(table.checked(c, "dead", 10 * minute), { added: [f], removed: [c] })
    assert.deepStrictEqual(table.remove(b, 10 * minute), { added: [e], removed: [b] })
    assert.deepStrictEqual(table.remove(a, 10 * minute), { added: [], removed: [a] }, "d was pushed out by f")
  })

  it("checks who took a place after a long wait at once, and tells of it only then", () => {
    const { prng, self, table } = setting("doubt", { k: 1 })
    const [a, b] = inBucket(self, 0, 2, prng)
    if (!a || !b) assert.fail("too few")
    const other = contactAt(Key.inBucket(self, 5, chance(prng)))
    for (const one of [a, b, other]) table.offer(one, facts, 0)
    table.seen(other, 5 * minute)
    table.checked(a, "dead", 5 * minute)
    assert.isTrue(table.has(b.key))
    assert.deepStrictEqual(texts(table.nearest(b.key, 9)), texts([other]))
    assert.deepStrictEqual(texts(table.toCheck(5 * minute, 9)), texts([b]))
    table.checked(b, "alive", 5 * minute)
    assert.deepStrictEqual(texts(table.nearest(b.key, 9)), texts([b, other]))
  })

  it("seeks out who comes by itself while there is room, or few wait for it", () => {
    const { prng, self, table } = setting("wants", { k: 2 })
    const [a, b, ...more] = inBucket(self, 0, 7, prng)
    const near = contactAt(Key.inBucket(self, 5, chance(prng)))
    if (!a || !b) assert.fail("too few")
    assert.isFalse(table.wants(self))
    assert.isTrue(table.wants(a.key))
    for (const one of [a, b, near]) table.offer(one, facts, 0)
    for (const one of [a, near]) assert.isFalse(table.wants(one.key), "it is here")
    for (const [waiting, one] of more.entries()) {
      assert.strictEqual(table.wants(one.key), waiting < 3)
      assert.strictEqual(table.offer(one, facts, 0).outcome, "waiting")
    }
    assert.isTrue(table.wants(Key.inBucket(self, 6, chance(prng))), "the last bucket unfolds")
  })

  it("takes the peers of an earlier run, and is due for each part at another time", () => {
    const { prng, self, table } = setting("remembered", { k: 2 })
    const peers = [0, 1, 2, 3].flatMap((bucket) => inBucket(self, bucket, 3, prng))
    const { added, removed } = table.remember(
      peers.map((one) => ({ contact: one, groups: [] })),
      0,
      chance(prng)
    )
    assert.isEmpty(removed)
    assert.strictEqual(added.length, table.size)
    assert.isAtLeast(table.size, 8)
    const due = [0, 2, 4, 6, 8, 10].map((at) => table.due(at * minute).length)
    assert.strictEqual(due[0], 0)
    assert.isAbove(new Set(due).size, 2, due.join())
    assert.isEmpty(table.toCheck(9 * minute, 99))
    assert.strictEqual(table.toCheck(10 * minute, 99).length, table.size)
    assert.strictEqual(setting("nobody").table.due(0).length, 1, "without peers, it is to join")
  })

  it("checks again when nobody reports on a check", () => {
    const { prng, table } = setting("lost")
    const one = contact(prng)
    table.offer(one, facts, 0)
    assert.deepStrictEqual(texts(table.toCheck(10 * minute, 9)), texts([one]))
    assert.isEmpty(table.toCheck(10.9 * minute, 9))
    assert.deepStrictEqual(texts(table.toCheck(11 * minute, 9)), texts([one]))
  })

  it("forgets nobody at once while nobody answers: it may be cut off itself", () => {
    const { prng, self, table } = setting("cut off")
    const all = contacts(prng, 10)
    for (const one of all) table.offer(one, facts, 0)
    const [a, b, ...rest] = all
    if (!a || !b) assert.fail("too few")
    table.seen(b, 9.5 * minute)
    assert.deepStrictEqual(texts(table.checked(a, "dead", 10 * minute).removed), texts([a]), "b was there just now")
    for (const one of rest) assert.isEmpty(table.checked(one, "dead", 12 * minute).removed)
    assert.deepStrictEqual(texts(table.nearest(self)), texts([b]), "who fails is asked last")
    assert.isEmpty(table.checked(b, "dead", 12 * minute).removed)
    assert.strictEqual(table.nearest(self).length, 9, "and only when there is nobody else")
    assert.isEmpty(table.toCheck(12.9 * minute, 99))
    const checked = table.toCheck(13 * minute, 99)
    assert.strictEqual(checked.length, 9)
    const [first, ...others] = checked
    if (!first) assert.fail("nobody")
    assert.isEmpty(table.checked(first, "useful", 13 * minute).removed)
    assert.deepStrictEqual(texts(table.nearest(self)), texts([first]))
    for (const one of others) assert.strictEqual(table.checked(one, "dead", 13.5 * minute).removed.length, 1)
    assert.isEmpty(table.checked(first, "dead", 42 * minute).removed)
    assert.strictEqual(table.checked(first, "dead", 43 * minute).removed.length, 1, "it was too long ago")
    assert.strictEqual(table.size, 0)
  })

  it("lets who is of no use for long give way, but only if another waits", () => {
    const { prng, self, table } = setting("useless", { k: 1 })
    const [a, b] = inBucket(self, 0, 2, prng)
    if (!a || !b) assert.fail("too few")
    table.offer(a, facts, 0)
    table.seen(a, 60 * minute)
    assert.isEmpty(table.toCheck(61 * minute, 9))
    table.offer(b, facts, 61 * minute)
    assert.deepStrictEqual(texts(table.toCheck(61 * minute, 9)), texts([a]))
    assert.isEmpty(table.checked(a, "useful", 61 * minute).removed, "it was of use after all")
    table.seen(a, 121 * minute)
    assert.deepStrictEqual(texts(table.toCheck(122 * minute, 9)), texts([a]))
    assert.deepStrictEqual(texts(table.checked(a, "alive", 122 * minute).added), texts([b]))
  })

  it("takes few of one network, in a bucket and in all; a replacement too", () => {
    const { prng, self, table } = setting("diversity", { k: 2 })
    const groups = ["198.51.0.0/16"]
    const offer = (shared: number) => {
      const [one] = inBucket(self, shared, 1, prng)
      if (!one) assert.fail("nobody")
      return { one, outcome: table.offer(one, { groups, useful: true }, 0).outcome }
    }
    for (let i = 0; i < 9; i++) table.offer(contactAt(Key.inBucket(self, 9, chance(prng))), facts, 0)
    const first = offer(0)
    assert.strictEqual(first.outcome, "added")
    assert.strictEqual(offer(0).outcome, "added")
    assert.strictEqual(offer(0).outcome, "diversity")
    assert.strictEqual(offer(1).outcome, "added")
    assert.strictEqual(offer(2).outcome, "diversity")
    table.remove(first.one, 0)
    assert.strictEqual(offer(2).outcome, "added")
    assert.strictEqual(offer(0).outcome, "diversity")
  })

  it("marks a bucket as refreshed by a lookup that ended and was answered, and by nothing else", () => {
    const { prng, self, table } = setting("refresh")
    const all = contacts(prng, 200)
    for (const one of all) table.offer(one, facts, 0)
    const seeds = table.nearest(self)
    const due = (now: number) => table.due(now).map(({ bucket }) => bucket)
    const last = table.snapshot(0).buckets.length - 1
    assert.isAtLeast(last, 3)
    assert.deepStrictEqual(
      due(0),
      Array.from({ length: last + 1 }, (_, i) => i)
    )
    const lookup = (target: Key.Key, answer: "answers" | "fails" | "stops") =>
      run(
        { target, self, seeds },
        () => ({ afterMs: 10, closer: answer === "fails" ? "fails" : [] }),
        () => answer === "stops"
      ).finished
    const target = Key.inBucket(self, 1, chance(prng))
    assert.isFalse(table.refreshed(lookup(target, "fails"), 0))
    assert.isFalse(table.refreshed(lookup(target, "stops"), 0))
    assert.isUndefined(Query.Finished.of(new Query.Query({ target, self, seeds })))
    assert.include(due(0), 1)
    assert.isTrue(table.refreshed(lookup(target, "answers"), 0))
    assert.notInclude(due(0), 1)
    assert.isTrue(table.refreshed(lookup(self, "answers"), 5 * minute))
    assert.notInclude(due(5 * minute), last)
    assert.notInclude(due(9 * minute), 1)
    assert.include(due(10 * minute), 1)
    assert.isTrue(table.due(0).every(({ bucket, last: isLast }) => isLast === (bucket === last)))
  })
})

describe("Diversity", () => {
  const groups = (...texts: ReadonlyArray<string>) => Diversity.groups(texts.map(Multiaddr.fromStringUnsafe))

  it("names the networks of public addresses", () => {
    assert.deepStrictEqual(groups("/ip4/198.51.100.7/tcp/1", "/ip4/198.51.9.9/udp/1/quic-v1"), ["198.51.0.0/16"])
    assert.deepStrictEqual(groups("/ip6/2001:db8:1::1/tcp/1"), ["2001:db8::/32"])
    assert.deepStrictEqual(groups("/ip6/::ffff:198.51.1.1/tcp/1"), ["198.51.0.0/16"])
  })

  it("leaves out loopback, private, names and the address of a relay", () => {
    assert.isEmpty(
      groups("/ip4/127.0.0.1/tcp/1", "/ip4/10.1.2.3/tcp/1", "/ip6/fc00::1/tcp/1", "/dns4/example.org/tcp/1")
    )
    const relay = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"
    assert.isEmpty(groups(`/ip4/198.51.1.1/tcp/1/p2p/${relay}/p2p-circuit`))
  })
})
