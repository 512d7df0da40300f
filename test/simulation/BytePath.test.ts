/**
 * Storms on the byte path: bytes cut anywhere and lent for as short as they may be, fibers that are interrupted in any
 * of their waits and begin again, turns that end anywhere, ends and resets at any moment. What is read is compared with
 * what was written, nobody is left waiting, and nothing is held at the end.
 *
 * More of them: `STORMS=1000 npx vitest run test/simulation/BytePath.test.ts`; from a seed on: `STORMS_FROM`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Result, Scheduler, type Scope } from "effect"
import { pattern } from "../../src/conformance/ByteStream.ts"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import * as NetworkKey from "../../src/data/NetworkKey.ts"
import * as NodeCrypto from "../../src/layers/crypto/NodeCrypto.ts"
import * as Pipe from "../../src/layers/internal/Pipe.ts"
import * as Mplex from "../../src/layers/muxer/Mplex.ts"
import * as Yamux from "../../src/layers/muxer/Yamux.ts"
import * as NodeNet from "../../src/layers/net/NodeNet.ts"
import { PrivateStream } from "../../src/layers/pnet/PrivateStream.ts"
import { SecureStream } from "../../src/layers/security/noise/SecureStream.ts"
import { CipherState } from "../../src/layers/security/noise/SymmetricState.ts"
import { World } from "../../src/layers/simulation/World.ts"
import type { ByteStream } from "../../src/services/ByteStream.ts"
import { Net } from "../../src/services/Net.ts"
import { LimitExceeded } from "../../src/services/ResourceManager.ts"
import type { MuxedConnection, MuxedStream, MuxerProtocol } from "../../src/services/StreamMuxer.ts"
import { secureBoth } from "../layers/security/tls/remote.ts"
import { Chance, exchange, goesWhole, isReset, lending, restless, Way, writing } from "../support/storm.ts"

const storms = Number(process.env["STORMS"] ?? 4)
const from = Number(process.env["STORMS_FROM"] ?? 1)
const timeout = 30_000 + storms * 1000

type Storm = (random: Chance) => Effect.Effect<void, unknown, Scope.Scope>
type Pair<E = never> = (random: Chance) => Effect.Effect<readonly [ByteStream, ByteStream], E, Scope.Scope>

const seeds = Array.from({ length: storms }, (_, i) => from + i)

const plain: (name: string, body: () => void, timeout: number) => void = it

/** Everything follows from the seed, the interleaving too. */
const inWorlds = (name: string, storm: Storm): void => {
  const once = (seed: number) => {
    const world = new World({ seed: `${name} ${seed}`, shuffle: true })
    const effect = Effect.scoped(storm(new Chance(`${name} ${seed}`)))
    const outcome = world.runSync(world.fork(world.place("node"), effect), 3_600_000)
    if (outcome._tag !== "Done") assert.fail(`seed ${seed}: ${JSON.stringify(outcome)}`)
    else if (Exit.isFailure(outcome.exit)) assert.fail(`seed ${seed}: ${Cause.pretty(outcome.exit.cause)}`)
  }
  plain(name, () => seeds.forEach(once), timeout)
}

/** With the sockets of this machine. */
const onSockets = (name: string, storm: Storm): void => {
  const once = (seed: number) =>
    Effect.scoped(storm(new Chance(`${name} ${seed}`))).pipe(
      Effect.timeout("20 seconds"),
      Effect.tapCause((cause) => Effect.logError(`seed ${seed}`, cause))
    )
  it.live(name, () => Effect.forEach(seeds, once, { discard: true }), timeout)
}

const raw: Pair = Effect.fnUntraced(function* (random: Chance) {
  const dispatcher = (yield* Scheduler.Scheduler).makeDispatcher()
  const [left, right] = yield* Pipe.pair({ capacity: random.size() })
  return [lending(left, dispatcher, random), lending(right, dispatcher, random)] as const
})

const crypto = NodeCrypto.make()
const key = (n: number) => crypto.aeadKey(new Uint8Array(32).fill(n))

