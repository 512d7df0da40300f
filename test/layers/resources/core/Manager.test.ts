import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import * as PeerId from "../../../../src/data/PeerId.ts"
import { Manager } from "../../../../src/layers/resources/core/Manager.ts"
import { defaults, type LimitChanges, resolve } from "../../../../src/layers/resources/Limits.ts"
import {
  type ConnectionReservation,
  describeLimit,
  type Limits,
  type StreamReservation
} from "../../../../src/services/ResourceManager.ts"

const machine = { memory: 2 * 1024 ** 3, files: 4096 }
const limitsOf = (changes: LimitChanges): Limits => Result.getOrThrow(resolve(machine, changes))
const address = (text: string) => Multiaddr.fromStringUnsafe(text)
const peers = Array.from({ length: 256 }, (_, n) =>
  Result.getOrThrow(PeerId.fromBytes(Uint8Array.of(0x12, 0x20, ...Array.from({ length: 31 }, () => 0), n)))
)
const peer = (n: number): PeerId.PeerId => peers[n] ?? assert.fail("no such peer")
const id = (n: number): string => peer(n).toString()
const loopback = address("/ip4/127.0.0.1/tcp/1")

const opened = (manager: Manager, n?: number): ConnectionReservation => {
  const connection = Result.getOrThrow(manager.dial(0))
  if (n !== undefined) assert.isUndefined(connection.setPeer(peer(n)))
  return connection
}
const stream = (connection: ConnectionReservation): StreamReservation =>
  Result.getOrThrow(connection.openStream("inbound"))
const inUse = (manager: Manager): Record<string, number> =>
  Object.fromEntries(
    manager
      .usage(0)
      .filter(({ current }) => current > 0)
      .map((row) => [`${row.scope}: ${row.resource}`, row.current])
  )
const refusalOf = (result: Result.Result<unknown, { scope: string; resource: string }> | undefined) => {
  assert.isTrue(result !== undefined && Result.isFailure(result))
  return result !== undefined && Result.isFailure(result) ? `${result.failure.scope}: ${result.failure.resource}` : ""
}

