/**
 * RecordValidators: which values are valid under a key, and which of several
 * is best, by namespace. A store asks before it keeps or gives anything. A node
 * knows `/pk` (a peer's public key) and what its user adds.
 *
 * ```
 * const Validators = RecordValidators.layer({ example: { validate: () => undefined, select: () => 0 } })
 * ```
 *
 * Specification: kad-dht/README.md, "Entry validation".
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Bytes from "../data/Bytes.ts"
import * as PublicKeyRecord from "../data/PublicKeyRecord.ts"
import { UnknownNamespace } from "./RecordStore.ts"

/** The rules of a namespace. Pure and total: they read no clock but the time that they are given, and do not throw. */
export interface RecordValidator {
  /** Says what is wrong with the value; `undefined` when nothing is. `nowMs` is the node's time. */
  readonly validate: (key: Uint8Array, value: Uint8Array, nowMs: number) => string | undefined
  /** The index of the best of `values`, which are all valid; the same for the same values in any order, as far as they differ. */
  readonly select: (key: Uint8Array, values: ReadonlyArray<Uint8Array>, nowMs: number) => number
}

/** By namespace, without slashes: `pk`, `ipns`, `example`. */
export type ByNamespace = Readonly<Record<string, RecordValidator>>

/** The namespaces that the user added; the built-in ones are known beside them. */
export const RecordValidators: Context.Reference<ByNamespace> = Context.Reference<ByNamespace>(
  "effect-libp2p/RecordValidators",
  { defaultValue: () => ({}) }
)

/** Adds namespaces, or replaces a built-in one. */
export const layer = (validators: ByNamespace): Layer.Layer<never> => Layer.succeed(RecordValidators, validators)

// ---- which rules a key has --------------------------------------------------

/** What every node knows: `/pk/<peer id>`, a peer's public key. */
const builtIn: ByNamespace = { pk: PublicKeyRecord }

/** The rules that the key's namespace has here, or that there are none. */
export type RulesOf = (key: Uint8Array) => Result.Result<RecordValidator, UnknownNamespace>

const slash = 0x2f

/** The first part of a key, which ends with a slash too; `undefined` when it has none. */
export const namespaceOf = (key: Uint8Array): string | undefined => {
  if (key[0] !== slash) return undefined
  const end = key.indexOf(slash, 1)
  return end < 2 ? undefined : Bytes.toUtf8Strict(key.subarray(1, end))
}

/** The rules by the key's namespace: those of `validators`, and the built-in ones where it has none. */
export const rulesOf = (validators: ByNamespace): RulesOf => {
  // A map: a namespace called `constructor` has no rules, whatever objects inherit.
  const all = new Map(Object.entries({ ...builtIn, ...validators }))
  return (key) => {
    const namespace = namespaceOf(key)
    const rules = namespace === undefined ? undefined : all.get(namespace)
    return rules === undefined
      ? Result.fail(new UnknownNamespace({ namespace: (namespace ?? "").slice(0, 64) }))
      : Result.succeed(rules)
  }
}

/**
 * The rules that this node knows, for layers that store or carry records.
 *
 * ```
 * const rules = Result.getOrThrow((yield* RecordValidators.known)(key))
 * ```
 */
export const known: Effect.Effect<RulesOf> = Effect.map(RecordValidators, rulesOf)
