/**
 * The transport test of libp2p as a program: a listener that says in Redis
 * where it is, or a dialer that finds it there, dials, pings once and prints
 * how long that took. Results go to standard output, all else to standard
 * error; it exits with 0 when the test has passed.
 *
 *   IS_DIALER=false REDIS_ADDR=localhost:6379 TEST_KEY=a5b50d5e TRANSPORT=tcp \
 *   SECURE_CHANNEL=noise MUXER=yamux node src/programs/interop/transport.ts
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Redis from "effect/persistence/Redis"
import process from "node:process"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as IdentityGenerated from "../../layers/identity/Generated.ts"
import * as Libp2p from "../../layers/Libp2p.ts"
import * as Mplex from "../../layers/muxer/Mplex.ts"
import * as Yamux from "../../layers/muxer/Yamux.ts"
import * as MemoryPeerStore from "../../layers/peerstore/MemoryPeerStore.ts"
import * as Noise from "../../layers/security/Noise.ts"
import * as Plaintext from "../../layers/security/Plaintext.ts"
import * as Tls from "../../layers/security/Tls.ts"
import * as Tcp from "../../layers/transport/Tcp.ts"
import * as ConnectionSecurity from "../../services/ConnectionSecurity.ts"
import { Ping } from "../../services/Ping.ts"
import * as StreamMuxer from "../../services/StreamMuxer.ts"
import { Swarm } from "../../services/Swarm.ts"
import { type Environment, read } from "./Environment.ts"

/** The other end did not do its part. */
class TestFailed extends Schema.TaggedError<TestFailed>()("TestFailed", { detail: Schema.String }) {
  override get message(): string {
    return this.detail
  }
}

const securities = { noise: Noise.make, tls: Tls.make, plaintext: Plaintext.make }
const muxers = { yamux: Yamux.make(), mplex: Mplex.make() }

/** A node with just what was asked for. */
const node = ({ ip, isDialer, muxer, security }: Environment) =>
  Libp2p.layer({ listen: isDialer ? [] : [`/${ip.includes(":") ? "ip6" : "ip4"}/${ip}/tcp/0`] }).pipe(
    Layer.provide(Tcp.layer),
    Layer.provide(ConnectionSecurity.layerPrefer([securities[security]])),
    Layer.provide(StreamMuxer.layerPrefer([muxers[muxer]])),
    Layer.provide(MemoryPeerStore.layer()),
    Layer.provideMerge(IdentityGenerated.layer),
    Layer.provideMerge(Libp2p.layerNode)
  )

const listener = Effect.fnUntraced(function* ({ addressKey }: Environment) {
  const swarm = yield* Swarm
  const redis = yield* Redis.Redis
  const addresses = yield* swarm.listenAddresses
  // The other end is on another host, as a rule.
  const address = addresses.find((candidate) => !Multiaddr.isLoopback(candidate)) ?? addresses[0]
  if (address === undefined) return yield* new TestFailed({ detail: "this machine has no address to listen on" })
  const text = Multiaddr.withPeer(address, swarm.peerId).toString()
  // What an earlier run has left there may be of another type.
  yield* redis.send("DEL", addressKey)
  yield* redis.send("RPUSH", addressKey, text)
  yield* Effect.logInfo(`listening on ${text}`)
  return yield* Effect.never
})

const Popped = Schema.Tuple([Schema.String, Schema.String])

const dialer = Effect.fnUntraced(function* ({ addressKey, form, timeout }: Environment) {
  const swarm = yield* Swarm
  const ping = yield* Ping
  const redis = yield* Redis.Redis
  const seconds = Math.max(1, Math.floor(Duration.toSeconds(timeout)))
  const popped = yield* redis.send("BLPOP", addressKey, String(seconds))
  if (popped === null) {
    return yield* new TestFailed({ detail: `no listener has put its address into ${addressKey} within ${seconds} s` })
  }
  const [, text] = yield* Schema.decodeUnknownEffect(Popped)(popped)
  const address = yield* Effect.fromResult(Multiaddr.fromString(text))
  yield* Effect.logInfo(`dialling ${text}`)

  const began = yield* Clock.monotonicTimeNanos
  const connection = yield* swarm.dial(address)
  const target = { peer: connection.remotePeer, addresses: [address] }
  const [pingMs] = yield* Stream.runCollect(ping.ping(target, { count: 1, interval: 0 }))
  const handshakeMs = Number((yield* Clock.monotonicTimeNanos) - began) / 1e6
  if (pingMs === undefined) return yield* new TestFailed({ detail: "the ping was not answered" })
  process.stdout.write(
    form === "legacy"
      ? // Three l, as the contract has it.
        `{"handshakePlusOneRTTMillis": ${handshakeMs.toFixed(3)}, "pingRTTMilllis": ${pingMs.toFixed(3)}}\n`
      : `latency:\n  handshake_plus_one_rtt: ${handshakeMs.toFixed(3)}\n  ping_rtt: ${pingMs.toFixed(3)}\n  unit: ms\n`
  )
})

const program = Effect.gen(function* () {
  const environment = yield* read(process.env)
  const { isDialer, redis, timeout } = environment
  const test = isDialer ? dialer(environment) : listener(environment)
  yield* Effect.scoped(test).pipe(
    Effect.provide(Layer.merge(node(environment), NodeRedis.layer({ socket: redis }))),
    Effect.timeoutOrElse({
      duration: timeout,
      orElse: () => Effect.fail(new TestFailed({ detail: `not done within ${Duration.toSeconds(timeout)} s` }))
    })
  )
})

const onStderr = Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])

NodeRuntime.runMain(
  Effect.tapCause(program, (cause) => Effect.logError("the test has failed", cause)).pipe(Effect.provide(onStderr)),
  { disableErrorReporting: true }
)
