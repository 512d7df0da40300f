import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import type * as Dial from "../../../src/layers/swarm/Dial.ts"
import { Denied } from "../../../src/services/ConnectionGater.ts"
import {
  answers,
  dialOnce,
  elapse,
  given,
  known,
  Network,
  peerOf,
  refuses,
  type Script,
  silent
} from "./dial/Scripted.ts"

const peer = peerOf(1)
const relay = peerOf(9).toString()

const winnerOf = (result: Dial.Succeeded | Dial.Failed): string =>
  result._tag === "Succeeded" ? result.prepared.raw.remoteAddress.toString() : result.reason._tag

const reasonsOf = (result: Dial.Succeeded | Dial.Failed) =>
  result._tag === "Succeeded"
    ? []
    : result.attempts.map(({ address, reason }) => [
        address,
        reason._tag === "DeadlineExceeded" ? `${reason.stage} ${reason.afterMs}` : reason._tag
      ])

const scriptsOf = (texts: ReadonlyArray<string>, script: Script): Record<string, Script> =>
  Object.fromEntries(texts.map((text) => [text, script]))

const publicOf = (n: number) => Array.from({ length: n }, (_, i) => `/ip4/192.0.2.${i}/tcp/4001`)

describe("Dial", () => {
  it.effect("a dead address in front costs its delay, and a refused one nothing", () =>
    Effect.gen(function* () {
      const [dead, live] = ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"] as const
      for (const [script, tookMs] of [
        [silent, 250 + 60],
        [refuses, 10 + 60],
        // Connected within its delay: it is waited for a little longer.
        [{ _tag: "connects", afterMs: 100 }, 350 + 60]
      ] as const) {
        const network = new Network({ [dead]: script, [live]: answers })
        const dialled = yield* dialOnce(network.dialler(), peer, known([dead, live]))
        assert.deepStrictEqual([winnerOf(dialled.result), dialled.tookMs], [live, tookMs])
        assert.deepStrictEqual([network.open, network.reserved], [1, 1])
        yield* dialled.close
        assert.deepStrictEqual([network.open, network.reserved], [0, 0])
      }
    })
  )

  it.effect("both families are tried by turns, and the first to answer wins", () =>
    Effect.gen(function* () {
      const [v6, v4] = ["/ip6/2001:db8::1/tcp/1", "/ip4/192.0.2.1/tcp/1"] as const
      const both = new Network({ [v6]: answers, [v4]: answers })
      assert.strictEqual(winnerOf((yield* dialOnce(both.dialler(), peer, known([v4, v6]))).result), v6)
      assert.deepStrictEqual(both.order, [v6])
      const broken = new Network({ [v6]: silent, [v4]: answers })
      const dialled = yield* dialOnce(broken.dialler(), peer, known([v4, v6]))
      assert.deepStrictEqual([winnerOf(dialled.result), dialled.tookMs], [v4, 310])
      assert.strictEqual(broken.open, 1)
    })
  )

  it.effect("with nothing but silence it ends after a bounded time, with a reason for each address", () =>
    Effect.gen(function* () {
      const addresses = publicOf(32)
      const network = new Network(scriptsOf(addresses, silent))
      const dialled = yield* dialOnce(network.dialler(), peer, known([...addresses, ...addresses]))
      assert.strictEqual(winnerOf(dialled.result), "AllFailed")
      assert.strictEqual(dialled.tookMs, 3 * 10_000 + 7 * 250 + 10_000)
      assert.deepStrictEqual(
        reasonsOf(dialled.result),
        addresses.map((address) => [address, "dialing 10000"])
      )
      assert.strictEqual(network.mostOpen, 8)
      assert.deepStrictEqual([network.open, network.reserved], [0, 0])
    })
  )

  it.effect("a dial has a deadline of its own, which tells how far each address came", () =>
    Effect.gen(function* () {
      const addresses = publicOf(9)
      const network = new Network({
        ...scriptsOf(addresses, silent),
        "/ip4/192.0.2.0/tcp/4001": { _tag: "connects", afterMs: 300 },
        "/ip4/192.0.2.1/tcp/4001": refuses
      })
      const dialler = network.dialler({ dialTimeout: Duration.millis(700) })
      const dialled = yield* dialOnce(dialler, peer, known([...addresses.slice(0, 3), "/memory/1"]))
      assert.deepStrictEqual([winnerOf(dialled.result), dialled.tookMs], ["DialTimeout", 700])
      assert.deepStrictEqual(reasonsOf(dialled.result), [
        ["/ip4/192.0.2.0/tcp/4001", "securing 700"],
        ["/ip4/192.0.2.1/tcp/4001", "TransportFailed"],
        ["/ip4/192.0.2.2/tcp/4001", "dialing 440"],
        ["/memory/1", "NoTransport"]
      ])
      assert.deepStrictEqual([network.open, network.reserved], [0, 0])
    })
  )

  it.effect("addresses of other peers, and such as no transport dials, are not tried", () =>
    Effect.gen(function* () {
      const live = "/ip4/192.0.2.1/tcp/1"
      const network = new Network({ [live]: answers })
      const other = `${live}/p2p/${peerOf(2).toString()}`
      const dialler = network.dialler()
      const failed = yield* dialOnce(dialler, peer, given([other, "/memory/7", `/p2p/${peer.toString()}`]))
      assert.strictEqual(failed.tookMs, 0)
      assert.deepStrictEqual(reasonsOf(failed.result), [
        [other, "AnotherPeer"],
        ["/memory/7", "NoTransport"],
        [`/p2p/${peer.toString()}`, "NoTransport"]
      ])
      assert.deepStrictEqual(network.order, [])
      const same = yield* dialOnce(dialler, peer, given([`${live}/p2p/${peer.toString()}`, live]))
      assert.strictEqual(same.result._tag, "Succeeded")
      assert.lengthOf(network.order, 1)
    })
  )

  it.effect("a relayed address waits half a second for the direct ones", () =>
    Effect.gen(function* () {
      const direct = "/ip4/192.0.2.1/tcp/1"
      const relayed = `/ip4/192.0.2.9/tcp/1/p2p/${relay}/p2p-circuit`
      const network = new Network({ [direct]: silent, [relayed]: answers })
      const dialled = yield* dialOnce(network.dialler(), peer, known([relayed, direct]))
      assert.deepStrictEqual([winnerOf(dialled.result), dialled.tookMs], [relayed, 560])
    })
  )

  it.effect("an address that failed is left alone, longer each time, unless it is asked for", () =>
    Effect.gen(function* () {
      const address = "/ip4/192.0.2.1/tcp/1"
      const network = new Network({ [address]: refuses })
      const dialler = network.dialler()
      const dial = (addresses: ReadonlyArray<Dial.Known>, who = peer) =>
        Effect.scoped(
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(dialler(who, addresses, yield* Effect.scope))
            yield* TestClock.adjust(10)
            return yield* Fiber.join(fiber)
          })
        )
      assert.deepStrictEqual(reasonsOf(yield* dial(known([address]))), [[address, "TransportFailed"]])
      const waits: Array<number> = []
      for (let i = 0; i < 8; i++) {
        const refusal = yield* dial(known([address]))
        const reason = refusal._tag === "Failed" ? refusal.attempts[0]?.reason : undefined
        const retryInMs = reason?._tag === "BackingOff" ? reason.retryInMs : 0
        waits.push(retryInMs)
        yield* TestClock.adjust(retryInMs)
        assert.deepStrictEqual(reasonsOf(yield* dial(known([address]))), [[address, "TransportFailed"]])
      }
      for (const [i, wait] of waits.entries()) {
        const most = Math.min(300_000, 5000 * 2 ** i)
        assert.isAtMost(wait, most)
        assert.isAtLeast(wait, 0.75 * most - 20)
      }
      // Other peers are not judged by it, and whoever asks for it gets it.
      assert.deepStrictEqual(reasonsOf(yield* dial(known([address]), peerOf(2))), [[address, "TransportFailed"]])
      const before = network.dialled.length
      yield* dial(given([address]))
      assert.lengthOf(network.dialled, before + 1)
      network.scripts.set(address, { _tag: "answers", connectMs: 0, upgradeMs: 0 })
      assert.strictEqual((yield* dial(given([address])))._tag, "Succeeded")
      network.scripts.set(address, refuses)
      assert.deepStrictEqual(reasonsOf(yield* dial(known([address]))), [[address, "TransportFailed"]])
    })
  )

  it.effect("a limit or a rule of this node is held against no address", () =>
    Effect.gen(function* () {
      const address = "/ip4/192.0.2.1/tcp/1"
      const network = new Network({ [address]: answers })
      const dialler = network.dialler()
      network.limit = 0
      const limited = yield* dialOnce(dialler, peer, known([address]), 0)
      assert.deepStrictEqual(reasonsOf(limited.result), [[address, "LimitExceeded"]])
      network.limit = 1
      network.denied = () => Effect.fail(new Denied({ stage: "dialAddress", because: "not today" }))
      const denied = yield* dialOnce(dialler, peer, known([address]), 0)
      assert.deepStrictEqual(reasonsOf(denied.result), [[address, "Denied"]])
      assert.lengthOf(network.order, 0)
      network.denied = undefined
      assert.strictEqual((yield* dialOnce(dialler, peer, known([address]))).result._tag, "Succeeded")
    })
  )

  it.effect("a gater that does not answer is not waited for longer than for an address", () =>
    Effect.gen(function* () {
      const network = new Network({})
      network.denied = () => Effect.never
      const dialled = yield* dialOnce(network.dialler(), peer, known(["/ip4/192.0.2.1/tcp/1"]))
      assert.deepStrictEqual(reasonsOf(dialled.result), [["/ip4/192.0.2.1/tcp/1", "dialing 10000"]])
    })
  )

  it.effect("in a network that swallows IPv6, IPv6 is soon left out, and found again by a probe", () =>
    Effect.gen(function* () {
      const [v6, v4] = ["/ip6/2001:db8::1/tcp/1", "/ip4/192.0.2.1/tcp/1"] as const
      const network = new Network({ [v6]: silent, [v4]: answers })
      const dialler = network.dialler()
      const dials = Effect.fnUntraced(function* (times: number) {
        let slow = 0
        for (let i = 0; i < times; i++) {
          const dialled = yield* dialOnce(dialler, peerOf(1), known([v6, v4]))
          if (dialled.tookMs > 60) slow++
          assert.strictEqual(dialled.result._tag, "Succeeded")
          yield* dialled.close
        }
        return slow
      })
      assert.strictEqual(yield* dials(100), 100)
      // The two hundredth is a probe.
      assert.strictEqual(yield* dials(99), 0)
      assert.strictEqual(yield* dials(1), 1)
      const only = yield* dialOnce(dialler, peer, known([v6]))
      assert.deepStrictEqual(reasonsOf(only.result), [[v6, "BlackHoled"]])
      network.scripts.set(v6, answers)
      // Whoever asks for it gets it, which shows that it works again.
      assert.strictEqual((yield* dialOnce(dialler, peer, given([v6]))).result._tag, "Succeeded")
      assert.strictEqual((yield* dialOnce(dialler, peer, known([v6]))).result._tag, "Succeeded")
      assert.strictEqual(network.open, 2)
    })
  )

  it.effect("losing to a faster address is no sign of a black hole", () =>
    Effect.gen(function* () {
      const [v6, v4] = ["/ip6/2001:db8::1/tcp/1", "/ip4/192.0.2.1/tcp/1"] as const
      // IPv4 worked before, so it goes first, and is done a moment after IPv6 was begun.
      const network = new Network({
        [v4]: { _tag: "answers", connectMs: 260, upgradeMs: 40 },
        [v6]: { _tag: "answers", connectMs: 300, upgradeMs: 40 }
      })
      const dialler = network.dialler()
      for (let i = 0; i < 120; i++) {
        const addresses = known([v6, v4]).map((one) => ({ ...one, proven: one.address.toString() === v4 }))
        const dialled = yield* dialOnce(dialler, peer, addresses)
        assert.strictEqual(winnerOf(dialled.result), v4)
        yield* dialled.close
      }
      assert.lengthOf(network.dialled, 240)
    })
  )

  it.effect("names become addresses before they are ranked, unless the name is spoken later", () =>
    Effect.gen(function* () {
      const network = new Network({
        "/ip6/2001:db8::1/tcp/1": silent,
        "/ip4/192.0.2.1/tcp/1": answers,
        "/dns4/example.org/tcp/443/wss": answers
      })
      network.names = {
        "example.org": ["192.0.2.1", "2001:db8::1"],
        "_dnsaddr.bootstrap.example.org": ["dnsaddr=/dns/example.org/tcp/1"]
      }
      for (const name of ["/dns/example.org/tcp/1", "/dnsaddr/bootstrap.example.org"]) {
        const dialled = yield* dialOnce(network.dialler(), peer, given([name]))
        assert.deepStrictEqual([winnerOf(dialled.result), dialled.tookMs], ["/ip4/192.0.2.1/tcp/1", 310])
      }
      const only6 = yield* dialOnce(network.dialler(), peer, given(["/dns6/example.org/tcp/1"]))
      assert.deepStrictEqual(reasonsOf(only6.result), [["/ip6/2001:db8::1/tcp/1", "dialing 10000"]])
      const kept = yield* dialOnce(network.dialler(), peer, given(["/dns4/example.org/tcp/443/wss"]))
      assert.strictEqual(winnerOf(kept.result), "/dns4/example.org/tcp/443/wss")
      const missing = yield* dialOnce(network.dialler(), peer, given(["/dns4/nothing.example.org/tcp/1"]))
      assert.deepStrictEqual(reasonsOf(missing.result), [["/dns4/nothing.example.org/tcp/1", "TransportFailed"]])
      const unlinked = yield* dialOnce(network.dialler(), peer, given(["/dnsaddr/nothing.example.org"]))
      assert.deepStrictEqual(reasonsOf(unlinked.result), [["/dnsaddr/nothing.example.org", "UnresolvedName"]])
    })
  )

  it.effect("the whole node dials so many addresses at once, and the dials take turns", () =>
    Effect.gen(function* () {
      const addresses = publicOf(30)
      const network = new Network(scriptsOf(addresses, silent))
      const dialler = network.dialler({ maxDialing: 4 })
      const scope = yield* Scope.make()
      const all = Effect.forEach(
        [0, 1, 2, 3, 4, 5],
        (i) => dialler(peerOf(i + 1), known(addresses.slice(5 * i, 5 * i + 2)), scope),
        { concurrency: "unbounded" }
      )
      const { tookMs, value } = yield* elapse(all)
      assert.strictEqual(network.mostOpen, 4)
      assert.strictEqual(tookMs, 30_000)
      assert.deepStrictEqual(
        value.map((result) => reasonsOf(result).length),
        [2, 2, 2, 2, 2, 2]
      )
      // Each has had its first before any has its second.
      const rounds = network.order.map((address) => Number(address.split("/")[2]?.split(".")[3]) % 5)
      assert.deepStrictEqual(rounds.slice(0, 6), [0, 0, 0, 0, 0, 0])
      assert.strictEqual(network.open, 0)
      // No slot is lost.
      network.scripts.set("/ip4/192.0.2.0/tcp/4001", answers)
      const again = yield* dialOnce(dialler, peer, given(["/ip4/192.0.2.0/tcp/4001"]))
      assert.deepStrictEqual([again.result._tag, again.tookMs], ["Succeeded", 60])
    })
  )

  it.effect("an interrupted dial leaves nothing: no socket, no reservation, no slot", () =>
    Effect.gen(function* () {
      const addresses = publicOf(8)
      const network = new Network({
        ...scriptsOf(addresses, silent),
        "/ip4/192.0.2.1/tcp/4001": { _tag: "connects", afterMs: 20 }
      })
      const dialler = network.dialler({ maxDialing: 8 })
      for (const afterMs of [0, 10, 260, 1000, 5000]) {
        const scope = yield* Scope.make()
        const fiber = yield* Effect.forkChild(dialler(peer, given(addresses), scope), { startImmediately: true })
        yield* TestClock.adjust(afterMs)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual([network.open, network.reserved], [0, 0])
        yield* Scope.close(scope, Exit.void)
      }
      network.scripts.set("/ip4/192.0.2.0/tcp/4001", answers)
      assert.strictEqual((yield* dialOnce(dialler, peer, given(addresses))).tookMs, 60)
    })
  )

  it.effect("addresses that others add during the dial are tried too", () =>
    Effect.gen(function* () {
      const [dead, live] = ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"] as const
      const network = new Network({ [dead]: silent, [live]: answers })
      const addresses = known([dead])
      const scope = yield* Scope.make()
      const fiber = yield* Effect.forkChild(network.dialler()(peer, addresses, scope), { startImmediately: true })
      yield* TestClock.adjust(2000)
      addresses.push(...given([live]))
      yield* TestClock.adjust(310)
      assert.strictEqual(winnerOf(yield* Fiber.join(fiber)), live)
    })
  )

  it.effect("two dialers that met on one connection try again from another port", () =>
    Effect.gen(function* () {
      const address = "/ip4/192.0.2.1/tcp/1"
      const network = new Network({ [address]: { _tag: "meets", afterMs: 100, next: "answers" } })
      const dialled = yield* dialOnce(network.dialler(), peer, known([address]))
      assert.deepStrictEqual([winnerOf(dialled.result), dialled.tookMs], [address, 100])
      assert.lengthOf(network.dialled, 2)
      assert.deepStrictEqual([network.open, network.reserved], [1, 1])
      // Both tries together have the deadline of the address.
      network.scripts.set(address, { _tag: "meets", afterMs: 6000, next: "silent" })
      const late = yield* dialOnce(network.dialler(), peer, known([address]))
      assert.deepStrictEqual([reasonsOf(late.result), late.tookMs], [[[address, "dialing 10000"]], 10_000])
      assert.lengthOf(network.dialled, 4)
      // From a port of its own there is nobody to meet.
      network.scripts.set(address, { _tag: "rejects" })
      const rejected = yield* dialOnce(network.dialler(), peer, known([address]))
      assert.deepStrictEqual(reasonsOf(rejected.result), [[address, "SecurityFailed"]])
      assert.lengthOf(network.dialled, 5)
    })
  )

  it.effect("connecting and the handshake together have the deadline, and silence is held against the address", () =>
    Effect.gen(function* () {
      const [slow, dead] = ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"] as const
      const network = new Network({ [slow]: { _tag: "connects", afterMs: 9000 }, [dead]: silent })
      const dialler = network.dialler()
      for (const [address, stage] of [
        [slow, "securing 10000"],
        [dead, "dialing 10000"]
      ] as const) {
        const dialled = yield* dialOnce(dialler, peer, known([address]), 10_000)
        assert.deepStrictEqual([reasonsOf(dialled.result), dialled.tookMs], [[[address, stage]], 10_000])
        assert.deepStrictEqual(reasonsOf((yield* dialOnce(dialler, peer, known([address]), 0)).result), [
          [address, "BackingOff"]
        ])
      }
    })
  )

  it.effect("a defect below ends the dial, and leaves nothing", () =>
    Effect.gen(function* () {
      const addresses = publicOf(2)
      const network = new Network({ [addresses[0] ?? ""]: silent, [addresses[1] ?? ""]: { _tag: "dies" } })
      const scope = yield* Scope.make()
      const { value } = yield* elapse(Effect.exit(network.dialler()(peer, given(addresses), scope)))
      assert.isTrue(Exit.isFailure(value) && Cause.hasDies(value.cause))
      assert.deepStrictEqual([network.open, network.reserved], [0, 0])
    })
  )

  it.effect("an address without a peer can be dialled", () =>
    Effect.gen(function* () {
      const address = "/ip4/192.0.2.1/tcp/1"
      const network = new Network({ [address]: answers })
      assert.strictEqual((yield* dialOnce(network.dialler(), undefined, given([address]))).result._tag, "Succeeded")
      assert.strictEqual(Multiaddr.fromStringUnsafe(address).toString(), network.order[0])
    })
  )
})
