/**
 * The kad-dht test of libp2p as a program: bootstrap, provider or querier, that
 * find each other in Redis. The querier prints `status: pass`, or what went
 * wrong and `status: fail`, to standard output, and exits with 0 when it has
 * passed; the others run until they are stopped. All else goes to standard error.
 *
 *   ROLE=bootstrap REDIS_ADDR=localhost:6379 TEST_KEY=a5b50d5e node src/programs/interop/kad.ts
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Redis from "effect/persistence/Redis"
import process from "node:process"
import * as Multiaddr from "../../data/Multiaddr.ts"
import * as Libp2p from "../../layers/Libp2p.ts"
import { Swarm } from "../../services/Swarm.ts"
import { readKad } from "./Environment.ts"
import * as KadRoles from "./KadRoles.ts"

const Text = Schema.NullOr(Schema.String)

const run = Effect.fnUntraced(function* (role: KadRoles.Role, testKey: string, timeout: Duration.Duration) {
  const redis = yield* Redis.Redis
  const swarm = yield* Swarm
  const listening = yield* swarm.listenAddresses
  // The others are on other hosts, as a rule.
  const address = listening.find((one) => !Multiaddr.isLoopback(one)) ?? listening[0]
  if (address === undefined) {
    return yield* new KadRoles.RoleFailed({ detail: "this machine has no address to listen on" })
  }
  const text = Multiaddr.withPeer(address, swarm.peerId).toString()
  yield* Effect.logInfo(`${role} at ${text}`)
  const board = {
    set: (key: string, value: string) => Effect.asVoid(redis.send("SET", key, value)),
    get: (key: string) =>
      Effect.map(
        Effect.flatMap(redis.send("GET", key), Schema.decodeUnknownEffect(Text)),
        (value) => value ?? undefined
      )
  }
  yield* KadRoles.play(role, board, testKey, text).pipe(
    Effect.timeoutOrElse({
      duration: timeout,
      orElse: () => Effect.fail(new KadRoles.RoleFailed({ detail: `not done within ${Duration.toSeconds(timeout)} s` }))
    })
  )
  if (role === "querier") process.stdout.write("status: pass\n")
  else return yield* Effect.never
})

const program = Effect.gen(function* () {
  const { ip, redis, role, testKey, timeout } = yield* readKad(process.env)
  const node = KadRoles.layer(role).pipe(
    Layer.provideMerge(Libp2p.layerDefault({ listen: [`/${ip.includes(":") ? "ip6" : "ip4"}/${ip}/tcp/0`] }))
  )
  yield* run(role, testKey, timeout).pipe(Effect.provide(Layer.merge(node, NodeRedis.layer({ socket: redis }))))
})

const onStderr = Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])

/** One line, whatever the message has in it. */
const fail = (error: { readonly message: string }) =>
  Effect.sync(() => void process.stdout.write(`error: ${error.message.replace(/\s+/g, " ")}\nstatus: fail\n`))

NodeRuntime.runMain(
  program.pipe(
    Effect.tapError(fail),
    Effect.tapCause((cause) => Effect.logError("the test has failed", cause)),
    Effect.provide(onStderr)
  ),
  { disableErrorReporting: true }
)
