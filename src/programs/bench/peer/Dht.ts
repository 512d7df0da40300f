/**
 * Nodes of a DHT in one process, for the benchmarks of it: what bench/README.md
 * says of the commands that begin with `dht`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bytes from "../../../data/Bytes.ts"
import * as Generated from "../../../layers/identity/Generated.ts"
import * as KadRecordStore from "../../../layers/kad/KadRecordStore.ts"
import * as KadRouting from "../../../layers/kad/KadRouting.ts"
import * as Libp2p from "../../../layers/Libp2p.ts"
import * as MemoryPeerStore from "../../../layers/peerstore/MemoryPeerStore.ts"
import * as MemoryRecordStore from "../../../layers/records/MemoryRecordStore.ts"
import { Kad } from "../../../services/Kad.ts"
import { PeerRouting } from "../../../services/PeerRouting.ts"
import { RecordStore } from "../../../services/RecordStore.ts"
import * as RecordValidators from "../../../services/RecordValidators.ts"
import { Swarm } from "../../../services/Swarm.ts"
import * as Node from "./Node.ts"

const k = 20
const alpha = 10

/** Values under /bench/ are good as they are. */
const rules = RecordValidators.layer({ bench: { validate: () => undefined, select: () => 0 } })

/** Of the local DHT, in server mode, with what js-libp2p's needs: identify and ping. */
const layer = KadRecordStore.layer().pipe(
  Layer.provideMerge(
    KadRouting.layer({ wan: false, mode: "server", k, alpha, paths: 1, records: MemoryRecordStore.make() })
  ),
  Layer.provideMerge(Libp2p.layer({ listen: ["/ip4/127.0.0.1/tcp/0"], limits: Node.limits })),
  Layer.provideMerge(Layer.mergeAll(Libp2p.layerTcp, MemoryPeerStore.layer())),
  Layer.provideMerge(Generated.layer),
  Layer.provideMerge(Libp2p.layerNode),
  Layer.provide(rules)
)

const bytes = (length: number) =>
  Effect.map(Random.Random, (random) => {
    const made = new Uint8Array(length)
    for (let i = 0; i < length; i++) made[i] = Math.floor(random.nextDoubleUnsafe() * 256)
    return made
  })

/** One after the other, at least one. */
const repeat = <E, R>(seconds: number, once: Effect.Effect<unknown, E, R>) =>
  Effect.gen(function* () {
    const started = performance.now()
    let count = 0
    do {
      yield* once
      count++
    } while (performance.now() < started + seconds * 1000)
    return { count, seconds: (performance.now() - started) / 1000 }
  })

export interface Options {
  readonly count: number
  readonly seconds: number
  readonly size: number
}

export type Network = ReturnType<typeof make>

/** The commands; the nodes end with the scope. */
export const make = (lasting: Scope.Scope) => {
  type Made = Context.Context<Layer.Success<typeof layer>>
  let nodes: ReadonlyArray<Made> = []
  let scope: Scope.Closeable | undefined
  /** Peers that each node must have in its table, and find. In small networks, half of them: nobody waits for the last. */
  let wanted = 0
  let turn = 0
  const keys: Array<Uint8Array> = []

  const next = Effect.suspend(() => {
    const node = nodes[turn++ % nodes.length]
    return node === undefined
      ? Effect.fail(new Node.PeerFailure({ detail: "there is no network" }))
      : Effect.succeed(node)
  })

  /** It has looked itself up, which it does when it knows the first peer, and has so many peers in its table. */
  const joined = (node: Made, peers: number): Effect.Effect<void> =>
    Effect.flatMap(Context.get(node, Kad).status, (all) =>
      all.every((dht) => dht.counters.refreshed > 0 && dht.peers >= peers)
        ? Effect.void
        : Effect.andThen(Effect.sleep("50 millis"), joined(node, peers))
    )

  /** Gives how many of the closest peers it found. */
  const lookUp = (node: Made, key: Uint8Array) =>
    Effect.map(Stream.runLast(Context.get(node, PeerRouting).closestPeers(key)), (last) =>
      last._tag === "Some" ? last.value.closest.length : 0
    )

  return {
    "dht-join": ({ count }: Options) =>
      Effect.gen(function* () {
        if (scope !== undefined) yield* Scope.close(scope, Exit.void)
        keys.length = 0
        wanted = Math.min(k, Math.floor((count - 1) / 2))
        const own = yield* Scope.fork(lasting)
        scope = own
        nodes = yield* Effect.forEach(Array.from({ length: count }), () =>
          Layer.buildWithMemoMap(layer, Layer.makeMemoMapUnsafe(), own)
        )
        const [first, ...others] = nodes
        if (first === undefined) return { count: 0, seconds: 0 }
        const entrance = {
          peer: Context.get(first, Swarm).peerId,
          addresses: yield* Context.get(first, Swarm).listenAddresses
        }
        const started = performance.now()
        for (const node of others) yield* Context.get(node, Swarm).dial(entrance)
        yield* Effect.forEach(nodes, (node) => joined(node, wanted), { discard: true })
        return { count, seconds: (performance.now() - started) / 1000 }
      }),

    "dht-put": ({ seconds, size }: Options) =>
      repeat(
        seconds,
        Effect.gen(function* () {
          const node = yield* next
          const key = Bytes.fromUtf8(`/bench/${Bytes.toHex(yield* bytes(16))}`)
          yield* Context.get(node, RecordStore).put(key, yield* bytes(size))
          keys.push(key)
        })
      ),

    "dht-get": ({ seconds }: Options) =>
      repeat(
        seconds,
        Effect.gen(function* () {
          const node = yield* next
          const key = keys[turn % keys.length]
          if (key === undefined) return yield* new Node.PeerFailure({ detail: "nothing was put" })
          return yield* Context.get(node, RecordStore).get(key)
        })
      ),

    "dht-lookup": ({ seconds }: Options) =>
      repeat(
        seconds,
        Effect.gen(function* () {
          const found = yield* lookUp(yield* next, yield* bytes(32))
          if (found < wanted) {
            return yield* new Node.PeerFailure({ detail: `only ${found} peers were found` })
          }
        })
      )
  }
}
