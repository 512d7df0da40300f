/** What the tests of the pains share: two or three nodes in virtual time, as a user of the library has them. */
import { assert } from "@effect/vitest"
import { Clock, Effect, type Scope } from "effect"
import { Protocols, type ProtocolStream, Swarm } from "../../src/index.ts"
import type { SimNode } from "../../src/testing.ts"

/** Where a node is reached. */
export const at = (node: Pick<SimNode<never>, "peerId" | "addresses">) => ({
  peer: node.peerId,
  addresses: node.addresses()
})

/** A node of a simulation, by its number. */
export const nth = <N>(nodes: ReadonlyArray<N>, index: number): N => nodes[index] ?? assert.fail(`no node ${index}`)

/** Connects two nodes. */
export const dial = <R>(from: SimNode<R | Swarm.Swarm>, to: Pick<SimNode<never>, "peerId" | "addresses">) =>
  from.run(Effect.flatMap(Swarm.Swarm, (swarm) => swarm.dial(at(to))))

/** Does something on a node, such as to register handlers, and keeps it up until the node stops. */
export const keep = <A, E, R>(node: SimNode<R>, effect: Effect.Effect<A, E, Exclude<R, Scope.Scope> | Scope.Scope>) =>
  Effect.andThen(Effect.forkChild(node.run(Effect.scoped(Effect.andThen(effect, Effect.never)))), Effect.sleep(1))

/** Handles a protocol on a node until it stops. */
export const handle = <R>(
  node: SimNode<R | Protocols.Protocols>,
  protocol: string,
  handler: (stream: ProtocolStream.ProtocolStream) => Effect.Effect<unknown, unknown>
) =>
  keep<void, unknown, R | Protocols.Protocols>(
    node,
    Effect.flatMap(Protocols.Protocols, (protocols) =>
      protocols.handle(protocol, (stream) => Effect.asVoid(handler(stream)))
    )
  )

/** Everything that the remote writes. */
export const readAll = (stream: ProtocolStream.ProtocolStream) =>
  Effect.gen(function* () {
    const batches: Array<Uint8Array> = []
    for (let batch = yield* stream.read; batch !== null; batch = yield* stream.read) batches.push(batch)
    return new Uint8Array(Buffer.concat(batches))
  })

/** Bytes that are told apart by where they are. */
export { pattern as bytes } from "../../src/conformance/ConnectionSecurity.ts"

/** The tag of the reason that an effect fails with; it must fail. */
export const reasonOf = <E extends { readonly reason: { readonly _tag: string } }, R>(
  effect: Effect.Effect<unknown, E, R>
) => Effect.map(Effect.flip(effect), (error) => error.reason._tag)

/** What came of an effect, and how many milliseconds it took. */
export const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const from = yield* Clock.currentTimeMillis
    const result = yield* Effect.result(effect)
    return { result, ms: (yield* Clock.currentTimeMillis) - from }
  })
