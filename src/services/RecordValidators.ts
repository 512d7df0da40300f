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
import * as Layer from "effect/Layer"

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
