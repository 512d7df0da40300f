/**
 * Puts all transports of a node into a private network: whoever does not have
 * its key cannot connect with the node, nor the node with them.
 *
 * ```
 * const Ways = PrivateNetwork.layer(key).pipe(Layer.provideMerge(Libp2p.layerTcp))
 * ```
 *
 * What it gives is a Transport again, and the only one that the rest of the
 * node sees. It hands on what it knows to be encrypted and nothing else, so that
 * a transport that learns a new way of connecting has none here until it is
 * written down.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { SecureRandom } from "effect/crypto/SecureRandom"
import type { NetworkKey } from "../../data/NetworkKey.ts"
import { AlreadyPrivate, PrivateNetworkError, SecuresItself } from "../../services/PrivateNetwork.ts"
import { type RawConnection, Transport, type TransportError, type TransportProtocol } from "../../services/Transport.ts"
import { nonceSize } from "./core/Keystream.ts"
import { PrivateStream } from "./PrivateStream.ts"

/** A transport whose connections are all encrypted with the key. */
const within = (key: NetworkKey, random: SecureRandom["Service"], inner: TransportProtocol): TransportProtocol => {
  const protect = (
    connecting: Effect.Effect<RawConnection, TransportError, Scope.Scope>
  ): Effect.Effect<RawConnection, TransportError, Scope.Scope> =>
    Effect.flatMap(connecting, (raw) =>
      Effect.map(random.randomBytes(nonceSize), (nonce) => new PrivateStream(raw, key, nonce))
    )
  return {
    name: inner.name,
    canDial: (address) => inner.canDial(address),
    canListen: (address) => inner.canListen(address),
    dial: (address, options) => protect(inner.dial(address, options)),
    listen: (address) =>
      Effect.map(inner.listen(address), ({ accept, addresses }) => ({ addresses, accept: protect(accept) }))
  }
}

/**
 * The transports beneath it, in the network of this key. It is not built with a
 * transport that secures itself, such as QUIC, or one that is in a network.
 */
export const layer = (key: NetworkKey): Layer.Layer<Transport, PrivateNetworkError, Transport | SecureRandom> =>
  Layer.effect(
    Transport,
    Effect.gen(function* () {
      const { network, transports } = yield* Transport
      const random = yield* SecureRandom
      if (network !== undefined) {
        return yield* new PrivateNetworkError({ reason: new AlreadyPrivate({ network }) })
      }
      const unfit = transports.filter(({ securesItself }) => securesItself === true).map(({ name }) => name)
      if (unfit.length > 0) {
        return yield* new PrivateNetworkError({ reason: new SecuresItself({ transports: unfit }) })
      }
      return { transports: transports.map((transport) => within(key, random, transport)), network: key.fingerprint }
    })
  )
