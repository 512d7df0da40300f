/** Identity from 32 bytes: the same seed is the same peer. For tests, simulations, and keys held in a vault. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { Crypto, CryptoError } from "../../services/Crypto.ts"
import { Identity } from "../../services/Identity.ts"
import * as FromKey from "./FromKey.ts"

/** The Ed25519 identity of a seed, which is secret as a private key is. */
export const make = (seed: Uint8Array): Effect.Effect<Identity["Service"], CryptoError, Crypto> =>
  Effect.gen(function* () {
    if (seed.length !== 32) {
      return yield* new CryptoError({ operation: "import", detail: `a seed has 32 bytes, not ${seed.length}` })
    }
    const crypto = yield* Crypto
    const random = SecureRandom.make(() => Uint8Array.from(seed))
    const privateKey = yield* crypto
      .generateKey("Ed25519")
      .pipe(Effect.provideService(SecureRandom.SecureRandom, random))
    return yield* FromKey.make(privateKey)
  })

/**
 * This node is the peer of a seed of 32 bytes.
 *
 * ```
 * const Me = IdentityFromSeed.layer(new Uint8Array(32).fill(7))
 * ```
 */
export const layer = (seed: Uint8Array): Layer.Layer<Identity, CryptoError, Crypto> =>
  Layer.effect(Identity, make(seed))
