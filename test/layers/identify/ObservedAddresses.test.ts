import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import { type Observation, ObservedAddresses, refusal } from "../../../src/layers/identify/ObservedAddresses.ts"

const addr = Multiaddr.fromStringUnsafe
const minute = 60_000
const local = addr("/ip4/10.0.0.5/tcp/4001")
const listening = [addr("/ip4/127.0.0.1/tcp/4001"), local]
const mine = addr("/ip4/198.51.100.7/tcp/4001")
const forged = addr("/ip4/203.0.113.66/tcp/4001")

const make = (options?: { readonly maxVotes?: number; readonly maxVotesOfGroup?: number }) =>
  new ObservedAddresses({ minObservers: 4, timeToLiveMs: 30 * minute, ...options })

let connections = 0
/** What the peer `observer` at `host` sees. */
const seen = (observer: string, host: string, change?: Partial<Observation>): Observation => ({
  observer,
  connection: ++connections,
  remote: addr(`/${host.includes(":") ? "ip6" : "ip4"}/${host}/tcp/4001`),
  local,
  observed: mine,
  ...change
})
const texts = (addresses: ReadonlyArray<Multiaddr.Multiaddr>) => addresses.map(String)

describe("what is believed", () => {
  it("an address that four peers in four networks see", () => {
    const table = make()
    for (const [i, host] of ["1.1.0.1", "1.2.0.1", "1.3.0.1"].entries()) {
      assert.isFalse(table.observe(seen(`p${i}`, host), listening, 0))
    }
    assert.deepStrictEqual(table.confirmed(), [])
    assert.deepStrictEqual(table.list(), [{ address: mine, observers: 3, confirmed: false }])
    assert.isTrue(table.observe(seen("p4", "1.4.0.1"), listening, 0))
    assert.deepStrictEqual(table.list(), [{ address: mine, observers: 4, confirmed: true }])
    assert.deepStrictEqual(texts(table.confirmed()), [mine.toString()])
  })

  it("not one that a peer sees again and again, nor many peers of one network", () => {
    const table = make()
    for (let i = 0; i < 100; i++) table.observe(seen("one", `${i + 1}.1.0.1`), listening, i)
    assert.strictEqual(table.size, 1)
    for (let i = 0; i < 250; i++) table.observe(seen(`many ${i}`, `5.5.${i}.1`), listening, i)
    // An IPv6 network is its /32.
    const six = addr("/ip6/2001:db8::5/tcp/4001")
    for (let i = 0; i < 50; i++) {
      table.observe(
        seen(`six ${i}`, `2a00:1:${i + 1}::1`, { local: six, observed: addr("/ip6/2a00:9::9/tcp/4001") }),
        [six],
        i
      )
    }
    assert.deepStrictEqual(table.confirmed(), [])
    assert.isTrue(table.list().every(({ observers }) => observers <= 2))
  })

  it("no longer when its observers see another, or have been gone for long", () => {
    const table = make()
    for (let i = 1; i <= 4; i++) table.observe(seen(`p${i}`, `1.${i}.0.1`, { connection: i }), listening, 0)
    // Connected ones keep it; the time to live begins when they leave.
    assert.isFalse(table.refresh(60 * minute, () => true, listening))
    assert.isFalse(table.refresh(89 * minute, (id) => id === 1, listening))
    assert.lengthOf(table.confirmed(), 1)
    assert.isTrue(table.refresh(91 * minute, (id) => id === 1, listening))
    assert.deepStrictEqual(table.confirmed(), [])
    assert.strictEqual(table.size, 1)

    for (let i = 1; i <= 4; i++) table.observe(seen(`p${i}`, `1.${i}.0.1`), listening, 91 * minute)
    assert.lengthOf(table.confirmed(), 1)
    const moved = addr("/ip4/198.51.100.8/tcp/4001")
    assert.isTrue(table.observe(seen("p1", "1.1.0.1", { observed: moved }), listening, 92 * minute))
    assert.deepStrictEqual(table.confirmed(), [])
    // One that sees this node where it listens has nothing to say, and no longer says what it said.
    table.observe(
      seen("p1", "1.1.0.1", { observed: local, remote: addr("/ip4/10.1.0.9/tcp/1") }),
      listening,
      92 * minute
    )
    assert.notInclude(texts(table.list().map(({ address }) => address)), moved.toString())
  })

  it("no longer when the port is not listened on", () => {
    const table = make()
    for (let i = 1; i <= 4; i++) table.observe(seen(`p${i}`, `1.${i}.0.1`), listening, 0)
    assert.isTrue(table.refresh(1, () => true, [addr("/ip4/10.0.0.5/tcp/4002")]))
    assert.strictEqual(table.size, 0)
  })

  it("with the port that a NAT made of it, and at most three for a port", () => {
    const table = make()
    for (let address = 1; address <= 5; address++) {
      for (let i = 1; i <= 3 + address; i++) {
        const observed = addr(`/ip4/198.51.100.${address}/tcp/${40_000 + address}/p2p/${peer}`)
        table.observe(seen(`${address} ${i}`, `1.${10 * address + i}.0.1`, { observed }), listening, 0)
      }
    }
    assert.deepStrictEqual(texts(table.confirmed()), [
      "/ip4/198.51.100.5/tcp/40005",
      "/ip4/198.51.100.4/tcp/40004",
      "/ip4/198.51.100.3/tcp/40003"
    ])
  })
})

