/** Keeps in the PeerStore what a peer told. */
import * as Effect from "effect/Effect"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { IdentifyInfo } from "../../services/Identify.ts"
import type { PeerStore, Tolerant } from "../../services/PeerStore.ts"
import type { Connection } from "../../services/Swarm.ts"
import { shared } from "./Announcement.ts"
import type { Told } from "./Interpret.ts"

type Store = PeerStore["Service"]

type Whom = Pick<Connection, "remotePeer" | "remoteAddress">

/**
 * Drops certified addresses that mean something else at this end. It goes by
 * what the store holds, since that may read more of a record than others do. A
 * proven one is where the peer was met.
 */
const forgetFar = (store: Store, { remoteAddress, remotePeer }: Whom) =>
  Effect.flatMap(store.get(remotePeer), (known) => {
    const certified = (known?.addresses ?? []).filter(({ confidence }) => confidence === "certified")
    const addresses = certified.map(({ address }) => address)
    const near = shared(addresses, Multiaddr.reach(remoteAddress))
    return near.length === addresses.length
      ? Effect.void
      : store.removeAddresses(
          remotePeer,
          addresses.filter((address) => !near.includes(address))
        )
  })

/**
 * Keeps what a message told; nothing that it left out is touched. Never fails.
 * Known as soon as it is begun, done when it is stored: all is begun at once,
 * so that it is stored at once, and not in part should the peer leave meanwhile.
 *
 * Addresses that mean something else at this end are not kept, signed or not:
 * the loopback address of a peer elsewhere would be one of this machine.
 */
export const learn = (
  store: Store,
  use: Tolerant,
  connection: Whom,
  told: Pick<Told, "listenAddresses" | "protocols"> & {
    readonly signedPeerRecord: Parameters<Store["addRecord"]>[1] | undefined
  },
  info: Pick<IdentifyInfo, "publicKey">
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const peer = connection.remotePeer
    const near = shared(told.listenAddresses, Multiaddr.reach(connection.remoteAddress))
    const writes: Array<Effect.Effect<unknown>> = []
    if (told.signedPeerRecord !== undefined) {
      writes.push(use.write(store.addRecord(peer, told.signedPeerRecord)), use.read(forgetFar(store, connection)))
    }
    // Those that are certified by now stay so.
    writes.push(
      use.write(store.addAddresses(peer, near, "claimed")),
      use.write(store.setPublicKey(peer, info.publicKey))
    )
    if (told.protocols.length > 0) writes.push(use.write(store.setProtocols(peer, told.protocols)))
    return Effect.all(writes, { concurrency: "unbounded", discard: true })
  })

/** What is known of the peer of an open connection lasts on, as if it had just been told. Never fails. */
export const renew = (
  store: Store,
  use: Tolerant,
  connection: Whom & Pick<Connection, "direction">,
  info: IdentifyInfo
): Effect.Effect<void> => {
  const learnt = learn(store, use, connection, info, info)
  return connection.direction === "inbound"
    ? learnt
    : Effect.andThen(use.write(store.addAddresses(connection.remotePeer, [connection.remoteAddress], "proven")), learnt)
}
