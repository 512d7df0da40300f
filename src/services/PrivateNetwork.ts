/**
 * PrivateNetwork: a node is in one private network, whose key all of its
 * connections use, or in none. What can be wrong with that when a node is
 * built; the key is put beneath its transports by layers/pnet/PrivateNetwork.ts.
 *
 * Specification: pnet/Private-Networks-PSK-V1.md
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** These transports bring security of their own, beneath which no key can be put: the node would be reached without it. */
export class SecuresItself extends Schema.TaggedClass<SecuresItself>()("SecuresItself", {
  transports: Schema.Array(Schema.String)
}) {}

/** The transports are in a private network already, the one of this fingerprint. */
export class AlreadyPrivate extends Schema.TaggedClass<AlreadyPrivate>()("AlreadyPrivate", {
  network: Schema.String
}) {}

/** The environment asks for a private network, and the node has no key of one. */
export class KeyRequired extends Schema.TaggedClass<KeyRequired>()("KeyRequired", { variable: Schema.String }) {}

export const PrivateNetworkErrorReason = Schema.Union([SecuresItself, AlreadyPrivate, KeyRequired])
export type PrivateNetworkErrorReason = typeof PrivateNetworkErrorReason.Type

/** A node was not started, since it would have been in another network than it is meant to be, or in none. */
export class PrivateNetworkError extends Schema.TaggedError<PrivateNetworkError>()("PrivateNetworkError", {
  reason: PrivateNetworkErrorReason
}) {
  override get message(): string {
    const { reason } = this
    switch (reason._tag) {
      case "SecuresItself":
        return `${reason.transports.join(" and ")} cannot be used in a private network: what secures itself cannot carry its key. Leave it out of this node`
      case "AlreadyPrivate":
        return `the transports are in the private network ${reason.network} already: a node is in one`
      case "KeyRequired":
        return `${reason.variable} is set, and this node has no key of a private network: it is not started, since anybody could connect with it. Give it a key, or unset the variable`
    }
  }
}

/** The file of the network's key cannot be used. `mend` is the command or step that puts it right. */
export class NetworkKeyFileError extends Schema.TaggedError<NetworkKeyFileError>()("NetworkKeyFileError", {
  path: Schema.String,
  detail: Schema.String,
  mend: Schema.String
}) {
  override get message(): string {
    return `${this.path}: ${this.detail}. ${this.mend}`
  }
}

/** The variable that forbids nodes without a key, as go-libp2p has it. */
export const variable = "LIBP2P_FORCE_PNET"

const isForced = Effect.map(
  Effect.orDie(Config.String(variable).pipe(Config.withDefault(""))),
  (value) => !["", "0", "false", "no"].includes(value.trim().toLowerCase())
)

/** Refuses a node that is in no network, `undefined`, where the environment forbids that. */
export const required = (network: string | undefined): Effect.Effect<void, PrivateNetworkError> =>
  network !== undefined
    ? Effect.void
    : Effect.flatMap(isForced, (forced) =>
        forced ? Effect.fail(new PrivateNetworkError({ reason: new KeyRequired({ variable }) })) : Effect.void
      )
