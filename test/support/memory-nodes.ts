/** Nodes on a network in memory, in virtual time if the test is. */
import { Context, Effect, Layer, type Scope, Stream } from "effect"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import * as MemoryNet from "../../src/layers/net/MemoryNet.ts"
import { Net } from "../../src/services/Net.ts"
import type { SwarmEvent } from "../../src/services/Swarm.ts"
import { type NodeOptions, silent, startNode, type TestNode } from "./nodes.ts"

export const listen = ["/ip4/0.0.0.0/tcp/4001"]

/** The TCP address of a host. */
export const at = (host: string): Multiaddr.Multiaddr => Multiaddr.fromStringUnsafe(`/ip4/${host}/tcp/4001`)

export const run = <A, E>(test: Effect.Effect<A, E, Scope.Scope>) => test.pipe(Effect.scoped, Effect.provide(silent))

type Options = Omit<NodeOptions, "net" | "seed">

/** `a` at 10.0.1.1 and `b` at 10.0.2.1, in subnets of their own, both listening. */
export const two = Effect.fnUntraced(function* (ofA: Options = {}, ofB: Options = {}) {
  const network = yield* MemoryNet.makeNetwork()
  const a = yield* startNode({ seed: 1, listen, ...ofA, net: network.host(["10.0.1.1"]) })
  const b = yield* startNode({ seed: 2, listen, ...ofB, net: network.host(["10.0.2.1"]) })
  return {
    network,
    a,
    b,
    atA: Multiaddr.withPeer(at("10.0.1.1"), a.swarm.peerId),
    atB: Multiaddr.withPeer(at("10.0.2.1"), b.swarm.peerId)
  }
})

/** The plain Net of a host, for peers that do not keep the rules. */
export const hostNet = (network: MemoryNet.Network, addresses: ReadonlyArray<string>) =>
  Effect.map(Layer.build(network.host(addresses)), (context) => Context.get(context, Net))

/** Ready to take the next event of a kind; join it for the event. */
export const nextEvent = <T extends SwarmEvent["_tag"]>(node: TestNode, tag: T) =>
  Effect.forkChild(
    node.swarm.events.pipe(
      Stream.filter((event): event is Extract<SwarmEvent, { readonly _tag: T }> => event._tag === tag),
      Stream.runHead,
      Effect.flatMap((event) => (event._tag === "Some" ? Effect.succeed(event.value) : Effect.die("the events ended")))
    ),
    { startImmediately: true }
  )

/** Lets every fiber go on until it waits for time to pass. */
export const turns = (count = 50) => Effect.repeat(Effect.yieldNow, { times: count })

/** What is in use, by scope and resource, for the rows of these scopes. */
export const inUse = (node: TestNode, scope: string) =>
  Effect.map(node.resources.usage, (rows) =>
    Object.fromEntries(rows.filter((row) => row.scope === scope).map((row) => [row.resource, row.current]))
  )
