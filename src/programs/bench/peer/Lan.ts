/**
 * Nodes of one local network in one process, for the benchmarks of it: what
 * bench/README.md says of the commands that begin with `lan`.
 */
import * as dgram from "node:dgram"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Generated from "../../../layers/identity/Generated.ts"
import * as Libp2p from "../../../layers/Libp2p.ts"
import * as MdnsNetwork from "../../../layers/mdns/MdnsNetwork.ts"
import * as MemoryPeerStore from "../../../layers/peerstore/MemoryPeerStore.ts"
import { LocalNetwork } from "../../../services/LocalNetwork.ts"
import * as Node from "./Node.ts"

const layer = MdnsNetwork.layer({ service: "bench" }).pipe(
  Layer.provideMerge(Libp2p.layer({ listen: ["/ip4/0.0.0.0/tcp/0"], limits: Node.limits })),
  Layer.provideMerge(Layer.mergeAll(Libp2p.layerTcp, MemoryPeerStore.layer())),
  Layer.provideMerge(Generated.layer),
  Layer.provideMerge(Libp2p.layerNode)
)

/** Counts the datagrams that this process sends, whoever does. */
const countPackets = (): (() => number) => {
  let sent = 0
  const send: unknown = Reflect.get(dgram.Socket.prototype, "send")
  if (typeof send !== "function") return () => Number.NaN
  dgram.Socket.prototype.send = function (...args: ReadonlyArray<unknown>) {
    sent++
    Reflect.apply(send, this, args)
  }
  return () => sent
}

export type Network = ReturnType<typeof make>

/** The commands; the nodes end with the scope. */
export const make = (lasting: Scope.Scope) => {
  const packets = countPackets()

  const knows = (node: Context.Context<LocalNetwork>, others: number): Effect.Effect<void> =>
    Effect.flatMap(Context.get(node, LocalNetwork).peers, (peers) =>
      peers.length >= others ? Effect.void : Effect.andThen(Effect.sleep("10 millis"), knows(node, others))
    )

  return {
    "lan-discover": ({ count }: { readonly count: number }) =>
      Effect.gen(function* () {
        const started = performance.now()
        const nodes = yield* Effect.forEach(
          Array.from({ length: count }),
          () => Layer.buildWithMemoMap(layer, Layer.makeMemoMapUnsafe(), lasting),
          { concurrency: "unbounded" }
        )
        yield* Effect.forEach(nodes, (node) => knows(node, count - 1), { discard: true })
        return { count, seconds: (performance.now() - started) / 1000 }
      }),

    "lan-packets": ({ seconds }: { readonly seconds: number }) =>
      Effect.gen(function* () {
        const before = packets()
        yield* Effect.sleep(seconds * 1000)
        return { count: packets() - before, seconds }
      })
  }
}
