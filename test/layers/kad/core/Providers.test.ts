import { assert, describe, it } from "@effect/vitest"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import type { PeerId } from "../../../../src/data/PeerId.ts"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import { Providers, recordsFor } from "../../../../src/layers/kad/core/Providers.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { chance, contacts } from "./model.ts"

const hour = 3_600_000
const key = (i: number) => Bytes.fromUtf8(`key ${i}`)
const prng = new Prng("providers")
const own = Key.random(chance(prng))
const peers = contacts(prng, 200).map(({ peer }) => peer)
const peer = (i: number) => peers[i] ?? assert.fail("no such peer")
const address = (i: number) => Multiaddr.fromStringUnsafe(`/ip4/192.0.2.1/tcp/${1 + i}`)
const names = (list: ReadonlyArray<{ readonly peer: PeerId }>) => list.map(({ peer }) => peer.toString())

describe("Providers", () => {
  it("tells of those that provide, the last to tell first", () => {
    const providers = new Providers(own)
    for (const i of [1, 2, 3]) providers.add(key(1), peer(i), [address(i)], i)
    providers.add(key(2), peer(4), [], 4)
    providers.add(key(1), peer(1), [address(9)], 5)
    assert.deepStrictEqual(names(providers.get(key(1), 6)), names([1, 3, 2].map((i) => ({ peer: peer(i) }))))
    assert.deepStrictEqual(providers.get(key(1), 6, 1), [{ peer: peer(1), addresses: [address(9)] }])
    assert.deepStrictEqual(providers.get(key(3), 6), [])
    providers.remove(key(1), peer(1))
    assert.strictEqual(providers.get(key(1), 6).length, 2)
    assert.deepStrictEqual(providers.held, { keys: 2, records: 3, peers: 3 })
  })

  it("forgets addresses after a day and records after two, unless they are renewed", () => {
    const providers = new Providers(own)
    providers.add(key(1), peer(1), [address(1)], 0)
    assert.strictEqual(providers.get(key(1), 24 * hour - 1)[0]?.addresses.length, 1)
    assert.deepStrictEqual(providers.get(key(1), 24 * hour), [{ peer: peer(1), addresses: [] }])
    assert.strictEqual(providers.get(key(1), 48 * hour - 1).length, 1)
    assert.isEmpty(providers.get(key(1), 48 * hour))
    providers.add(key(1), peer(1), [], 47 * hour)
    assert.deepStrictEqual(providers.get(key(1), 48 * hour), [{ peer: peer(1), addresses: [address(1)] }])
    for (let i = 0; i < 40; i++) providers.add(key(2), peer(2 + i), [], 48 * hour)
    for (let i = 0; i < 9; i++) providers.add(key(3), peer(2), [], 200 * hour)
    assert.deepStrictEqual(providers.held, { keys: 1, records: 1, peers: 1 })
  })

  it("lets one peer fill no more than its share, with what is nearest to this node, and push out nobody else", () => {
    const providers = new Providers(own, { maxKeysOfPeer: 10 })
    providers.add(key(0), peer(0), [], 0)
    for (let i = 0; i < 1_000; i++) providers.add(key(i), peer(1), [], 1)
    assert.strictEqual(providers.held.records, 11)
    assert.deepStrictEqual(names(providers.get(key(0), 2)).slice(-1), names([{ peer: peer(0) }]))
    const shared = (i: number) => Key.commonPrefix(own, Key.fromBytes(key(i)))
    const kept = Array.from({ length: 1_000 }, (_, i) => i).filter((i) =>
      names(providers.get(key(i), 2)).includes(peer(1).toString())
    )
    const nearest = Array.from({ length: 1_000 }, (_, i) => shared(i)).toSorted((x, y) => y - x)
    assert.deepStrictEqual(
      kept.map(shared).toSorted((x, y) => y - x),
      nearest.slice(0, 10)
    )
    assert.isAbove(providers.counts.refused.peer, 900)
  })

  it("loses nothing of those who announce little to many identities of few networks, or of many", () => {
    for (const networks of [1, 50]) {
      const providers = new Providers(own, { maxRecords: 3_000, maxKeys: 1_000, maxKeysOfPeer: 500 })
      for (let i = 0; i < 40; i++) providers.add(key(i), peer(i % 20), [], 0, `home ${i % 20}`)
      for (let i = 0; i < 20_000; i++) {
        const flooder = i % 100
        providers.add(key(1_000 + i), peer(100 + flooder), [], 1, `flood ${flooder % networks}`)
      }
      for (let i = 0; i < 40; i++) assert.lengthOf(providers.get(key(i), 2), 1, `key ${i}`)
      assert.isAtMost(providers.held.keys, 1_000)
      assert.isAbove(providers.counts.refused.group + providers.counts.refused.node + providers.counts.dropped, 10_000)
      // Who comes late is taken, too.
      assert.isUndefined(providers.add(key(99), peer(50), [], 3, "late"))
      assert.lengthOf(providers.get(key(99), 3), 1)
    }
  })

  it("keeps the providers of a key that many of one network would push out", () => {
    const providers = new Providers(own, { maxProviders: 8 })
    for (let i = 0; i < 5; i++) providers.add(key(1), peer(i), [], 0, `home ${i}`)
    for (let i = 0; i < 90; i++) providers.add(key(1), peer(100 + i), [], 1, "flood")
    const told = names(providers.get(key(1), 2))
    assert.lengthOf(told, 8)
    for (let i = 0; i < 5; i++) assert.include(told, peer(i).toString())
  })

  it("keeps where a peer is once, the last that it said, and no more announcements than it may", () => {
    const providers = new Providers(own, { maxRecords: 5, maxRecordsOfGroup: 5 })
    providers.add(key(1), peer(1), [address(1)], 0)
    providers.add(key(2), peer(1), [address(2)], 1)
    providers.add(key(3), peer(1), [], 2)
    const told = [1, 2, 3].map((i) => providers.get(key(i), 3)[0]?.addresses)
    assert.deepStrictEqual(told, [[address(2)], [address(2)], [address(2)]])
    assert.strictEqual(told[0], told[1])
    for (let i = 0; i < 20; i++) providers.add(key(4), peer(2 + i), [], 4)
    assert.strictEqual(providers.held.records, 5)
  })

  it("keeps all addresses while there is room for them, and of those who come later one", () => {
    const providers = new Providers(own, { maxRecords: 100 })
    const name = Array.from({ length: 3 }, () => "x".repeat(60)).join(".")
    const long = Multiaddr.fromStringUnsafe(`/dns4/${name}/tcp/4001`)
    // Four times so much are less than 4 KiB.
    const six = [long, address(1), long, long, long, long]
    const located = (now: number) =>
      Array.from({ length: 8 }, (_, i) => providers.get(key(i), now)[0]?.addresses.length ?? 0)
    for (let i = 0; i < 8; i++) providers.add(key(i), peer(i), six, 0)
    assert.deepStrictEqual(located(1), [6, 6, 6, 6, 1, 1, 1, 1])
    assert.deepStrictEqual(providers.get(key(7), 1)[0]?.addresses, [address(1)])
    // One that moves to where it takes less gives room, and so does one that goes.
    providers.add(key(0), peer(0), [address(1)], 2)
    providers.add(key(5), peer(5), six, 2)
    assert.deepStrictEqual(located(3), [1, 6, 6, 6, 1, 6, 1, 1])
    providers.remove(key(1), peer(1))
    providers.add(key(6), peer(6), [long], 4)
    providers.add(key(7), peer(7), six, 4)
    providers.add(key(4), peer(4), [long], 4)
    assert.deepStrictEqual(located(5), [1, 0, 6, 6, 0, 6, 1, 6])
    for (let i = 0; i < 8; i++) providers.remove(key(i), peer(i))
    for (let i = 0; i < 8; i++) providers.add(key(i), peer(i), six, 6)
    assert.deepStrictEqual(located(7), [6, 6, 6, 6, 1, 1, 1, 1])
  })

  it("is to hold what the memory of a machine has room for", () => {
    const MiB = 1024 ** 2
    assert.deepStrictEqual(
      [64, 256, 2048, 65_536].map((size) => recordsFor(size * MiB)),
      [16_384, 26_214, 209_715, 1_000_000]
    )
  })

  it("keeps few addresses that are long", () => {
    const name = Array.from({ length: 4 }, () => "x".repeat(60)).join(".")
    const long = Multiaddr.fromStringUnsafe(`/dns4/${name}/dns4/${name}/dns4/${name}/tcp/4001`)
    const providers = new Providers(own)
    providers.add(key(1), peer(1), [address(1), ...Array.from({ length: 31 }, () => long)], 0)
    const kept = providers.get(key(1), 1)[0]?.addresses.map(String)
    assert.deepStrictEqual(kept, [address(1), long, long, long, long, long].map(String))
  })

  it("does as a plain list does, within its bounds", () => {
    const limits = {
      maxProviders: 4,
      maxAddresses: 2,
      ttlMs: 1_000,
      addressTtlMs: 500
    }
    for (let seed = 0; seed < 8; seed++) {
      const prng = new Prng(`providers ${seed}`)
      const providers = new Providers(own, limits)
      let model: Array<{ key: number; peer: number; at: number }> = []
      /** Of each peer that provides anything: addresses, and when it told of them. */
      const places = new Map<number, { readonly at: number; readonly addresses: number }>()
      const dropFirst = (test: (one: (typeof model)[number]) => boolean) => {
        const at = model.findIndex(test)
        if (at !== -1) model.splice(at, 1)
      }
      let now = 0
      for (let step = 0; step < 200; step++) {
        now += prng.below(20)
        const one = { key: prng.below(20), peer: prng.below(10) }
        const isSame = (that: { key: number; peer: number }) => that.key === one.key && that.peer === one.peer
        const given = prng.below(4)
        model = model.filter(({ at }) => now - at < 1_000)
        if (prng.chance(0.1)) {
          providers.remove(key(one.key), peer(one.peer))
          dropFirst(isSame)
        } else {
          providers.add(
            key(one.key),
            peer(one.peer),
            Array.from({ length: given }, (_, i) => address(i)),
            now
          )
          const before = model.some(({ peer }) => peer === one.peer) ? (places.get(one.peer)?.addresses ?? 0) : 0
          places.set(one.peer, { at: now, addresses: given === 0 ? before : Math.min(2, given) })
          dropFirst(isSame)
          if (model.filter(({ key }) => key === one.key).length >= 4) dropFirst(({ key }) => key === one.key)
          model.push({ ...one, at: now })
        }
        for (const i of [one.key, prng.below(20), prng.below(20)]) {
          const told = providers.get(key(i), now).map(({ addresses, peer }) => [peer.toString(), addresses.length])
          const expected = model
            .filter((that) => that.key === i)
            .toReversed()
            .map((that) => {
              const place = places.get(that.peer)
              return [peer(that.peer).toString(), place !== undefined && now - place.at < 500 ? place.addresses : 0]
            })
          assert.deepStrictEqual(told, expected)
        }
        assert.isAtMost(providers.held.peers, 10)
      }
    }
  })
})
