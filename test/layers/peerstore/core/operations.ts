/** Random operations, applied to a store through its service. */
import { Effect, Schema } from "effect"
import * as Bytes from "../../../../src/data/Bytes.ts"
import * as PeerId from "../../../../src/data/PeerId.ts"
import type { Identity } from "../../../../src/services/Identity.ts"
import type { PeerStore, PeerStoreError } from "../../../../src/services/PeerStore.ts"
import { addressesAt, recordOf, someone } from "../../../../src/conformance/PeerStore.ts"
import { type Op, recordPorts, type Snapshot, tagOf } from "./model.ts"

const peerCount = 5
const sequences = 8

const between = (low: number, high: number) => Schema.Int.check(Schema.isBetween({ minimum: low, maximum: high }))

export const operation: Schema.Codec<Op> = Schema.Struct({
  peer: between(0, peerCount - 1),
  kind: Schema.Literals([
    "proven",
    "claimed",
    "record",
    "remove",
    "protocols",
    "tag",
    "untag",
    "metadata",
    "forget",
    "wait"
  ]),
  ports: Schema.Array(between(1, 7)).check(Schema.isMaxLength(4)),
  // Few values, so that things end at the same time as others.
  time: Schema.Literals([0, 1, 10, 20, 40, 80]),
  value: between(-1, sequences - 1),
  shape: Schema.Literals(["none", "linear", "exponential"])
})

/** Those who sign, and what they sign; made once. */
export interface Cast {
  readonly peers: ReadonlyArray<Identity["Service"]>
  readonly records: ReadonlyArray<ReadonlyArray<Uint8Array>>
}

export const cast: Cast = Effect.runSync(
  Effect.gen(function* () {
    const peers = yield* Effect.forEach(Array.from({ length: peerCount }), (_, i) => someone(40 + i))
    const records = yield* Effect.forEach(peers, (identity) =>
      Effect.forEach(Array.from({ length: sequences }), (_, sequence) =>
        recordOf(identity, BigInt(sequence), addressesAt(...recordPorts(sequence)))
      )
    )
    return { peers, records }
  })
)

/** An operation that the model knows, too. Records have no negative number, and tags no zero that never ends. */
export const normal = (op: Op): Op => ({
  ...op,
  ports: [...new Set(op.ports)],
  value: op.kind === "record" ? Math.max(0, op.value) : op.value
})

const peerAt = ({ peers }: Cast, index: number): Identity["Service"] => {
  const found = peers[index]
  if (found === undefined) throw new Error(`there is no peer ${index}`)
  return found
}

/** Applies an operation; time is the caller's. Gives what one of a record gives. Limits that are met are part of the game. */
export const apply = (
  store: PeerStore["Service"],
  all: Cast,
  op: Op
): Effect.Effect<boolean | undefined, PeerStoreError> => {
  const { peerId } = peerAt(all, op.peer)
  return op.kind === "record"
    ? store.addRecord(peerId, all.records[op.peer]?.[op.value] ?? new Uint8Array(0), op.time)
    : Effect.as(change(store, peerId, op), undefined)
}

const change = (store: PeerStore["Service"], peer: PeerId.PeerId, op: Op): Effect.Effect<void, PeerStoreError> => {
  const addresses = addressesAt(...op.ports)
  switch (op.kind) {
    case "proven":
    case "claimed":
      return store.addAddresses(peer, addresses, op.kind, op.time)
    case "remove":
      return store.removeAddresses(peer, addresses)
    case "protocols":
      return store.setProtocols(
        peer,
        op.ports.map((port) => `/${port}`)
      )
    case "tag":
      return Effect.catchIf(
        store.setTag(peer, `${op.ports.length}`, tagOf(op)),
        (error) => error.reason._tag === "PeerStoreLimit",
        () => Effect.void
      )
    case "untag":
      return store.setTag(peer, `${op.ports.length}`, undefined)
    case "metadata":
      return store.setMetadata(peer, `${op.ports.length}`, Bytes.fromUtf8(`${op.value}`))
    case "forget":
      return store.forget(peer)
    case "record":
    case "wait":
      return Effect.void
  }
}

/** Everything that a store knows, in the shape of the model. */
export const snapshot = (store: PeerStore["Service"], all: Cast) =>
  Effect.gen(function* () {
    const found: Array<Snapshot> = []
    for (const peer of yield* store.peers()) {
      const info = yield* store.get(peer)
      if (info === undefined) throw new Error("a peer is listed of which nothing is known")
      found.push({
        peer: all.peers.findIndex(({ peerId }) => PeerId.equals(peerId, peer)),
        addresses: info.addresses.map(
          ({ address, confidence, expiresAt }) => `${address.components[1]?.value} ${confidence} ${expiresAt}`
        ),
        protocols: info.protocols,
        tags: Object.entries(info.tags)
          .map(([name, value]) => `${name}=${value.toFixed(6)}`)
          .toSorted(),
        metadata: Object.entries(info.metadata)
          .map(([name, value]) => `${name}=${Bytes.toUtf8(value)}`)
          .toSorted(),
        sequence: info.recordSequence === undefined ? undefined : Number(info.recordSequence)
      })
    }
    return found
  })