describe("the tree of scopes", () => {
  it("counts a connection and its streams in every scope that they are in", () => {
    const manager = new Manager(defaults(machine))
    const connection = Result.getOrThrow(manager.accept(address("/ip4/192.0.2.7/tcp/1"), 0))
    assert.isUndefined(connection.memory.resize(100))
    assert.deepStrictEqual(inUse(manager), {
      "system: connections": 1,
      "system: inbound connections": 1,
      "system: memory": 100,
      "transient: connections": 1,
      "transient: inbound connections": 1,
      "transient: memory": 100,
      "connection 1: memory": 100,
      "address 192.0.2.7: inbound connections": 1,
      "address 192.0.2.7: unfinished inbound connections": 1,
      "address 192.0.2.7: inbound connections a second": 1,
      "subnet 192.0.2.0/24: inbound connections": 1,
      "subnet 192.0.2.0/24: unfinished inbound connections": 1,
      "subnet 192.0.2.0/24: inbound connections a second": 1
    })
    assert.isUndefined(connection.setPeer(peer(1)))
    const one = stream(connection)
    assert.strictEqual(inUse(manager)["transient: streams"], 1)
    assert.isUndefined(one.setProtocol("/echo/1.0.0", "echo"))
    const use = inUse(manager)
    for (const scope of [
      "system",
      `peer ${id(1)}`,
      `connection 1 of peer ${id(1)}`,
      "protocol /echo/1.0.0",
      `protocol /echo/1.0.0 of peer ${id(1)}`,
      "service echo",
      `service echo of peer ${id(1)}`
    ]) {
      assert.strictEqual(use[`${scope}: inbound streams`], 1, scope)
      assert.strictEqual(use[`${scope}: streams`], 1, scope)
    }
    assert.strictEqual(use[`peer ${id(1)}: memory`], 100)
    assert.deepStrictEqual(
      Object.keys(use).filter((key) => key.startsWith("transient") || key.includes("unfinished")),
      []
    )
    connection.release()
    connection.release()
    one.release()
    // The bucket of the address is the last to be forgotten: half a second at two a second.
    assert.strictEqual(manager.scopeCount(0), 4)
    assert.strictEqual(manager.scopeCount(500), 2)
    assert.deepStrictEqual(inUse(manager), {})
  })

  it("names the most specific scope that is full, and what to say of it", () => {
    const manager = new Manager(
      limitsOf({
        system: { streams: 2 },
        peer: { streams: 2 },
        connection: { streams: 2 },
        protocolOfPeer: { streams: 1 }
      })
    )
    const connection = opened(manager, 1)
    const [a, b] = [stream(connection), stream(connection)]
    const third = connection.openStream("outbound")
    assert.strictEqual(refusalOf(third), `connection 1 of peer ${id(1)}: streams`)
    assert.isUndefined(a.setProtocol("/a"))
    const refusal = b.setProtocol("/a")
    assert.strictEqual(
      refusal === undefined ? "" : describeLimit(refusal),
      `limit of 1 streams of protocol /a of peer ${id(1)} reached (1 in use); see docs/limits.md`
    )
    // The one that is in it needs no second place to have its service named.
    assert.isUndefined(a.setProtocol("/a", "service"))
    // It stays where it was, and may take another protocol.
    assert.isUndefined(b.setProtocol("/b"))
    assert.strictEqual(refusalOf(opened(manager, 2).openStream("outbound")), "system: streams")
  })

  it("leaves every count as it was when it refuses", () => {
    const manager = new Manager(
      limitsOf({ peer: { connections: 1, memory: 10 }, system: { memory: 15 }, protocols: { "/full": { streams: 0 } } })
    )
    const first = opened(manager, 1)
    assert.isUndefined(first.memory.resize(10))
    const second = opened(manager)
    assert.isUndefined(second.memory.resize(5))
    const third = stream(second)
    const before = inUse(manager)
    assert.strictEqual(first.memory.resize(11)?.scope, `peer ${id(1)}`)
    assert.strictEqual(second.memory.resize(6)?.scope, "system")
    assert.strictEqual(second.setPeer(peer(1))?.resource, "connections")
    assert.strictEqual(third.setProtocol("/full", "service")?.scope, "protocol /full")
    assert.deepStrictEqual(inUse(manager), before)
    // The refusal of a scope that nobody is in is counted with its kind.
    assert.deepInclude(manager.usage(0), {
      scope: "protocol (ended)",
      resource: "streams",
      limit: manager.limits.protocol.streams,
      current: 0,
      peak: 0,
      refused: 1
    })
  })

  it("moves a connection with all that it holds from one peer to another, or not at all", () => {
    const manager = new Manager(limitsOf({ protocolOfPeer: { streams: 1 } }))
    const connection = opened(manager)
    const [a, b, c] = [stream(connection), stream(connection), stream(connection)]
    assert.isUndefined(a.setProtocol("/a"))
    assert.isUndefined(b.setProtocol("/b"))
    assert.isUndefined(connection.memory.resize(7))
    assert.isUndefined(connection.setPeer(peer(1)))
    const other = opened(manager, 2)
    assert.isUndefined(stream(other).setProtocol("/b"))
    const before = inUse(manager)
    assert.strictEqual(connection.setPeer(peer(2))?.scope, `protocol /b of peer ${id(2)}`)
    assert.deepStrictEqual(inUse(manager), before)
    assert.isUndefined(connection.setPeer(peer(3)))
    assert.isUndefined(c.setProtocol("/c"))
    const use = inUse(manager)
    assert.isUndefined(use[`peer ${id(1)}: streams`])
    assert.strictEqual(use[`peer ${id(3)}: streams`], 3)
    assert.strictEqual(use[`peer ${id(3)}: memory`], 7)
    assert.strictEqual(use[`protocol /a of peer ${id(3)}: streams`], 1)
    connection.release()
    other.release()
    assert.deepStrictEqual(inUse(manager), {})
    assert.strictEqual(manager.scopeCount(0), 2)
  })

  it("gives nothing more to a connection that has ended", () => {
    const manager = new Manager(defaults(machine))
    const connection = opened(manager, 1)
    const late = stream(connection)
    connection.release()
    assert.isTrue(Result.isFailure(connection.openStream("inbound")))
    assert.isDefined(connection.setPeer(peer(2)))
    assert.isUndefined(connection.memory.resize(100))
    assert.isUndefined(late.setProtocol("/late"))
    late.release()
    assert.strictEqual(manager.scopeCount(0), 2)
    assert.deepStrictEqual(inUse(manager), {})
  })

  it("does not grow with the protocols and peers that a remote names", () => {
    const manager = new Manager(limitsOf({ protocols: { "/known": { streams: 0 } } }))
    const connection = opened(manager, 1)
    for (let i = 0; i < 2000; i++) {
      const one = stream(connection)
      assert.isUndefined(one.setProtocol(`/made-up/${i}`, `service ${i}`))
      one.release()
      const two = stream(connection)
      assert.isDefined(two.setProtocol("/known"))
      two.release()
      opened(manager, i % 256).release()
    }
    assert.strictEqual(manager.scopeCount(0), 4)
    assert.isBelow(manager.usage(0).length, 40)
    assert.strictEqual(
      manager.usage(0).find(({ scope, resource }) => scope === "protocol (ended)" && resource === "streams")?.refused,
      2000
    )
  })

  it("lists at most a thousand scopes", () => {
    const manager = new Manager(limitsOf({ system: { streams: 5000 }, transient: { streams: 5000 } }))
    const connection = opened(manager, 1)
    for (let i = 0; i < 2000; i++) stream(connection).setProtocol(`/p/${i}`)
    assert.isAtMost(new Set(manager.usage(0).map(({ scope }) => scope)).size, 1010)
    connection.release()
    assert.deepStrictEqual(inUse(manager), {})
  })

  it("tells the fullest of each kind, however many there are of another", () => {
    const manager = new Manager(limitsOf({ system: { streams: 1_000_000 }, protocol: { streams: 1_000_000 } }))
    for (let n = 0; n < 250; n++) {
      const connection = opened(manager, n)
      for (let i = 0; i < 5; i++) stream(connection).setProtocol(`/p/${i}`)
    }
    const fullest = opened(manager, 250)
    fullest.memory.resize(1_000_000)
    for (let i = 0; i < 16; i++) manager.accept(address("/ip4/192.0.2.7/tcp/1"), 0)
    const rows = manager.usage(0)
    assert.isAtMost(new Set(rows.map(({ scope }) => scope)).size, 1010)
    const most = (scope: string, resource: string) =>
      Math.max(
        ...rows.filter((row) => row.scope.startsWith(scope) && row.resource === resource).map((row) => row.current)
      )
    assert.strictEqual(most("connection ", "memory"), 1_000_000)
    assert.strictEqual(most("peer ", "memory"), 1_000_000)
    assert.strictEqual(most("address ", "unfinished inbound connections"), 16)
    assert.strictEqual(most("subnet ", "unfinished inbound connections"), 16)
  })

  it("takes names such as those of every object for what they are", () => {
    const manager = new Manager(limitsOf({ protocols: { ["__proto__"]: { streams: 0 } } }))
    const connection = opened(manager, 1)
    assert.isUndefined(stream(connection).setProtocol("toString", "constructor"))
    assert.isUndefined(stream(connection).setProtocol("hasOwnProperty"))
    assert.strictEqual(stream(connection).setProtocol("__proto__")?.scope, "protocol __proto__")
  })

  it("holds a node to its transient limits while nobody proves who they are", () => {
    const manager = new Manager(limitsOf({ transient: { connectionsInbound: 3 } }))
    const waiting = [1, 2, 3].map(() => Result.getOrThrow(manager.accept(loopback, 0)))
    assert.strictEqual(refusalOf(manager.accept(loopback, 0)), "transient: inbound connections")
    assert.isUndefined(waiting[0]?.setPeer(peer(1)))
    assert.isTrue(Result.isSuccess(manager.accept(loopback, 0)))
  })
})

