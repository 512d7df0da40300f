/** Nodes in virtual time, for tests of identify. */
import { assert } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Stream } from "effect"
import * as LengthPrefix from "../../../src/data/LengthPrefix.ts"
import * as Message from "../../../src/data/messages/Identify.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import type * as IdentifyLayer from "../../../src/layers/identify/Identify.ts"
import * as IdentityFromSeed from "../../../src/layers/identity/FromSeed.ts"
import * as Libp2p from "../../../src/layers/Libp2p.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import type { NodeInfo, SimNode } from "../../../src/layers/simulation/SimNode.ts"
import { Identify, type IdentifyEvent, pushProtocol } from "../../../src/services/Identify.ts"
import { Identity } from "../../../src/services/Identity.ts"
import { type Connection, Swarm } from "../../../src/services/Swarm.ts"

/** A whole node on TCP port 4001. */
export const layer = (options?: IdentifyLayer.Options) => (_node: NodeInfo) =>
  Libp2p.layer({ listen: ["/ip4/0.0.0.0/tcp/4001"], identify: options }).pipe(
    Layer.provide(Libp2p.layerTcp),
    Layer.provideMerge(MemoryPeerStore.layer())
  )

type Services = Layer.Success<ReturnType<ReturnType<typeof layer>>>
export type Node = SimNode<Services>

export const at = (nodes: ReadonlyArray<Node>, index: number): Node => nodes[index] ?? assert.fail(`no node ${index}`)

/** Connects one node with another, and waits until each has identified the other. */
export const meet = (from: Node, to: Node) =>
  Effect.gen(function* () {
    const connection = yield* from.run(
      Effect.gen(function* () {
        const swarm = yield* Swarm
        const connection = yield* swarm.dial({ peer: to.peerId, addresses: to.addresses() })
        yield* (yield* Identify).identified(connection)
        return connection
      })
    )
    yield* to.run(
      Effect.gen(function* () {
        const identify = yield* Identify
        for (const one of yield* (yield* Swarm).connections(from.peerId)) yield* identify.identified(one)
      })
    )
    yield* Effect.sleep(100)
    return connection
  })

/** What `on` is told from now on, as it comes. */
export const listenTo = (on: Node) =>
  Effect.gen(function* () {
    const heard: Array<IdentifyEvent> = []
    const fiber = yield* Effect.forkChild(
      on.run(
        Effect.flatMap(Identify, ({ events }) =>
          Stream.runForEach(events, (event) => Effect.sync(() => void heard.push(event)))
        )
      )
    )
    yield* Effect.sleep(1)
    return { heard, stop: Fiber.interrupt(fiber) }
  })

/** Pushes what is no message of identify, or one made by hand. */
export const pushRaw = (connection: Connection, bytes: Uint8Array) =>
  Effect.scoped(Effect.flatMap(connection.openStream(pushProtocol), (stream) => stream.write(bytes)))

export const pushMessage = (connection: Connection, fields: Partial<Message.Identify>) =>
  pushRaw(connection, LengthPrefix.encode(Message.encode({ listenAddrs: [], protocols: [], ...fields })))

export const tally = (events: ReadonlyArray<IdentifyEvent>): number => events.filter(({ pushed }) => pushed).length

/** The identity that a seed makes. */
export const identityOf = (seed: number): Identity["Service"] =>
  Context.get(
    Effect.runSync(
      Effect.scoped(Layer.build(Layer.provide(IdentityFromSeed.layer(new Uint8Array(32).fill(seed)), NodeCrypto.layer)))
    ),
    Identity
  )