const peer = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"

describe("what is counted", () => {
  const rows: ReadonlyArray<readonly [string, Partial<Observation>]> = [
    ["a loopback address", { observed: addr("/ip4/127.0.0.1/tcp/4001") }],
    ["a private address, by a peer of the world", { observed: addr("/ip4/192.168.1.9/tcp/4001") }],
    ["an address of the world, by a peer of a private network", { remote: addr("/ip4/10.9.0.1/tcp/1") }],
    ["what a peer of this machine sees", { remote: addr("/ip4/127.0.0.1/tcp/1") }],
    ["what a peer without an address sees", { remote: addr("/memory/1") }],
    ["an unspecified address", { observed: addr("/ip4/0.0.0.0/tcp/4001") }],
    ["a multicast address", { observed: addr("/ip4/224.0.0.1/tcp/4001") }],
    ["a broadcast address", { observed: addr("/ip4/255.255.255.255/tcp/4001") }],
    ["port 0", { observed: addr("/ip4/198.51.100.7/tcp/0") }],
    ["another transport", { observed: addr("/ip4/198.51.100.7/udp/4001") }],
    ["more than the transport", { observed: addr("/ip4/198.51.100.7/tcp/4001/ws") }],
    ["another family", { observed: addr("/ip6/2a00:9::9/tcp/4001") }],
    ["a relayed address", { observed: addr(`/ip4/198.51.100.7/tcp/4001/p2p/${peer}/p2p-circuit`) }],
    ["a name", { observed: addr("/dns4/example.com/tcp/4001") }],
    ["a peer id alone", { observed: addr(`/p2p/${peer}`) }],
    [
      "an IPv4 address as NAT64 shows it",
      { local: addr("/ip6/2001:db8::5/tcp/4001"), observed: addr("/ip6/64:ff9b::c633:6407/tcp/4001") }
    ]
  ]
  for (const [what, change] of rows) {
    it(`not ${what}`, () => {
      const table = make()
      const observation = seen("p", "1.1.0.1", change)
      assert.isDefined(refusal(observation))
      assert.isFalse(table.observe(observation, [...listening, addr("/ip6/2001:db8::5/tcp/4001")], 0))
      assert.strictEqual(table.size, 0)
    })
  }

  it("not a connection from a port that nobody listens on: its port cannot be dialled", () => {
    const table = make()
    const observation = seen("p", "1.1.0.1", { local: addr("/ip4/10.0.0.5/tcp/50123") })
    assert.isUndefined(refusal(observation))
    table.observe(observation, listening, 0)
    assert.strictEqual(table.size, 0)
  })

  it("not where this node listens anyway", () => {
    const table = make()
    table.observe(seen("p", "1.1.0.1"), [local, mine], 0)
    assert.strictEqual(table.size, 0)
  })

  it("but a private address that a peer of a private network sees is", () => {
    const table = make()
    const observed = addr("/ip4/10.77.0.1/tcp/4001")
    for (let i = 1; i <= 4; i++) table.observe(seen(`p${i}`, `10.${i}.0.1`, { observed }), listening, 0)
    assert.deepStrictEqual(texts(table.confirmed()), [observed.toString()])
  })
})

