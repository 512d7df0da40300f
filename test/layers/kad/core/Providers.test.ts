import { assert, describe, it } from "@effect/vitest"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import type { PeerId } from "../../../../src/data/PeerId.ts"
import { Providers } from "../../../../src/layers/kad/core/Providers.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { contacts } from "./model.ts"

const hour = 3_600_000
const key = (i: number) => Bytes.fromUtf8(`key ${i}`)
const prng = new Prng("providers")
const peers = contacts(prng, 200).map(({ peer }) => peer)
const peer = (i: number) => peers[i] ?? assert.fail("no such peer")
const address = (i: number) => Multiaddr.fromStringUnsafe(`/ip4/192.0.2.1/tcp/${1 + i}`)
const names = (list: ReadonlyArray<{ readonly peer: PeerId }>) => list.map(({ peer }) => peer.toString())

describe("Providers", () => {
  it("tells of those that provide, the last to tell first", () => {
    const providers = new Providers()
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
    const providers = new Providers()
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

  it("lets one peer fill no more than its share, and push out nobody else", () => {
    const providers = new Providers({ maxKeysOfPeer: 10 })
    providers.add(key(0), peer(0), [], 0)
    for (let i = 0; i < 1_000; i++) providers.add(key(i), peer(1), [], 1)
    assert.deepStrictEqual(providers.held, { keys: 11, records: 11, peers: 2 })
    assert.strictEqual(providers.get(key(0), 2).length, 1)
    assert.strictEqual(providers.get(key(999), 2).length, 1)
  })

  it("keeps where a peer is once, the last that it said, and no more announcements than it may", () => {
    const providers = new Providers({ maxRecords: 5 })
    providers.add(key(1), peer(1), [address(1)], 0)
    providers.add(key(2), peer(1), [address(2)], 1)
    providers.add(key(3), peer(1), [], 2)
    const told = [1, 2, 3].map((i) => providers.get(key(i), 3)[0]?.addresses)
    assert.deepStrictEqual(told, [[address(2)], [address(2)], [address(2)]])
    assert.strictEqual(told[0], told[1])
    for (let i = 0; i < 20; i++) providers.add(key(4), peer(2 + i), [], 4)
    assert.deepStrictEqual(providers.held, { keys: 1, records: 5, peers: 5 })
  })

  it("keeps few addresses that are long", () => {
    const name = Array.from({ length: 4 }, () => "x".repeat(60)).join(".")
    const long = Multiaddr.fromStringUnsafe(`/dns4/${name}/dns4/${name}/dns4/${name}/tcp/4001`)
    const providers = new Providers()
    providers.add(key(1), peer(1), [address(1), ...Array.from({ length: 31 }, () => long)], 0)
    const kept = providers.get(key(1), 1)[0]?.addresses.map(String)
    assert.deepStrictEqual(kept, [address(1), long, long, long, long, long].map(String))
  })

  it("does as a plain list does, within its bounds", () => {
    const limits = {
      maxKeys: 12,
      maxProviders: 4,
      maxKeysOfPeer: 5,
      maxRecords: 25,
      maxAddresses: 2,
      ttlMs: 1_000,
      addressTtlMs: 500
    }
    for (let seed = 0; seed < 8; seed++) {
      const prng = new Prng(`providers ${seed}`)
      const providers = new Providers(limits)
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
          if (model.filter(({ peer }) => peer === one.peer).length >= 5) dropFirst(({ peer }) => peer === one.peer)
          if (model.filter(({ key }) => key === one.key).length >= 4) dropFirst(({ key }) => key === one.key)
          model.push({ ...one, at: now })
          while (model.length > 25 || new Set(model.map(({ key }) => key)).size > 12) model.shift()
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
        const { keys, peers } = providers.held
        assert.isAtMost(keys, 12)
        assert.isAtMost(peers, 10)
      }
    }
  })
})
