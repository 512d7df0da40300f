/**
 * The BlockList layer, which is also the node's connection gater, and the layer
 * that disconnects what is blocked.
 *
 * ```
 * BlockList.layerDisconnect      asks for Swarm and BlockList
 *        │
 *      Swarm ── asks the gater at each stage of a connection
 *        │
 * BlockList.layer(…)             gives BlockList and ConnectionGater
 * ```
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Context from "effect/Context"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import * as Subnet from "../../data/Subnet.ts"
import { BlockList } from "../../services/BlockList.ts"
import { ConnectionGater } from "../../services/ConnectionGater.ts"
import { Swarm } from "../../services/Swarm.ts"
import { BlockEntries } from "./core/Entries.ts"

export { BlockList } from "../../services/BlockList.ts"

export interface Options {
  /** Peer ids. */
  readonly peers?: ReadonlyArray<string> | undefined
  /** Networks or addresses that are blocked. */
  readonly subnets?: ReadonlyArray<string> | undefined
  /** Networks that are allowed although a larger one is blocked. */
  readonly allowed?: ReadonlyArray<string> | undefined
}

/** An entry that the list starts with cannot be read. */
export const BlockListError = Schema.Union([PeerId.PeerIdError, Subnet.SubnetError])
export type BlockListError = typeof BlockListError.Type

const make = Effect.fnUntraced(function* (options?: Options) {
  const entries = new BlockEntries()
  const swarms = new Set<Swarm["Service"]>()
  for (const text of options?.peers ?? []) entries.setPeer(yield* Effect.fromResult(PeerId.fromString(text)), true)
  const set = (text: string, blocked: boolean | undefined) =>
    Effect.map(Effect.fromResult(Subnet.fromString(text)), (subnet) => entries.setSubnet(subnet, blocked))
  for (const text of options?.subnets ?? []) yield* set(text, true)
  for (const text of options?.allowed ?? []) yield* set(text, false)

  /** Closes all that is blocked now; each close is bounded in time. */
  const closeBlocked = Effect.suspend(() =>
    Effect.forEach(
      [...swarms],
      (swarm) =>
        Effect.flatMap(swarm.connections(), (connections) =>
          Effect.forEach(
            connections.filter((one) => entries.reason(one.remotePeer, one.remoteAddress) !== undefined),
            (connection) => connection.close,
            { concurrency: "unbounded", discard: true }
          )
        ),
      { discard: true }
    )
  )

  const list = BlockList.of({
    blockPeer: (peer, options) =>
      Effect.suspend(() => {
        entries.setPeer(peer, true)
        return options?.disconnect === false ? Effect.void : closeBlocked
      }),
    unblockPeer: (peer) => Effect.sync(() => entries.setPeer(peer, false)),
    blockSubnet: (subnet, options) =>
      Effect.andThen(set(subnet, true), options?.disconnect === false ? Effect.void : closeBlocked),
    allowSubnet: (subnet) => set(subnet, false),
    removeSubnet: (subnet) => set(subnet, undefined),
    entries: Effect.sync(() => entries.list()),
    reason: (peer, address) => entries.reason(peer, address),
    closeIn: (swarm) =>
      Effect.acquireRelease(
        Effect.sync(() => void swarms.add(swarm)),
        () => Effect.sync(() => void swarms.delete(swarm))
      ).pipe(
        // One that the gater had let through, and that was no connection yet when its peer was blocked.
        Effect.andThen(
          swarm.forEachConnection((one) =>
            Effect.suspend(() =>
              entries.reason(one.remotePeer, one.remoteAddress) === undefined ? Effect.void : one.close
            )
          )
        )
      )
  })

  // A gater that is there already is asked after this one.
  const next = yield* ConnectionGater
  const ask = (peer: PeerId.PeerId | undefined, address: Multiaddr | undefined) =>
    Effect.suspend(() => {
      const reason = entries.reason(peer, address)
      return reason === undefined ? Effect.void : Effect.fail(reason)
    })
  const gater: ConnectionGater = {
    dialPeer: (peer) => Effect.flatMap(ask(peer, undefined), () => next.dialPeer?.(peer) ?? Effect.void),
    dialAddress: (peer, address) =>
      Effect.flatMap(ask(peer, address), () => next.dialAddress?.(peer, address) ?? Effect.void),
    accept: (remote) => Effect.flatMap(ask(undefined, remote), () => next.accept?.(remote) ?? Effect.void),
    secured: (one) => Effect.flatMap(ask(one.remotePeer, one.remoteAddress), () => next.secured?.(one) ?? Effect.void),
    // Again: it may have been blocked during the handshake.
    upgraded: (one) => Effect.flatMap(ask(one.remotePeer, one.remoteAddress), () => next.upgraded?.(one) ?? Effect.void)
  }
  return Context.make(BlockList, list).pipe(Context.add(ConnectionGater, gater))
})

/**
 * A block list with these entries to begin with, and the gater that refuses what
 * is on it, which must be below the swarm:
 *
 * ```
 * BlockList.layerDisconnect.pipe(
 *   Layer.provideMerge(Libp2p.layerDefault({ listen })),
 *   Layer.provideMerge(BlockList.layer({ subnets: ["203.0.113.0/24"] }))
 * )
 * ```
 *
 * A gater provided to this layer is asked too. Fails when an entry cannot be read.
 */
export const layer = (options?: Options): Layer.Layer<BlockList, BlockListError> => Layer.effectContext(make(options))

/** Blocking closes the connections of this swarm. */
export const layerDisconnect: Layer.Layer<never, never, BlockList | Swarm> = Layer.effectDiscard(
  Effect.gen(function* () {
    const list = yield* BlockList
    yield* list.closeIn(yield* Swarm)
  })
)
