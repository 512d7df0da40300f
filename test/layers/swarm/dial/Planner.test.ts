import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import * as Facts from "../../../../src/layers/swarm/dial/Facts.ts"
import * as Planner from "../../../../src/layers/swarm/dial/Planner.ts"
import { BackingOff, DeadlineExceeded, NoTransport } from "../../../../src/services/Swarm.ts"

const relay = "p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"

const candidate = (text: string, how?: { given?: boolean; proven?: boolean }): Planner.Candidate => {
  const address = Multiaddr.fromStringUnsafe(text)
  return {
    key: address.toString(),
    address,
    facts: Facts.of(address),
    given: how?.given ?? false,
    proven: how?.proven ?? false
  }
}

/** What an address does once it is dialled: it fails or succeeds after so long, or says nothing until the deadline. */
type Behaviour =
  | { readonly _tag: "silent" }
  | { readonly _tag: "fails"; readonly afterMs: number }
  | { readonly _tag: "succeeds"; readonly afterMs: number; readonly connectsAfterMs?: number }

const deadlineMs = 10_000
const refused = new NoTransport({})
const expired = new DeadlineExceeded({ stage: "dialing", afterMs: deadlineMs })
const silent: Behaviour = { _tag: "silent" }

interface Run {
  readonly begun: ReadonlyArray<{ readonly key: string; readonly at: number }>
  readonly mostInFlight: number
  readonly endedAt: number
  readonly winner: string | undefined
  readonly planner: Planner.Planner
}

/** Drives a planner in a time of its own. */
const run = (
  candidates: ReadonlyArray<Planner.Candidate>,
  behaviour: (key: string) => Behaviour,
  limits: Planner.Limits = Planner.defaults,
  later: ReadonlyArray<{ readonly at: number; readonly candidate: Planner.Candidate }> = []
): Run => {
  const planner = new Planner.Planner(limits)
  for (const one of candidates) planner.add(one)
  const events: Array<{ readonly at: number; readonly happen: () => string | undefined }> = later.map(
    ({ at, candidate }) => ({
      at,
      happen: () => {
        planner.add(candidate)
        return undefined
      }
    })
  )
  const begun: Array<{ key: string; at: number }> = []
  let now = 0
  let mostInFlight = 0
  const begin = (one: Planner.Candidate) => {
    planner.begin(one, now)
    begun.push({ key: one.key, at: now })
    mostInFlight = Math.max(mostInFlight, planner.inFlight)
    const what = behaviour(one.key)
    if (what._tag === "succeeds") {
      if (what.connectsAfterMs !== undefined) {
        const at = now + what.connectsAfterMs
        events.push({
          at,
          happen: () => {
            planner.connected(one.key, at)
            return undefined
          }
        })
      }
      events.push({ at: now + what.afterMs, happen: () => one.key })
    } else {
      const at = now + (what._tag === "fails" ? what.afterMs : deadlineMs)
      events.push({
        at,
        happen: () => {
          planner.failed(one.key, what._tag === "fails" ? refused : expired)
          return undefined
        }
      })
    }
  }
  for (let steps = 0; steps < 10_000; steps++) {
    const step = planner.next(now)
    if (step._tag === "Begin") {
      begin(step.candidate)
      continue
    }
    if (step._tag === "Done" && events.length === 0) {
      return { begun, mostInFlight, endedAt: now, winner: undefined, planner }
    }
    const next = events.toSorted((a, b) => a.at - b.at)[0]
    const until = step._tag === "Wait" ? step.until : undefined
    if (next === undefined || (until !== undefined && until < next.at)) {
      // It must never wait for nothing.
      assert.isDefined(until)
      assert.isAbove(until ?? now, now)
      now = until ?? now
      continue
    }
    events.splice(events.indexOf(next), 1)
    now = next.at
    const winner = next.happen()
    if (winner !== undefined) return { begun, mostInFlight, endedAt: now, winner, planner }
  }
  throw new Error("the dial does not end")
}

const orderOf = (texts: ReadonlyArray<string>) =>
  run(
    texts.map((text) => candidate(text)),
    () => ({ _tag: "fails", afterMs: 0 })
  ).begun.map(({ key }) => key)

