/**
 * IPRS, the Interplanetary Record System: records that are signed for a name,
 * hold in one of four ways, and are ordered. A scheme says who may sign what;
 * stores and transports know nothing of it, but for the validator that it gives.
 *
 * ```
 * const scheme = Iprs.keyScheme(yield* Crypto.Crypto)
 * const Rules = RecordValidators.layer({ app: Iprs.validator(scheme) })
 * ```
 *
 * Specification: libp2p/specs, _archive/IPRS.md. docs/records.md teaches it.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bytes from "../data/Bytes.ts"
import * as Record from "../data/iprs/Record.ts"
import * as Validity from "../data/iprs/Validity.ts"
import * as Keys from "../data/Keys.ts"
import * as PeerId from "../data/PeerId.ts"
import type { Crypto } from "./Crypto.ts"
import { Identity } from "./Identity.ts"
import { keyText } from "./RecordStore.ts"
import type { RecordValidator } from "./RecordValidators.ts"

export type IprsRecord = Record.Record
export type Beacon = Validity.Beacon

// ---- errors -----------------------------------------------------------------

/** The bytes are no record, or what should be signed is none. */
export class IprsMalformed extends Schema.TaggedClass<IprsMalformed>()("IprsMalformed", { detail: Schema.String }) {}
/** The record is of another scheme. */
export class IprsWrongScheme extends Schema.TaggedClass<IprsWrongScheme>()("IprsWrongScheme", {
  expected: Schema.String,
  actual: Schema.String
}) {}
/** The signature does not hold: of another name, another author, or changed since. */
export class IprsForged extends Schema.TaggedClass<IprsForged>()("IprsForged", { detail: Schema.String }) {}
/** The author may not sign for the name. */
export class IprsNotAuthor extends Schema.TaggedClass<IprsNotAuthor>()("IprsNotAuthor", { author: Schema.String }) {}
/** It holds from a later time on. */
export class IprsNotYetValid extends Schema.TaggedClass<IprsNotYetValid>()("IprsNotYetValid", {
  from: Schema.Finite,
  now: Schema.Finite
}) {}
/** It holds no more. */
export class IprsExpired extends Schema.TaggedClass<IprsExpired>()("IprsExpired", {
  until: Schema.Finite,
  now: Schema.Finite
}) {}
/** That it is fresh cannot be checked: its beacon is not known, or has not published the proof. */
export class IprsUnproven extends Schema.TaggedClass<IprsUnproven>()("IprsUnproven", { detail: Schema.String }) {}

export const IprsErrorReason = Schema.Union([
  IprsMalformed,
  IprsWrongScheme,
  IprsForged,
  IprsNotAuthor,
  IprsNotYetValid,
  IprsExpired,
  IprsUnproven
])
export type IprsErrorReason = typeof IprsErrorReason.Type

const timeText = (ms: number): string =>
  Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `the end of time (${ms})`

const describe = (reason: IprsErrorReason): string => {
  switch (reason._tag) {
    case "IprsMalformed":
      return `malformed: ${reason.detail}`
    case "IprsWrongScheme":
      return `of the scheme ${JSON.stringify(reason.actual)}, not ${JSON.stringify(reason.expected)}`
    case "IprsForged":
    case "IprsUnproven":
      return reason.detail
    case "IprsNotAuthor":
      return `${reason.author} may not sign for this name`
    case "IprsNotYetValid":
      return `valid from ${timeText(reason.from)} on, it is ${timeText(reason.now)}`
    case "IprsExpired":
      return `valid until ${timeText(reason.until)}, it is ${timeText(reason.now)}`
  }
}

/** A record is refused. `name` is the name that it is for, for people. */
export class IprsError extends Schema.TaggedError<IprsError>()("IprsError", {
  name: Schema.String,
  reason: IprsErrorReason
}) {
  override get message(): string {
    return `record of ${this.name}: ${describe(this.reason)}`
  }
}

// ---- schemes ----------------------------------------------------------------

/** Who may sign for which names, and which of two records is newer. A value; plain code, the same everywhere. */
export interface Scheme {
  /** Stands in each record of the scheme. */
  readonly name: string
  /** Says what is wrong with who signed a record for a name; `message` is what the author must have signed. */
  readonly verify: (
    name: Uint8Array,
    record: IprsRecord,
    message: Uint8Array
  ) => IprsForged | IprsNotAuthor | IprsMalformed | undefined
  /** Positive when `a` is newer than `b`, negative when older. Where it is 0 the links tell them apart. */
  readonly order: (a: IprsRecord, b: IprsRecord) => number
  /** Those whose values may prove that a record is fresh. */
  readonly beacons: Validity.Beacons
  /** By how much the clocks of authors may be fast, in milliseconds, where the author's clock made the time. */
  readonly clockSkew: number
}

export interface SchemeOptions {
  readonly beacons?: Readonly<{ readonly [name: string]: Beacon }> | undefined
  /** By how much the clocks of authors may be fast. Default: a minute. */
  readonly clockSkew?: Duration.Input | undefined
  /** Default: by sequence, then by when they end, then by when they begin; the later is the newer. */
  readonly order?: Scheme["order"] | undefined
}