// ---- against a model --------------------------------------------------------

type Operation =
  | { readonly op: "accept"; readonly from: number }
  | { readonly op: "dial" }
  | { readonly op: "setPeer"; readonly which: number; readonly peer: number }
  | { readonly op: "open"; readonly which: number; readonly inbound: boolean }
  | { readonly op: "protocol"; readonly which: number; readonly name: string; readonly service: boolean }
  | { readonly op: "memory"; readonly which: number; readonly bytes: number }
  | { readonly op: "closeStream" | "close"; readonly which: number }
  | { readonly op: "wait"; readonly ms: number }

/** Long runs of operations from a seed: streams come more often than they go. */
const operationsOf = (seed: number): ReadonlyArray<Operation> => {
  let state = seed
  const below = (n: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
  return Array.from({ length: 120 }, (): Operation => {
    const which = below(1000)
    switch (below(14)) {
      case 0:
      case 1:
        return { op: "accept", from: below(6) }
      case 2:
        return { op: "dial" }
      case 3:
      case 4:
        return { op: "setPeer", which, peer: below(4) }
      case 5:
      case 6:
      case 7:
        return { op: "open", which, inbound: below(2) === 0 }
      case 8:
      case 9:
        return { op: "protocol", which, name: "abc".charAt(below(3)), service: below(2) === 0 }
      case 10:
        return { op: "memory", which, bytes: below(66) - 5 }
      case 11:
        return { op: "closeStream", which }
      case 12:
        return below(3) === 0 ? { op: "close", which } : { op: "open", which, inbound: true }
      default:
        return { op: "wait", ms: below(3000) }
    }
  })
}

interface ModelStream {
  readonly lease: StreamReservation
  readonly inbound: boolean
  protocol: string | undefined
  service: string | undefined
}
interface ModelConnection {
  readonly lease: ConnectionReservation
  readonly inbound: boolean
  readonly from: number | undefined
  readonly number: number
  peer: number | undefined
  memory: number
  streams: Array<ModelStream>
}

/** What must be in use, counted afresh from what is open. */
const expected = (connections: ReadonlyArray<ModelConnection>): Record<string, number> => {
  const use: Record<string, number> = {}
  const add = (scope: string, resource: string, amount: number) => {
    if (amount > 0) use[`${scope}: ${resource}`] = (use[`${scope}: ${resource}`] ?? 0) + amount
  }
  for (const one of connections) {
    const who = one.peer === undefined ? "transient" : `peer ${id(one.peer)}`
    const self = `connection ${one.number}${one.peer === undefined ? "" : ` of ${who}`}`
    for (const scope of ["system", who]) {
      add(scope, "connections", 1)
      add(scope, one.inbound ? "inbound connections" : "outbound connections", 1)
    }
    if (one.from !== undefined) {
      for (const place of [`address 192.0.${one.from % 2}.${one.from}`, `subnet 192.0.${one.from % 2}.0/24`]) {
        add(place, "inbound connections", 1)
        if (one.peer === undefined) add(place, "unfinished inbound connections", 1)
      }
    }
    for (const scope of ["system", who, self]) add(scope, "memory", one.memory)
    for (const each of one.streams) {
      const of = one.peer === undefined ? [] : [` of ${who}`]
      for (const scope of [
        "system",
        self,
        ...(one.peer === undefined ? [] : [who]),
        ...(each.protocol === undefined
          ? ["transient"]
          : ["", ...of].map((tail) => `protocol ${each.protocol}${tail}`)),
        ...(each.service === undefined ? [] : ["", ...of].map((tail) => `service ${each.service}${tail}`))
      ]) {
        add(scope, "streams", 1)
        add(scope, each.inbound ? "inbound streams" : "outbound streams", 1)
      }
    }
  }
  return use
}

const tight = limitsOf({
  system: { connections: 7, connectionsInbound: 5, streams: 12, streamsInbound: 9, memory: 100 },
  transient: { connections: 4, streams: 5, memory: 50 },
  peer: { connections: 2, streams: 8, memory: 70 },
  connection: { streams: 6, streamsOutbound: 4, memory: 55 },
  protocol: { streams: 5 },
  protocolOfPeer: { streams: 3 },
  service: { streamsInbound: 3 },
  serviceOfPeer: { streams: 2 },
  address: { connections: 3, pending: 2, burst: 4, ratePerSecond: 1 },
  subnet: { connections: 4, pending: 3, burst: 6, ratePerSecond: 2 }
})

const from6 = Array.from({ length: 6 }, (_, n) => address(`/ip4/192.0.${n % 2}.${n}/tcp/1`))

describe("random operations", () => {
  it.effect.prop(
    "use is what is open, never negative or over a limit, and nothing once all is released",
    [Schema.Int],
    ([seed]) =>
      Effect.sync(() => {
        const manager = new Manager(tight)
        let now = 0
        let made = 0
        let open: Array<ModelConnection> = []
        const pick = <A>(list: ReadonlyArray<A>, which: number): A | undefined => list[which % Math.max(1, list.length)]
        const all = () => open.flatMap((one) => one.streams.map((each) => ({ one, each })))
        for (const [index, step] of operationsOf(seed).entries()) {
          switch (step.op) {
            case "wait":
              now += step.ms
              break
            case "accept":
            case "dial": {
              const from = step.op === "accept" ? step.from : undefined
              const result = from === undefined ? manager.dial(now) : manager.accept(from6[from] ?? loopback, now)
              if (Result.isFailure(result)) break
              made++
              const inbound = from !== undefined
              open.push({ lease: result.success, inbound, from, number: made, peer: undefined, memory: 0, streams: [] })
              break
            }
            case "setPeer": {
              const one = pick(open, step.which)
              if (one !== undefined && one.lease.setPeer(peer(step.peer)) === undefined) one.peer = step.peer
              break
            }
            case "open": {
              const one = pick(open, step.which)
              const result = one?.lease.openStream(step.inbound ? "inbound" : "outbound")
              if (one === undefined || result === undefined || Result.isFailure(result)) break
              one.streams.push({
                lease: result.success,
                inbound: step.inbound,
                protocol: undefined,
                service: undefined
              })
              break
            }
            case "protocol": {
              const target = pick(all(), step.which)
              const service = step.service ? `s${step.name}` : undefined
              if (target === undefined || target.each.lease.setProtocol(step.name, service) !== undefined) break
              target.each.protocol = step.name
              target.each.service = service
              break
            }
            case "memory": {
              const one = pick(open, step.which)
              if (one !== undefined && one.lease.memory.resize(step.bytes) === undefined) {
                one.memory = Math.max(0, step.bytes)
              }
              break
            }
            case "closeStream": {
              const target = pick(all(), step.which)
              if (target === undefined) break
              target.each.lease.release()
              target.each.lease.release()
              target.one.streams = target.one.streams.filter((each) => each !== target.each)
              break
            }
            case "close": {
              const one = pick(open, step.which)
              one?.lease.release()
              one?.lease.release()
              open = open.filter((other) => other !== one)
            }
          }
          if (index % 3 !== 2) continue
          const rows = manager.usage(now)
          const counted = rows.filter(({ resource }) => !resource.endsWith("a second"))
          const wrong = rows.find(({ current, peak }) => current < 0 || peak < current)
          const over = counted.find(({ current, limit }) => current > limit)
          const use = Object.fromEntries(
            counted.filter(({ current }) => current > 0).map((row) => [`${row.scope}: ${row.resource}`, row.current])
          )
          const wanted = expected(open)
          // The assertions of the library are slow: ask them only when they will fail.
          const text = (record: Record<string, number>) =>
            Object.entries(record)
              .map(([key, value]) => `${key} ${value}`)
              .toSorted((a, b) => (a < b ? -1 : 1))
              .join()
          if (wrong !== undefined || over !== undefined) assert.fail(JSON.stringify(wrong ?? over))
          if (text(use) !== text(wanted)) assert.deepStrictEqual(use, wanted)
        }
        for (const one of open) one.lease.release()
        assert.strictEqual(manager.scopeCount(now + 60_000), 2)
        assert.isTrue(manager.usage(now + 60_000).every(({ current }) => current === 0))
      }),
    { arbitrary: { runs: 40 } }
  )
})
