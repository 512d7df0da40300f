/** Whole nodes with a DHT, in virtual time. */
import { assert } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Kad from "../../../src/data/messages/Kad.ts"
import type { Multiaddr } from "../../../src/data/Multiaddr.ts"
import * as KadRecordStore from "../../../src/layers/kad/KadRecordStore.ts"
import * as KadRouting from "../../../src/layers/kad/KadRouting.ts"
import * as MemoryRecordStore from "../../../src/layers/records/MemoryRecordStore.ts"
import { wholeNode } from "../../../src/layers/simulation/Nodes.ts"
import type { NodeInfo, SimNode } from "../../../src/layers/simulation/SimNode.ts"
import { ContentRouting } from "../../../src/services/ContentRouting.ts"
import { Kad as KadService } from "../../../src/services/Kad.ts"
import { PeerRouting, type RoutedPeer } from "../../../src/services/PeerRouting.ts"
import { byteMessages, type ProtocolStream } from "../../../src/services/ProtocolStream.ts"
import { RecordStore } from "../../../src/services/RecordStore.ts"
import * as RecordValidators from "../../../src/services/RecordValidators.ts"
import { Swarm } from "../../../src/services/Swarm.ts"
import { serving as serve } from "../../support/serving.ts"

/** Records under `/v/`: valid if they begin with `ok`; the longest is best. */
const validators = RecordValidators.layer({
  v: {
    validate: (_, value) => (Buffer.from(value).toString().startsWith("ok") ? undefined : "it is not ok"),
    select: (_, values) => values.reduce((best, value, i) => (value.length > (values[best]?.length ?? 0) ? i : best), 0)
  }
})

/** A whole node in the local DHT, with a record store over it. */
export const kadNode =
  (options: KadRouting.Options | ((node: NodeInfo) => KadRouting.Options) = {}, store?: KadRecordStore.Options) =>
  (node: NodeInfo) =>
    KadRecordStore.layer(store).pipe(
      Layer.provideMerge(
        KadRouting.layer({
          wan: false,
          records: MemoryRecordStore.make(),
          ...(typeof options === "function" ? options(node) : options)
        })
      ),
      Layer.provideMerge(wholeNode(node)),
      Layer.provide(validators)
    )
export type KadNode = SimNode<Layer.Success<ReturnType<ReturnType<typeof kadNode>>>>

export const at = (nodes: ReadonlyArray<KadNode>, index: number): KadNode =>
  nodes[index] ?? assert.fail(`no node ${index}`)

export const placeOf = (
  node: KadNode
): { readonly peer: KadNode["peerId"]; readonly addresses: ReadonlyArray<Multiaddr> } => ({
  peer: node.peerId,
  addresses: node.addresses()
})

/** Every node meets the first, and some time passes. */
export const join = (nodes: ReadonlyArray<KadNode>) =>
  Effect.gen(function* () {
    const [first, ...others] = nodes
    if (first === undefined) return
    yield* Effect.forEach(others, (node) => node.run(Effect.flatMap(Swarm, (swarm) => swarm.dial(placeOf(first)))), {
      concurrency: 5,
      discard: true
    })
    yield* Effect.sleep("2 minutes")
  })

export const findPeer = (from: KadNode, peer: KadNode["peerId"]) =>
  from.run(Effect.flatMap(PeerRouting, (routing) => routing.findPeer(peer)))

export const content = <A, E>(on: KadNode, use: (routing: ContentRouting["Service"]) => Effect.Effect<A, E>) =>
  on.run(Effect.flatMap(ContentRouting, use))

export const records = <A, E>(on: KadNode, use: (store: RecordStore["Service"]) => Effect.Effect<A, E>) =>
  on.run(Effect.flatMap(RecordStore, use))

/** Serves the protocol of the local DHT on a node that is a client, as it pleases. */
export const serving = (node: KadNode, handler: (stream: ProtocolStream) => Effect.Effect<unknown, unknown>) =>
  serve(node, lan, handler)
export const lan = "/ipfs/lan/kad/1.0.0"

/** Answers each question by a function of it. */
export const answering =
  (answer: (question: Kad.Kad, stream: ProtocolStream) => Kad.Kad) =>
  (stream: ProtocolStream): Effect.Effect<void, unknown> =>
    Effect.gen(function* () {
      const { read, write } = byteMessages(stream)
      for (let bytes = yield* read; bytes !== null; bytes = yield* read) {
        yield* write(Kad.encode(answer(yield* Effect.fromResult(Kad.decode(bytes)), stream)))
      }
    })

export const statusOf = (on: KadNode) =>
  on.run(
    Effect.gen(function* () {
      const [status] = yield* (yield* KadService).status
      return status ?? assert.fail("no DHT")
    })
  )

export const idsOf = (peers: ReadonlyArray<RoutedPeer>): ReadonlyArray<string> =>
  peers.map(({ peer }) => peer.toString())
