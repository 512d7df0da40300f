/**
 * The records of IPRS, the Interplanetary Record System: a value that whoever
 * the scheme accepts as its author has signed for a name, with when it holds
 * and how it is ordered among others of the name. How it travels and who keeps
 * it is not its concern.
 *
 * A record is an object of DAG-CBOR, so it has a CID by which others link to it:
 *
 * ```
 * { scheme, author, value, sequence, validity, signature }
 * ```
 *
 * The signature is over the name and all but itself, so that a record is worth
 * nothing under another name.
 *
 * Specification: libp2p/specs, _archive/IPRS.md.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bytes from "../Bytes.ts"
import * as DagCbor from "../DagCbor.ts"
import { Validity } from "./Validity.ts"

/** The largest record, in bytes, with its signature. */
export const maxSize = 64 * 1024

const bytes = (max: number) =>
  Schema.Uint8Array.check(
    Schema.makeFilter((given: Uint8Array) => given.length <= max || `at most ${max} bytes, not ${given.length}`)
  )

/** What is signed. */
const claims = {
  /** Names the scheme that says who may sign what, and in what order records are. */
  scheme: Schema.String.check(Schema.isMaxLength(128)),
  /** Who signed, as the scheme writes it: for `libp2p-key`, the public key. */
  author: bytes(2048),
  value: bytes(maxSize),
  /** Of two records of a name the one of the greater number is newer. By ancestry: the length of the longest line of parents. */
  sequence: Schema.Natural,
  validity: Validity
}

export const Claims = Schema.Struct(claims)
export type Claims = typeof Claims.Type

export const Signed = Schema.Struct({ ...claims, signature: bytes(2048) })
export type Signed = typeof Signed.Type

/** A signed record, how it is written, and the link to it. */
export interface Record extends Signed {
  readonly bytes: Uint8Array
  readonly link: DagCbor.Link
}

const decodeSigned = Schema.decodeUnknownResult(Signed, { onExcessProperty: "error" })

/** What of a record makes no sense, whoever signed it. */
const contradiction = ({ sequence, validity }: Claims): string | undefined => {
  if (validity.type === "range" && validity.from !== null && validity.until !== null) {
    return validity.from < validity.until ? undefined : "it ends before it begins"
  }
  if (validity.type !== "ancestry") return undefined
  if (new Set(validity.parents.map(String)).size < validity.parents.length) return "it names a parent twice"
  return (sequence === 0) === (validity.parents.length === 0)
    ? undefined
    : "its sequence is not the length of its line of parents"
}

/** The bytes of a record. */
const write = (signed: Signed): Result.Result<Record, string> => {
  const encoded = DagCbor.encode(signed)
  if (Result.isFailure(encoded)) return Result.fail(encoded.failure.message)
  const written = encoded.success
  if (written.length > maxSize) return Result.fail(`${written.length} bytes, over the limit of ${maxSize}`)
  return Result.succeed({ ...signed, bytes: written, link: DagCbor.linkTo(written) })
}

/** Reads a record; says what is wrong with it otherwise. Whose it is and whether it holds is not looked at. */
export const decode = (encoded: Uint8Array): Result.Result<Record, string> => {
  if (encoded.length > maxSize) return Result.fail(`${encoded.length} bytes, over the limit of ${maxSize}`)
  const data = DagCbor.decode(encoded)
  if (Result.isFailure(data)) return Result.fail(data.failure.message)
  const signed = decodeSigned(data.success)
  if (Result.isFailure(signed)) return Result.fail(signed.failure.message.split("\n")[0] ?? "")
  const wrong = contradiction(signed.success)
  if (wrong !== undefined) return Result.fail(wrong)
  return Result.succeed({ ...signed.success, bytes: Bytes.copy(encoded), link: DagCbor.linkTo(encoded) })
}

/** A signature for IPRS is worth nothing elsewhere. */
const domain = Bytes.fromUtf8("libp2p-iprs-record:")

/** What the author signs for a name. */
export const messageOf = (name: Uint8Array, claimed: Claims): Result.Result<Uint8Array, string> => {
  const { author, scheme, sequence, validity, value } = claimed
  return Result.mapBoth(DagCbor.encode([name, { author, scheme, sequence, validity, value }]), {
    onSuccess: (encoded) => Bytes.concat([domain, encoded]),
    onFailure: ({ message }) => message
  })
}

/** Signs claims for a name; says what is wrong with them otherwise. What is written can be read. */
export const sign = (
  name: Uint8Array,
  claimed: Claims,
  signature: (message: Uint8Array) => Uint8Array
): Result.Result<Record, string> =>
  messageOf(name, claimed).pipe(
    Result.flatMap((message) => write({ ...claimed, signature: signature(message) })),
    Result.flatMap((record) => decode(record.bytes))
  )

/** The order of two links: a fork is told apart by it, the same everywhere. Positive when `a` is the greater one. */
export const compareLinks = (a: DagCbor.Link, b: DagCbor.Link): number => {
  for (const [i, byte] of a.cid.entries()) {
    const other = b.cid[i]
    if (other === undefined) return 1
    if (byte !== other) return byte - other
  }
  return a.cid.length - b.cid.length
}
