import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import { Manager } from "../../../../src/layers/resources/core/Manager.ts"
import { PlaceTable } from "../../../../src/layers/resources/core/Places.ts"
import { type LimitChanges, resolve } from "../../../../src/layers/resources/Limits.ts"

const machine = { memory: 64 * 1024 ** 3, files: 1_000_000 }
const make = (changes: LimitChanges) => new Manager(Result.getOrThrow(resolve(machine, changes)))
const from = (manager: Manager, address: string, now = 0): string => {
  const result = manager.accept(Multiaddr.fromStringUnsafe(address), now)
  return Result.isSuccess(result) ? "open" : `${result.failure.resource} of ${result.failure.scope}`
}
/** Opens and closes at once; how many of `times` were taken. */
const knock = (manager: Manager, address: string, times: number, now: number): number => {
  let taken = 0
  for (let i = 0; i < times; i++) {
    const result = manager.accept(Multiaddr.fromStringUnsafe(address), now)
    if (Result.isFailure(result)) continue
    taken++
    result.success.release()
  }
  return taken
}

describe("inbound connections by where they come from", () => {
  it("bounds those that are open or unfinished, by address and by subnet", () => {
    const manager = make({ address: { connections: 2 }, subnet: { pending: 3 } })
    assert.strictEqual(from(manager, "/ip4/192.0.2.1/tcp/1"), "open")
    assert.strictEqual(from(manager, "/ip4/192.0.2.1/tcp/2"), "open")
    assert.strictEqual(from(manager, "/ip4/192.0.2.1/tcp/3"), "inbound connections of address 192.0.2.1")
    assert.strictEqual(from(manager, "/ip4/192.0.2.2/tcp/1"), "open")
    assert.strictEqual(from(manager, "/ip4/192.0.2.3/tcp/1"), "unfinished inbound connections of subnet 192.0.2.0/24")
    assert.strictEqual(from(manager, "/ip4/192.0.3.3/tcp/1"), "open")
  })

  it("takes a /64 of IPv6 for one address, a /48 for a subnet, and a mapped address for what it maps", () => {
    const manager = make({ address: { connections: 1 }, subnet: { connections: 2 } })
    assert.strictEqual(from(manager, "/ip6/2001:db8:1:2::1/tcp/1"), "open")
    assert.strictEqual(
      from(manager, "/ip6/2001:db8:1:2:ffff::9/tcp/1"),
      "inbound connections of address 2001:db8:1:2::/64"
    )
    assert.strictEqual(from(manager, "/ip6/2001:db8:1:3::1/tcp/1"), "open")
    assert.strictEqual(from(manager, "/ip6/2001:db8:1:4::1/tcp/1"), "inbound connections of subnet 2001:db8:1::/48")
    assert.strictEqual(from(manager, "/ip4/192.0.2.1/tcp/1"), "open")
    assert.strictEqual(from(manager, "/ip6/::ffff:192.0.2.1/tcp/1"), "inbound connections of address 192.0.2.1")
  })

  it("lets a burst in, then as many as the rate allows", () => {
    const manager = make({ address: { burst: 5, ratePerSecond: 2 } })
    const home = "/ip4/192.0.2.1/tcp/1"
    assert.strictEqual(knock(manager, home, 20, 1000), 5)
    assert.strictEqual(from(manager, home, 1000), "inbound connections a second of address 192.0.2.1")
    assert.strictEqual(knock(manager, home, 20, 1400), 0)
    assert.strictEqual(knock(manager, home, 20, 1500), 1)
    assert.strictEqual(knock(manager, home, 20, 3000), 3)
    assert.strictEqual(knock(manager, home, 20, 60_000), 5)
    // A clock that is set back gives nothing.
    assert.strictEqual(knock(manager, home, 20, 10_000), 0)
  })

  it("leaves exempt networks, relayed connections and those without IP alone", () => {
    const manager = make({ address: { connections: 0 } })
    for (const free of ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/memory/7", `/ip4/192.0.2.1/tcp/1/p2p-circuit`]) {
      assert.strictEqual(from(manager, free), "open")
    }
    assert.strictEqual(from(manager, "/ip4/192.0.2.1/tcp/1"), "inbound connections of address 192.0.2.1")
    const office = make({ address: { connections: 0 }, exempt: ["192.0.2.0/25"] })
    assert.strictEqual(from(office, "/ip4/192.0.2.1/tcp/1"), "open")
    assert.strictEqual(from(office, "/ip4/192.0.2.129/tcp/1"), "inbound connections of address 192.0.2.129")
    assert.strictEqual(from(office, "/ip4/127.0.0.1/tcp/1"), "inbound connections of address 127.0.0.1")
  })

  it("remembers only so many that are gone, the latest, and forgets them once their buckets are full", () => {
    const table = new PlaceTable("address", { connections: 8, pending: 8, ratePerSecond: 2, burst: 4 }, 100)
    const visit = (key: string, now: number) => {
      const place = table.find(key, now)
      if (place.refuse(now) === undefined) {
        table.take(place)
        place.pending.give(1)
        return () => table.give(place, now)
      }
      table.settle(place, now)
      return () => {}
    }
    const stays = Array.from({ length: 50 }, (_, i) => visit(`open ${i}`, 0))
    for (let i = 0; i < 5000; i++) visit(`gone ${i}`, 0)()
    assert.strictEqual(table.size, 150)
    assert.strictEqual(table.ended.open.peak, 1)
    // Those that were forgotten come as new; those that were not are still counted.
    visit("gone 4999", 0)()
    assert.strictEqual(table.find("gone 4999", 0).rate.used, 2)
    assert.strictEqual(table.find("gone 3", 0).rate.used, 0)
    visit("open 7", 0)
    for (const leave of stays) leave()
    assert.strictEqual(table.size, 101)
    table.sweep(499)
    assert.strictEqual(table.size, 101)
    // The one that came twice needs a second, and those that cool after it wait for it; one is open.
    table.sweep(1000)
    assert.strictEqual(table.size, 1)
    assert.deepStrictEqual(
      [...table.places()].map(({ key }) => key),
      ["open 7"]
    )
  })

  it("keeps what it refused when it forgets who was refused", () => {
    const manager = make({ address: { burst: 1 } })
    for (let i = 0; i < 100; i++) assert.strictEqual(knock(manager, `/ip4/198.51.${i}.1/tcp/1`, 3, 0), 1)
    const refused = manager
      .usage(60_000)
      .find(({ resource, scope }) => scope === "address (ended)" && resource === "inbound connections a second")
    assert.strictEqual(refused?.refused, 200)
    assert.strictEqual(manager.scopeCount(60_000), 2)
  })
})