const secured: Pair = Effect.fnUntraced(function* (random: Chance) {
  const [left, right] = yield* raw(random)
  const dispatcher = (yield* Scheduler.Scheduler).makeDispatcher()
  const fork = Effect.runForkWith(yield* Effect.context())
  const secure = (under: ByteStream, ours: number, theirs: number): ByteStream =>
    new SecureStream({
      raw: under,
      send: new CipherState(key(ours)),
      receive: new CipherState(key(theirs)),
      early: new Uint8Array(0),
      dispatcher,
      fork
    })
  return [secure(left, 1, 2), secure(right, 2, 1)] as const
})

const networkKey = Result.getOrThrow(NetworkKey.fromBytes(new Uint8Array(32).fill(3)))
const somewhere = Multiaddr.fromStringUnsafe("/memory/1")

/** Over what takes and gives as little as it likes: a nonce is cut, and what was not taken is encrypted again. */
const withKey: Pair = Effect.fnUntraced(function* (random: Chance) {
  const under = yield* raw(random)
  const [left, right] = under.map((stream, i) => {
    const connection = Object.assign(stream, { localAddress: somewhere, remoteAddress: somewhere })
    return new PrivateStream(connection, networkKey, new Uint8Array(24).fill(i))
  })
  return left === undefined || right === undefined ? assert.fail() : ([left, right] as const)
})

const sockets: Pair<unknown> = () =>
  Effect.gen(function* () {
    const net = yield* Net
    const listener = yield* net.listen({ host: "127.0.0.1", port: 0 })
    return yield* Effect.all([net.connect(listener.local), listener.accept], { concurrency: 2 })
  }).pipe(Effect.provide(NodeNet.layer))

const tls =
  (pair: Pair<unknown>): Pair<unknown> =>
  (random) =>
    Effect.flatMap(pair(random), ([left, right]) => secureBoth(left, right))

const streams: ReadonlyArray<readonly [string, Pair<unknown>, typeof inWorlds]> = [
  ["a raw stream", raw, inWorlds],
  ["a secured stream", secured, inWorlds],
  ["a stream of a private network", withKey, inWorlds],
  ["a socket", sockets, onSockets],
  ["TLS", tls(raw), onSockets],
  ["TLS on a socket", tls(sockets), onSockets]
]

for (const [name, pair, run] of streams) {
  describe(`${name} in a storm`, () => {
    run(`${name}: carries all bytes, both ways, and both ends`, (random) =>
      Effect.flatMap(pair(random), ([left, right]) => goesWhole(left, right, random))
    )

    run(`${name}: when reset, nobody is left waiting, and no byte is wrong`, (random) =>
      Effect.flatMap(pair(random), ([left, right]) => isReset(left, right, random))
    )
  })
}

/** What a connection says that it holds, up to a limit. */
class Held {
  bytes = 0
  readonly limit: number

  constructor(limit: number) {
    this.limit = limit
  }

  readonly resize = (bytes: number): LimitExceeded | undefined => {
    if (bytes > this.bytes && bytes > this.limit) {
      return new LimitExceeded({ scope: "system", resource: "memory", limit: this.limit, current: this.bytes })
    }
    this.bytes = bytes
    return undefined
  }
}

type Muxer = (random: Chance) => Effect.Effect<MuxerProtocol, never, Scope.Scope>

const muxed = Effect.fnUntraced(function* (protocol: Muxer, pair: Pair, random: Chance, limit: number) {
  const { make } = yield* protocol(random)
  const [left, right] = yield* pair(random)
  const held = [new Held(limit), new Held(limit)] as const
  const dialer = yield* make(left, { role: "dialer", memory: held[0] })
  const listener = yield* make(right, { role: "listener", memory: held[1] })
  const nothingIsLeft = () =>
    assert.deepStrictEqual([dialer.streamCount(), listener.streamCount(), held[0].bytes, held[1].bytes], [0, 0, 0, 0])
  return { raw: [left, right] as const, ends: [dialer, listener] as const, nothingIsLeft }
})

type Muxed = Effect.Success<ReturnType<typeof muxed>>

const courses = ["whole", "whole", "not read", "nobody comes", "reset by its opener", "reset by its acceptor"] as const

