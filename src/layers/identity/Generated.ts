/** Identity made at the start and forgotten at the end: another peer each time. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import { Crypto, type CryptoError } from "../../services/Crypto.ts"
import { Identity } from "../../services/Identity.ts"
import * as FromKey from "./FromKey.ts"

/** This node is a new Ed25519 peer. */
export const layer: Layer.Layer<Identity, CryptoError, Crypto | SecureRandom.SecureRandom> = Layer.effect(
  Identity,
  Effect.gen(function* () {
    const crypto = yield* Crypto
    return yield* FromKey.make(yield* crypto.generateKey("Ed25519"))
  })
)