describe("a hostile network", () => {
  it("pushes out none of the others, and convinces nobody", () => {
    const table = make({ maxVotes: 64 })
    for (let i = 1; i <= 4; i++) table.observe(seen(`honest ${i}`, `1.${i}.0.1`), listening, 0)
    for (let i = 0; i < 5000; i++) {
      table.observe(seen(`hostile ${i}`, `6.6.${i % 250}.1`, { observed: forged }), listening, i)
    }
    assert.strictEqual(table.size, 8)
    assert.deepStrictEqual(texts(table.confirmed()), [mine.toString()])
    // Nor by an address for each.
    for (let i = 0; i < 5000; i++) {
      const observed = addr(`/ip4/203.0.${i % 250}.${(i >> 8) + 1}/tcp/4001`)
      table.observe(seen(`hostile ${i}`, `6.6.${i % 250}.1`, { observed }), listening, i)
    }
    assert.strictEqual(table.size, 8)
    assert.isAtMost(table.list().length, 5)
    assert.deepStrictEqual(texts(table.confirmed()), [mine.toString()])
  })

  it("keeps the table within its bound, and those who hold most give way", () => {
    const table = make({ maxVotes: 16, maxVotesOfGroup: 4 })
    for (let i = 1; i <= 4; i++) table.observe(seen(`honest ${i}`, `1.${i}.0.1`), listening, 0)
    for (let network = 1; network <= 3; network++) {
      for (let i = 0; i < 10; i++) {
        table.observe(seen(`${network} ${i}`, `6.${network}.0.${i + 1}`, { observed: forged }), listening, 1)
      }
    }
    assert.strictEqual(table.size, 16)
    table.observe(seen("late", "7.7.0.1"), listening, 2)
    assert.strictEqual(table.size, 16)
    assert.strictEqual(table.list()[0]?.observers, 5)
  })
})

describe("properties", () => {
  const step = Schema.Struct({
    observer: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 })),
    network: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 12 })),
    address: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })),
    after: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 * minute })),
    refresh: Schema.Boolean
  })

  it.effect.prop(
    "the table is what its votes make it, within its bounds, and says when that changes",
    [Schema.Array(step)],
    ([steps]) =>
      Effect.sync(() => {
        const table = make({ maxVotes: 24, maxVotesOfGroup: 3 })
        /** The latest vote of each, as it should be if nobody is pushed out. */
        let now = 0
        let believed: ReadonlyArray<string> = []
        for (const { address, after, network, observer, refresh } of steps) {
          now += after
          const changed = refresh
            ? table.refresh(now, (id) => id % 3 === 0, listening)
            : table.observe(
                seen(`p${observer}`, `1.${network}.0.1`, { observed: addr(`/ip4/198.51.100.${address}/tcp/4001`) }),
                listening,
                now
              )
          const list = table.list()
          const believes = texts(table.confirmed())
          if (!changed) assert.deepStrictEqual(believes, believed)
          believed = believes
          assert.isAtMost(table.size, 24)
          assert.isAtMost(believes.length, 3)
          // A peer has one vote, and no candidate is without one.
          assert.isAtMost(
            list.reduce((sum, { observers }) => sum + observers, 0),
            table.size
          )
          assert.isTrue(list.every(({ observers }) => observers > 0))
          assert.isTrue(list.every(({ confirmed, observers }) => !confirmed || observers >= 4))
        }
        table.refresh(now + 31 * minute, () => false, listening)
        assert.strictEqual(table.size, 0)
        assert.deepStrictEqual(table.list(), [])
      }),
    { arbitrary: { seed: 7 } }
  )
})