const nothing: Validity.Window = { from: Number.NEGATIVE_INFINITY, until: Number.NEGATIVE_INFINITY }

const windowOf = (record: IprsRecord, beacons: Validity.Beacons): Validity.Window => {
  const window = Validity.windowOf(record.validity, beacons)
  return typeof window === "string" ? nothing : window
}

const compareNumbers = (a: number, b: number): number => (a > b ? 1 : a < b ? -1 : 0)

const newest =
  (beacons: Validity.Beacons): Scheme["order"] =>
  (a, b) => {
    const [one, other] = [windowOf(a, beacons), windowOf(b, beacons)]
    return (
      compareNumbers(a.sequence, b.sequence) ||
      compareNumbers(one.until, other.until) ||
      compareNumbers(one.from, other.from)
    )
  }

/** A scheme of one's own. */
export const scheme = (name: string, verify: Scheme["verify"], options: SchemeOptions = {}): Scheme => {
  const beacons: Validity.Beacons = new Map(Object.entries(options.beacons ?? {}))
  return {
    name,
    verify,
    beacons,
    order: options.order ?? newest(beacons),
    clockSkew: Duration.toMillis(options.clockSkew ?? "1 minute")
  }
}

/** The scheme of identity keys: the author is the public key of a peer. */
export const keySchemeName = "libp2p-key"

const slash = 0x2f

/** The name `/<namespace>/<peer id>`, or `/<namespace>/<peer id>/<label>`: that peer alone may sign for it. */
export const nameOf = (namespace: string, peer: PeerId.PeerId, label?: string): Uint8Array =>
  Bytes.concat([
    Bytes.fromUtf8(`/${namespace}/`),
    peer.bytes,
    label === undefined ? new Uint8Array(0) : Bytes.fromUtf8(`/${label}`)
  ])

/** True for the names that {@link nameOf} makes of the peer, in any namespace. */
export const isNameOf = (name: Uint8Array, peer: PeerId.PeerId): boolean => {
  const start = name[0] === slash ? name.indexOf(slash, 1) + 1 : 0
  const end = start + peer.bytes.length
  return (
    start > 2 && Bytes.equals(name.subarray(start, end), peer.bytes) && (name.length === end || name[end] === slash)
  )
}

export interface KeySchemeOptions extends SchemeOptions {
  /** Who may sign for a name. Default: the peer whose id is in it, see {@link nameOf}. */
  readonly maySign?: ((peer: PeerId.PeerId, name: Uint8Array) => boolean) | undefined
}

/** Records that peers sign with the keys of their ids. */
export const keyScheme = (crypto: Crypto["Service"], options: KeySchemeOptions = {}): Scheme => {
  const maySign = options.maySign ?? ((peer, name) => isNameOf(name, peer))
  return scheme(
    keySchemeName,
    (name, { author, signature }, message) => {
      const key = Keys.decodePublicKey(author)
      if (Result.isFailure(key)) return new IprsMalformed({ detail: `the author is no key: ${key.failure.detail}` })
      const peer = PeerId.fromPublicKey(key.success)
      // Costs less than a signature, which strangers would have this node check.
      if (!maySign(peer, name)) return new IprsNotAuthor({ author: peer.toString() })
      const verified = crypto.verify(key.success, message, signature)
      if (Result.isFailure(verified)) return new IprsMalformed({ detail: verified.failure.message })
      return verified.success ? undefined : new IprsForged({ detail: "its signature does not hold" })
    },
    options
  )
}

// ---- making records ---------------------------------------------------------

/** When a record holds, and where it stands among others of its name. */
export interface When {
  readonly validity: Validity.Validity
  readonly sequence: number
}

interface Numbered {
  /** Of two records of a name the one of the greater number is newer. Default 0. */
  readonly sequence?: number | undefined
}

/** Holds from one time until another, in milliseconds; without one, from the beginning or until the end of time. */
export const range = (
  options: Numbered & { readonly from?: number | undefined; readonly until?: number | undefined }
): When => ({
  validity: { type: "range", from: options.from ?? null, until: options.until ?? null },
  sequence: options.sequence ?? 0
})

/** Holds for `ttl` from now on. */
export const timeToLive = (ttl: Duration.Input, options: Numbered = {}): Effect.Effect<When> =>
  Effect.map(Clock.currentTimeMillis, (made) => ({
    validity: { type: "ttl", made: Math.floor(made), ttl: Math.floor(Duration.toMillis(ttl)) },
    sequence: options.sequence ?? 0
  }))

/**
 * Comes after its parents, and is newer than all that they come after. Without
 * parents it is the first. With several it joins lines that had parted; those of
 * the same length are ordered by their links as long as nothing joins them.
 */
export const after = (parents: ReadonlyArray<IprsRecord>): When => ({
  validity: { type: "ancestry", parents: parents.map(({ link }) => link) },
  sequence: parents.reduce((longest, { sequence }) => Math.max(longest, sequence + 1), 0)
})

