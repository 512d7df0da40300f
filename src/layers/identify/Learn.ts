/** Keeps in the PeerStore what a peer told. */
import { Effect } from "effect"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { IdentifyInfo } from "../../services/Identify.ts"
import type { PeerStore, PeerStoreError } from "../../services/PeerStore.ts"
import type { Connection } from "../../services/Swarm.ts"
import { reachOf, shared } from "./Announcement.ts"
import type { Told } from "./Interpret.ts"

type Whom = Pick<Connection, "remotePeer" | "remoteAddress">

/** A store that fails is no fault of the peer: what it told holds for this connection all the same. */
const logged = (doing: Effect.Effect<unknown, PeerStoreError>): Effect.Effect<void> =>
  doing.pipe(
    Effect.asVoid,
    Effect.catch((error) =>
      error.reason._tag === "StorageFailed" ? Effect.logWarning(error.message) : Effect.logDebug(error.message)
    )
  )

/**
 * Addresses that mean something else at this end are not kept, signed or not:
 * the loopback address of a peer elsewhere would be one of this machine.
 */
const addresses = (store: PeerStore["Service"], connection: Whom, told: Told) =>
  Effect.gen(function* () {
    const peer = connection.remotePeer
    const near = shared(told.listenAddresses, reachOf(connection.remoteAddress))
    const fresh = told.record !== undefined && (yield* store.addRecord(peer, told.record.envelope))
    if (!fresh || told.record.addresses.length === 0) return yield* store.addAddresses(peer, near, "claimed")
    if (near.length === told.listenAddresses.length) return
    const far = new Set(told.listenAddresses.filter((address) => !near.includes(address)).map(bare))
    const held = yield* store.get(peer)
    yield* store.removeAddresses(
      peer,
      (held?.addresses ?? []).flatMap(({ address, confidence }) =>
        confidence === "certified" && far.has(bare(address)) ? [address] : []
      )
    )
  })

/** As the store holds it. */
const bare = (address: Multiaddr.Multiaddr): string => Multiaddr.withoutPeer(address)?.toString() ?? ""

/** Keeps what a message told; nothing that it left out is touched. Never fails. */
export const learn = (
  store: PeerStore["Service"],
  connection: Whom,
  told: Told,
  info: IdentifyInfo
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const peer = connection.remotePeer
    yield* logged(addresses(store, connection, told))
    yield* logged(store.setPublicKey(peer, info.publicKey))
    if (told.protocols.length > 0) yield* logged(store.setProtocols(peer, told.protocols))
  })
