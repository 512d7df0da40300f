/**
 * Identity: who this node is. Layers: from a seed, from a key, from a file.
 */
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"
import type { PrivateKey, PublicKey } from "../data/Keys.ts"
import type { PeerId } from "../data/PeerId.ts"

/** The file of the key cannot be used. `mend` is the command or step that puts it right. */
export class IdentityError extends Schema.TaggedError<IdentityError>()("IdentityError", {
  path: Schema.String,
  detail: Schema.String,
  mend: Schema.String
}) {
  override get message(): string {
    return `${this.path}: ${this.detail}. ${this.mend}`
  }
}

export class Identity extends Context.Service<
  Identity,
  {
    readonly peerId: PeerId
    readonly publicKey: PublicKey
    readonly privateKey: PrivateKey
    /** Signs with the private key, as the peer-ids specification says for its type. */
    readonly sign: (message: Uint8Array) => Uint8Array
  }
>()("effect-libp2p/Identity") {}