/** Holds for `within` after a beacon published `proof`, and was not made before. */
export const fresh = (beacon: string, proof: Uint8Array, within: Duration.Input, options: Numbered = {}): When => ({
  validity: { type: "freshness", beacon, proof, within: Math.floor(Duration.toMillis(within)) },
  sequence: options.sequence ?? 0
})

/** Who signs, by which scheme. */
export interface Author {
  readonly scheme: string
  /** As the scheme writes it. */
  readonly author: Uint8Array
  readonly sign: (message: Uint8Array) => Uint8Array
}

const malformed = (name: Uint8Array) => (detail: string) =>
  new IprsError({ name: keyText(name), reason: new IprsMalformed({ detail }) })

/** Signs a value for a name, by a scheme of one's own. */
export const signAs = (
  { author, scheme: schemeName, sign: signature }: Author,
  name: Uint8Array,
  value: Uint8Array,
  when: When
): Result.Result<IprsRecord, IprsError> =>
  Result.mapError(Record.sign(name, { scheme: schemeName, author, value, ...when }, signature), malformed(name))

/** Signs a value for a name, with this node's key. `bytes` of the result is what is put into a store. */
export const sign = (name: Uint8Array, value: Uint8Array, when: When): Effect.Effect<IprsRecord, IprsError, Identity> =>
  Effect.flatMap(Identity, ({ publicKey, sign: signature }) => {
    const author = { scheme: keySchemeName, author: Keys.encodePublicKey(publicKey), sign: signature }
    return Effect.fromResult(signAs(author, name, value, when))
  })

// ---- checking records -------------------------------------------------------

const check = (by: Scheme, name: Uint8Array, record: IprsRecord, nowMs: number): IprsErrorReason | undefined => {
  if (record.scheme !== by.name) return new IprsWrongScheme({ expected: by.name, actual: record.scheme })
  const window = Validity.windowOf(record.validity, by.beacons)
  if (typeof window === "string") return new IprsUnproven({ detail: window })
  // Whoever names both ends of a range means them; other times are what a clock said.
  const from = record.validity.type === "range" ? window.from : window.from - by.clockSkew
  if (nowMs < from) return new IprsNotYetValid({ from, now: nowMs })
  if (nowMs >= window.until) return new IprsExpired({ until: window.until, now: nowMs })
  // Last, since it costs most.
  const message = Record.messageOf(name, record)
  return Result.isFailure(message)
    ? new IprsMalformed({ detail: message.failure })
    : by.verify(name, record, message.success)
}

/** Reads a record, and checks that it is of the scheme, signed for the name by who may do so, and holds now. */
export const verify = (
  by: Scheme,
  name: Uint8Array,
  bytes: Uint8Array,
  nowMs: number
): Result.Result<IprsRecord, IprsError> =>
  Record.decode(bytes).pipe(
    Result.mapError(malformed(name)),
    Result.flatMap((record) => {
      const reason = check(by, name, record, nowMs)
      return reason === undefined ? Result.succeed(record) : Result.fail(new IprsError({ name: keyText(name), reason }))
    })
  )

/** Which of two records of a name is newer: positive when `a` is, 0 for the same one only. */
export const compare = (by: Scheme, a: IprsRecord, b: IprsRecord): number =>
  by.order(a, b) || Record.compareLinks(a.link, b.link)

/** For how long a record still holds, in milliseconds, at most infinity: for the `ttl` of a put. */
export const remaining = (by: Scheme, record: IprsRecord, nowMs: number): number =>
  Math.max(0, windowOf(record, by.beacons).until - nowMs)

/**
 * True when `record` comes after `ancestor`, by the parents that `known`
 * records name. What {@link compare} goes by is the length of the line, which
 * the author has signed; this looks at the line itself.
 */
export const descendsFrom = (record: IprsRecord, ancestor: IprsRecord, known: Iterable<IprsRecord>): boolean => {
  const wanted = ancestor.link.toString()
  const byLink = new Map(Array.from(known, (one) => [one.link.toString(), one]))
  const seen = new Set<string>()
  const open = [record]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next.validity.type !== "ancestry") continue
    for (const parent of next.validity.parents) {
      const link = parent.toString()
      if (link === wanted) return true
      const found = seen.has(link) ? undefined : byLink.get(link)
      seen.add(link)
      if (found !== undefined) open.push(found)
    }
  }
  return false
}

/** The rules of a namespace of such records: the whole key is the name that they are signed for. */
export const validator = (by: Scheme): RecordValidator => ({
  validate: (key, value, nowMs) =>
    Result.match(verify(by, key, value, nowMs), {
      onSuccess: () => undefined,
      onFailure: ({ reason }) => describe(reason)
    }),
  select: (_key, values) => {
    let best: { readonly index: number; readonly record: IprsRecord } | undefined
    for (const [index, value] of values.entries()) {
      const record = Result.getOrUndefined(Record.decode(value))
      if (record !== undefined && (best === undefined || compare(by, record, best.record) > 0)) best = { index, record }
    }
    return best?.index ?? 0
  }
})
