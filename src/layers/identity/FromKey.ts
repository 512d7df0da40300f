/** Identity from a private key that the program already has. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { PrivateKey } from "../../data/Keys.ts"
import * as PeerId from "../../data/PeerId.ts"
import { Crypto, type CryptoError } from "../../services/Crypto.ts"
import { Identity } from "../../services/Identity.ts"

/** The identity of a private key; fails if the key is unusable. */
export const make = (privateKey: PrivateKey): Effect.Effect<Identity["Service"], CryptoError, Crypto> =>
  Effect.gen(function* () {
    const crypto = yield* Crypto
    const { publicKey, sign } = yield* Effect.fromResult(crypto.signer(privateKey))
    return Identity.of({ peerId: PeerId.fromPublicKey(publicKey), publicKey, privateKey, sign })
  })

/**
 * This node is the owner of `privateKey`.
 *
 * ```
 * const Me = IdentityFromKey.layer(yield* Keys.decodePrivateKey(bytes))
 * ```
 */
export const layer = (privateKey: PrivateKey): Layer.Layer<Identity, CryptoError, Crypto> =>
  Layer.effect(Identity, make(privateKey))