/** A stream that takes one of the courses. */
const course = Effect.fnUntraced(function* (
  opener: MuxedConnection,
  arrival: (id: number) => Effect.Effect<MuxedStream>,
  random: Chance
) {
  const kind = random.pick(courses)
  yield* random.pause
  const near = yield* opener.openStream
  near.flush()
  if (kind === "nobody comes") {
    for (let times = random.below(20); times > 0; times -= 1) near.tryWrite(pattern(0, random.size()))
    yield* random.pause
    return near.reset(kind)
  }
  const far = yield* arrival(near.id)
  if (kind === "not read") {
    far.closeRead()
    yield* restless(writing(near, new Way(random), random), random)
    return far.reset(kind)
  }
  if (kind === "whole") return yield* goesWhole(near, far, random)
  const exchanging = yield* Effect.forkChild(exchange(near, far, [new Way(random), new Way(random)], random))
  yield* random.pauses(40)
  if (kind === "reset by its opener") near.reset(kind)
  else far.reset(kind)
  yield* Fiber.join(exchanging)
})

/** Streams of both ends, each on its course. */
const traffic = Effect.fnUntraced(function* ({ ends }: Muxed, random: Chance) {
  const arrivals = ends.map(() => new Map<number, Deferred.Deferred<MuxedStream>>())
  const arrival = (end: number, id: number): Deferred.Deferred<MuxedStream> => {
    const made = arrivals[end]?.get(id) ?? Deferred.makeUnsafe<MuxedStream>()
    arrivals[end]?.set(id, made)
    return made
  }
  for (const [end, { acceptStream }] of ends.entries()) {
    const accepted = Effect.map(acceptStream, (stream) =>
      Deferred.doneUnsafe(arrival(end, stream.id), Effect.succeed(stream))
    )
    yield* Effect.forkChild(Effect.ignore(Effect.forever(accepted)))
  }
  yield* Effect.all(
    Array.from({ length: 1 + random.below(8) }, () => {
      const end = random.below(2)
      return course(ends[end === 0 ? 0 : 1], (id) => Deferred.await(arrival(1 - end, id)), random)
    }),
    { concurrency: "unbounded" }
  )
})

const muxers: ReadonlyArray<readonly [string, Muxer]> = [
  ["Yamux", (random) => Yamux.make({ outputHighWater: 1 + random.below(200_000) })],
  ["Mplex", (random) => Mplex.make({ outputHighWater: 1 + random.below(200_000) })]
]

const carriers: ReadonlyArray<readonly [string, Pair]> = [
  ["a raw stream", raw],
  ["a secured stream", secured]
]

for (const [name, protocol] of muxers) {
  for (const [under, pair] of carriers) {
    describe(`${name} over ${under} in a storm`, () => {
      inWorlds(`${name} over ${under}: streams go whole whatever becomes of the others`, (random) =>
        Effect.gen(function* () {
          const connection = yield* muxed(protocol, pair, random, Number.POSITIVE_INFINITY)
          yield* traffic(connection, random)
          // Longer than a stream may linger, and not at the moment of a keep-alive.
          yield* Effect.sleep("135 seconds")
          connection.nothingIsLeft()
        })
      )

      inWorlds(`${name} over ${under}: what ends the connection ends all, and nothing is held`, (random) =>
        Effect.gen(function* () {
          const connection = yield* muxed(protocol, pair, random, random.pick([1e9, 20_000, 1000]))
          const going = yield* Effect.forkChild(Effect.exit(traffic(connection, random)))
          yield* random.pauses(60)
          const { ends, raw } = connection
          const how = random.below(4)
          if (how === 0) random.pick(raw).reset("cut")
          else if (how === 1) yield* Effect.ignore(random.pick(raw).closeWrite)
          else yield* random.pick(ends).close
          yield* Effect.all(
            ends.map(({ awaitClosed }) => awaitClosed),
            { concurrency: "unbounded" }
          )
          connection.nothingIsLeft()
          yield* Fiber.interrupt(going)
        })
      )
    })
  }
}