describe("Planner", () => {
  it("ranks by reach, then by what is spoken, and relayed last", () => {
    const best = [
      "/ip4/127.0.0.1/tcp/1",
      "/ip4/192.168.0.1/udp/1/quic-v1",
      "/ip4/192.168.0.1/tcp/1",
      "/ip4/192.0.2.1/udp/1/quic-v1",
      "/ip4/192.0.2.1/udp/1/quic-v1/webtransport",
      "/ip4/192.0.2.1/tcp/1",
      "/dns4/example.org/tcp/443/wss",
      "/ip4/192.0.2.1/udp/1/webrtc-direct",
      `/ip4/10.0.0.1/tcp/1/${relay}/p2p-circuit`,
      `/ip4/192.0.2.9/tcp/1/${relay}/p2p-circuit`
    ]
    assert.deepStrictEqual(orderOf(best.toReversed()), best)
  })

  it("takes IPv6 and IPv4 by turns, IPv6 first, however they were known", () => {
    const [v4a, v4b, v4c] = ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1", "/ip4/192.0.2.3/tcp/1"] as const
    const [v6a, v6b] = ["/ip6/2001:db8::1/tcp/1", "/ip6/2001:db8::2/tcp/1"] as const
    assert.deepStrictEqual(orderOf([v4a, v4b, v4c, v6a, v6b]), [v6a, v4a, v6b, v4b, v4c])
    assert.deepStrictEqual(orderOf([v6b, v6a, v4a]), [v6b, v4a, v6a])
  })

  it("what worked before is first in its class, and no further", () => {
    const known = [
      candidate("/ip6/2001:db8::1/tcp/1"),
      candidate("/ip4/192.0.2.1/tcp/1", { proven: true }),
      candidate("/ip4/192.0.2.2/udp/1/quic-v1"),
      candidate("/ip4/10.0.0.1/tcp/1")
    ]
    assert.deepStrictEqual(
      run(known, () => ({ _tag: "fails", afterMs: 0 })).begun.map(({ key }) => key),
      ["/ip4/10.0.0.1/tcp/1", "/ip4/192.0.2.2/udp/1/quic-v1", "/ip4/192.0.2.1/tcp/1", "/ip6/2001:db8::1/tcp/1"]
    )
  })

  it("an address that is both asked for and known from before is one that worked before", () => {
    const [first, second] = ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"] as const
    const known = [candidate(first), candidate(second, { given: true }), candidate(second, { proven: true })]
    assert.deepStrictEqual(
      run(known, () => ({ _tag: "fails", afterMs: 0 })).begun.map(({ key }) => key),
      [second, first]
    )
  })

  it("an address that is silent costs the next one its delay, and a failure starts the next at once", () => {
    const at = (behaviour: (key: string) => Behaviour) =>
      run(
        ["/ip4/10.0.0.1/tcp/1", "/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"].map((one) => candidate(one)),
        behaviour
      ).begun.map((one) => one.at)
    assert.deepStrictEqual(
      at(() => silent),
      [0, 30, 280]
    )
    assert.deepStrictEqual(
      at(() => ({ _tag: "fails", afterMs: 7 })),
      [0, 7, 14]
    )
    assert.deepStrictEqual(
      at((key) => (key.includes("10.0.0.1") ? silent : { _tag: "fails", afterMs: 100 })),
      [0, 30, 130]
    )
  })

  it("one that is connected is given the delay once more for its handshake, and no longer", () => {
    const [first, second] = ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"] as const
    const second2 = (connectsAfterMs: number, afterMs: number) =>
      run(
        [first, second].map((one) => candidate(one)),
        () => ({ _tag: "succeeds", afterMs, connectsAfterMs })
      ).begun[1]?.at
    assert.isUndefined(second2(150, 399))
    assert.strictEqual(second2(150, 9000), 400)
    assert.strictEqual(second2(249, 9000), 499)
    assert.strictEqual(second2(251, 9000), 250)
  })

  it("however many are connected, the next waits no longer than twice the delay", () => {
    const three = ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1", "/ip4/192.0.2.3/tcp/1"].map((one) => candidate(one))
    const slow: Behaviour = { _tag: "succeeds", afterMs: 9000, connectsAfterMs: 395 }
    assert.deepStrictEqual(
      run(three, () => slow).begun.map(({ at }) => at),
      [0, 250, 750]
    )
  })

  it("relayed addresses wait for the direct ones, for their delay at most", () => {
    const direct = "/ip4/192.0.2.1/tcp/1"
    const relayed = `/ip4/192.0.2.9/tcp/1/${relay}/p2p-circuit`
    const begun = (behaviour: Behaviour) =>
      run(
        [relayed, direct].map((one) => candidate(one)),
        (key) => (key === direct ? behaviour : silent)
      ).begun
    assert.deepStrictEqual(begun(silent), [
      { key: direct, at: 0 },
      { key: relayed, at: 500 }
    ])
    assert.strictEqual(begun({ _tag: "fails", afterMs: 40 })[1]?.at, 40)
    const other = `/ip4/192.0.2.8/tcp/1/${relay}/p2p-circuit`
    assert.deepStrictEqual(
      run(
        [relayed, other].map((one) => candidate(one)),
        () => silent
      ).begun.map(({ at }) => at),
      [0, 250]
    )
    // Another direct one fails: the one that is left is still waited for.
    const two = run(
      [relayed, direct, "/ip4/192.0.2.2/tcp/1"].map((one) => candidate(one)),
      (key) => (key === "/ip4/192.0.2.2/tcp/1" ? { _tag: "fails", afterMs: 10 } : silent)
    )
    assert.deepStrictEqual(
      two.begun.map(({ at }) => at),
      [0, 250, 750]
    )
  })

  it("tries the best of too many, and those that were asked for first of all", () => {
    const many = Array.from({ length: 60 }, (_, i) => candidate(`/ip4/10.0.0.${i}/tcp/1`))
    const asked = candidate("/dns4/example.org/tcp/443/wss", { given: true })
    const ended = run([...many, asked], () => ({ _tag: "fails", afterMs: 0 }))
    assert.lengthOf(ended.begun, 32)
    assert.strictEqual(ended.begun.at(-1)?.key, asked.key)
    assert.lengthOf(ended.planner.attempts(), 32)
  })

  it("what was skipped is told at the end, unless it was asked for after all", () => {
    const planner = new Planner.Planner()
    const [first, second] = [candidate("/ip4/10.0.0.1/tcp/1"), candidate("/ip4/10.0.0.2/tcp/1")]
    const later = new BackingOff({ retryInMs: 1000 })
    for (const one of [first, second]) planner.skip(one.key, one.key, later)
    assert.strictEqual(planner.next(0)._tag, "Done")
    planner.add(first)
    planner.skip(first.key, first.key, later)
    planner.begin(first, 0)
    planner.connected(first.key, 30)
    assert.deepStrictEqual(planner.attemptsAt(2000), [
      { address: first.key, reason: new DeadlineExceeded({ stage: "securing", afterMs: 2000 }) },
      { address: second.key, reason: later }
    ])
    planner.failed(first.key, refused)
    assert.deepStrictEqual(
      planner.attempts().map(({ address }) => address),
      [first.key, second.key]
    )
    for (let i = 0; i < 100; i++) planner.skip(`${i}`, `${i}`, later)
    assert.lengthOf(planner.attempts(), 32)
  })

  it("what ends twice, or was never begun, changes nothing", () => {
    const planner = new Planner.Planner()
    const one = candidate("/ip4/10.0.0.1/tcp/1")
    planner.add(one)
    planner.failed(one.key, refused)
    planner.connected(one.key, 0)
    planner.begin(one, 0)
    planner.failed(one.key, refused)
    planner.failed(one.key, expired)
    assert.strictEqual(planner.inFlight, 0)
    assert.deepStrictEqual(planner.attempts(), [{ address: one.key, reason: refused }])
  })

  // ---- properties: any addresses, doing anything

  const hosts = ["10.0.0.1", "127.0.0.1", "192.0.2.1", "198.51.100.7", "2001:db8::1", "fd00::1", "::1"]
  const ends = ["tcp/1", "tcp/2", "tcp/3", "udp/3/quic-v1", "tcp/4/ws", "tcp/5/ws", `tcp/5/${relay}/p2p-circuit`]
  const addressOf = (word: number): Planner.Candidate => {
    const host = hosts[(word >>> 3) % hosts.length] ?? ""
    const end = ends[(word >>> 12) % ends.length] ?? ""
    return candidate(`/ip${host.includes(":") ? 6 : 4}/${host}/${end}`, {
      given: ((word >>> 17) & 1) === 1,
      proven: ((word >>> 18) & 1) === 1
    })
  }
  const behaviourOf = (word: number): Behaviour =>
    (word >>> 19) % 3 === 0 ? silent : { _tag: "fails", afterMs: (word >>> 20) % 2000 }
  const word = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 31 - 1 }))
  /** Up to 63 numbers, from one. */
  const words = Arbitrary.map(Arbitrary.schema(word), (seed) => {
    let state = seed
    return Array.from({ length: 1 + (seed % 63) }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state >>> 1
    })
  })

  it.prop(
    "every address is tried once, never more at once than allowed, and the dial ends in time",
    [words],
    ([noise]) => {
      const behaviours = new Map<string, Behaviour>()
      const candidates = noise.map((word) => {
        const one = addressOf(word)
        if (!behaviours.has(one.key)) behaviours.set(one.key, behaviourOf(word))
        return one
      })
      const ended = run(candidates, (key) => behaviours.get(key) ?? silent)
      const keys = ended.begun.map(({ key }) => key)
      assert.strictEqual(new Set(keys).size, keys.length)
      assert.strictEqual(keys.length, Math.min(32, behaviours.size))
      assert.deepStrictEqual(
        ended.planner.attempts().map(({ address }) => address),
        keys
      )
      assert.isAtMost(ended.mostInFlight, 8)
      for (const [i, { at }] of ended.begun.entries()) assert.isAtLeast(at, ended.begun[i - 1]?.at ?? 0)
      // Each is begun when the one before has had its delay, and the one eight before it its deadline, at the latest.
      const latest: Array<number> = []
      for (const [i, { at }] of ended.begun.entries()) {
        latest.push(i === 0 ? 0 : Math.max((latest[i - 1] ?? 0) + 500, i < 8 ? 0 : (latest[i - 8] ?? 0) + deadlineMs))
        assert.isAtMost(at, latest[i] ?? 0)
      }
      assert.isAtMost(ended.endedAt, (latest.at(-1) ?? 0) + deadlineMs)
      assert.isAtMost(ended.endedAt, 60_000)
    }
  )

  it.prop("nothing is begun after something worse that was known with it", [words], ([noise]) => {
    const facts = new Map<string, Planner.Candidate>()
    for (const word of noise) {
      const one = addressOf(word)
      if (!facts.has(one.key) && facts.size < 32) facts.set(one.key, one)
    }
    const ended = run([...facts.values()], (key) => behaviourOf(Math.imul(key.length, 0x9e3779b1) >>> 1))
    const ranks = ended.begun.map(({ key }) => {
      const one = facts.get(key)
      return one === undefined ? Number.NaN : 2 * Facts.rank(one.facts) + (one.proven ? 0 : 1)
    })
    assert.deepStrictEqual(
      ranks,
      ranks.toSorted((a, b) => a - b)
    )
  })

  it.prop(
    "one live address among silent ones is begun within the delays of those before it",
    [word, word],
    ([count, place]) => {
      const k = count % 32
      const live = `/ip4/192.0.2.${place % (k + 1)}/tcp/1`
      const candidates = Array.from({ length: k + 1 }, (_, i) => candidate(`/ip4/192.0.2.${i}/tcp/1`))
      const ended = run(candidates, (key) => (key === live ? { _tag: "succeeds", afterMs: 60 } : silent))
      assert.strictEqual(ended.winner, live)
      const before = place % (k + 1)
      // In rounds of eight, each as long as the deadline.
      const expected = Math.floor(before / 8) * deadlineMs + (before % 8) * 250
      assert.strictEqual(ended.begun.at(-1)?.at, expected)
      assert.strictEqual(ended.endedAt, expected + 60)
    }
  )

  it.prop("addresses learnt during the dial are tried too", [words], ([noise]) => {
    const [first, ...rest] = [...new Map(noise.map((word) => [addressOf(word).key, addressOf(word)])).values()].slice(
      0,
      32
    )
    if (first === undefined) return
    const later = rest.map((one, i) => ({ at: (i * 677) % 9000, candidate: one }))
    const ended = run([first], () => silent, Planner.defaults, later)
    assert.deepStrictEqual(
      ended.begun.map(({ key }) => key).toSorted(),
      [first, ...rest].map(({ key }) => key).toSorted()
    )
  })
})
