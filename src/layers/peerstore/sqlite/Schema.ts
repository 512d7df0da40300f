/** The tables of the file, and how peers are rows of them. */
import * as Result from "effect/Result"
import type { SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite"
import * as Keys from "../../../data/Keys.ts"
import * as Multiaddr from "../../../data/Multiaddr.ts"
import * as PeerId from "../../../data/PeerId.ts"
import type { PeerAddress } from "../../../services/PeerStore.ts"
import type * as Entry from "../core/Entry.ts"
import type { Change } from "../core/Table.ts"
import * as Tags from "../core/Tags.ts"
import type * as File from "../../internal/sqlite/File.ts"
import { type Database, transact } from "../../internal/sqlite/Module.ts"

/** "lp2p" */
const applicationId = 0x6c703270
const version = 1

/**
 * What changes often is small and in one row. `number` names the peer in the
 * other tables; `heard` orders the peers. Times are milliseconds, with
 * infinity as null inside of JSON.
 */
const tables = `
  create table peer (
    number integer primary key,
    id blob not null unique,
    heard integer not null,
    heard_at real not null,
    public_key blob,
    addresses text not null,
    tags text not null
  ) strict;
  create table protocols (
    peer integer primary key references peer on delete cascade,
    names text not null
  ) strict;
  create table record (
    peer integer primary key references peer on delete cascade,
    sequence text not null,
    envelope blob,
    expires_at real not null
  ) strict;
  create table metadata (
    peer integer not null references peer on delete cascade,
    name text not null,
    value blob not null,
    primary key (peer, name)
  ) strict;
`

// ---- reading ----------------------------------------------------------------

type Row = Readonly<Record<string, SQLOutputValue>>
type Parsed<A> = A | undefined

// By hand: a store of 10,000 peers is read at each start, and a Schema takes three times as long.
const isArray: (value: unknown) => value is ReadonlyArray<unknown> = Array.isArray
const isString = (value: unknown): value is string => typeof value === "string"
const toTime = (value: unknown): Parsed<number> =>
  value === null ? Number.POSITIVE_INFINITY : typeof value === "number" ? value : undefined

/** The items of a JSON list; `undefined` if it is none, or if one of them is not as it should be. */
const parseList = <A>(json: SQLOutputValue | undefined, parseItem: (item: unknown) => Parsed<A>): Parsed<Array<A>> => {
  if (!isString(json)) return undefined
  let list: unknown
  try {
    list = JSON.parse(json)
  } catch {
    return undefined
  }
  if (!isArray(list)) return undefined
  const items: Array<A> = []
  for (const item of list) {
    const parsed = parseItem(item)
    if (parsed === undefined) return undefined
    items.push(parsed)
  }
  return items
}

const parseAddress = (item: unknown): Parsed<PeerAddress> => {
  if (!isArray(item)) return undefined
  const [text, confidence, time] = item
  const expiresAt = toTime(time)
  if (!isString(text) || expiresAt === undefined) return undefined
  if (confidence !== "proven" && confidence !== "certified" && confidence !== "claimed") return undefined
  const address = Multiaddr.fromString(text)
  return Result.isFailure(address) ? undefined : { address: address.success, confidence, expiresAt }
}

const parseTag = (item: unknown): Parsed<readonly [string, Tags.KeptTag]> => {
  if (!isArray(item)) return undefined
  const [name, value, shape, time, setAt] = item
  const over = toTime(time)
  if (!isString(name) || typeof value !== "number" || typeof setAt !== "number" || over === undefined) return undefined
  if (shape !== "none" && shape !== "linear" && shape !== "exponential") return undefined
  return [name, Tags.kept(value, shape, over, setAt)]
}

const parseRecord = ({ envelope, expires_at, sequence }: Row): Parsed<Entry.KeptRecord> => {
  if (!isString(sequence) || !/^\d{1,20}$/.test(sequence) || typeof expires_at !== "number") return undefined
  if (envelope !== null && !(envelope instanceof Uint8Array)) return undefined
  return { sequence: BigInt(sequence), envelope: envelope ?? undefined, expiresAt: expires_at }
}

const parseKey = (value: SQLOutputValue | undefined): Parsed<Keys.PublicKey> =>
  value instanceof Uint8Array ? Result.getOrElse(Keys.decodePublicKey(value), () => undefined) : undefined

type MetadataOf = (number: number) => Entry.Facts["metadata"]

/** The peer of a row, or what of it cannot be read. */
const parseRow = (row: Row, metadataOf: MetadataOf): Entry.Facts | string => {
  const { heard, heard_at: heardAt, id, number } = row
  if (typeof number !== "number" || typeof heard !== "number" || typeof heardAt !== "number") {
    return "a row of the table peer cannot be read"
  }
  const damaged = (what: string) => `the ${what} of peer number ${number} cannot be read`
  const peer = id instanceof Uint8Array ? PeerId.fromBytes(id) : undefined
  if (peer === undefined || Result.isFailure(peer)) return damaged("id")
  const addresses = parseList(row["addresses"], parseAddress)
  if (addresses === undefined) return damaged("addresses")
  const tags = parseList(row["tags"], parseTag)
  if (tags === undefined) return damaged("tags")
  const protocols = row["names"] === null ? [] : parseList(row["names"], (item) => (isString(item) ? item : undefined))
  if (protocols === undefined) return damaged("protocols")
  const publicKey = parseKey(row["public_key"])
  if (publicKey === undefined && row["public_key"] !== null) return damaged("public key")
  const record = parseRecord(row)
  if (record === undefined && row["sequence"] !== null) return damaged("signed record")
  return {
    peer: peer.success,
    number,
    heard,
    heardAt,
    addresses,
    publicKey,
    protocols,
    tags: new Map(tags),
    metadata: metadataOf(number),
    record
  }
}

const none: Entry.Facts["metadata"] = new Map<string, never>()

/** All peers of the file, or what of it cannot be read. Throws what SQLite throws. */
const readAll = (database: Database): ReadonlyArray<Entry.Facts> | string => {
  const metadata = new Map<number, Map<string, Uint8Array>>()
  for (const { name, peer, value } of database.prepare("select peer, name, value from metadata").iterate()) {
    if (typeof peer !== "number" || !isString(name) || !(value instanceof Uint8Array)) {
      return "a row of the table metadata cannot be read"
    }
    const values = metadata.get(peer)
    if (values === undefined) metadata.set(peer, new Map([[name, value]]))
    else values.set(name, value)
  }
  const rows = database.prepare(`
    select number, id, heard, heard_at, public_key, addresses, tags, names, sequence, envelope, expires_at
    from peer left join protocols on protocols.peer = number left join record on record.peer = number
    order by heard`)
  const all: Array<Entry.Facts> = []
  for (const row of rows.iterate()) {
    const facts = parseRow(row, (number) => metadata.get(number) ?? none)
    if (isString(facts)) return facts
    all.push(facts)
  }
  return all
}

// ---- writing ----------------------------------------------------------------

const head = (entry: Entry.Facts): Array<SQLInputValue> => [
  entry.heard,
  entry.heardAt,
  entry.publicKey === undefined ? null : Keys.encodePublicKey(entry.publicKey),
  // JSON writes infinity as null.
  JSON.stringify(entry.addresses.map(({ address, confidence, expiresAt }) => [address, confidence, expiresAt])),
  JSON.stringify([...entry.tags].map(([name, { over, setAt, shape, value }]) => [name, value, shape, over, setAt]))
]

/** Writes changed peers as rows: of each only what is another value than before. */
class RowWriter {
  readonly #database: Database
  readonly #insertPeer: StatementSync
  readonly #updatePeer: StatementSync
  readonly #deletePeer: StatementSync
  readonly #setProtocols: StatementSync
  readonly #setRecord: StatementSync
  readonly #setMetadata: StatementSync
  readonly #deleteMetadata: StatementSync

  /** Throws what SQLite throws. */
  constructor(database: Database) {
    const prepare = (sql: string) => database.prepare(sql)
    this.#database = database
    this.#insertPeer = prepare(
      "insert into peer (heard, heard_at, public_key, addresses, tags, number, id) values (?, ?, ?, ?, ?, ?, ?)"
    )
    this.#updatePeer = prepare(
      "update peer set heard = ?, heard_at = ?, public_key = ?, addresses = ?, tags = ? where number = ?"
    )
    this.#deletePeer = prepare("delete from peer where number = ?")
    this.#setProtocols = prepare("insert or replace into protocols (peer, names) values (?, ?)")
    this.#setRecord = prepare(
      "insert or replace into record (peer, sequence, envelope, expires_at) values (?, ?, ?, ?)"
    )
    this.#setMetadata = prepare("insert or replace into metadata (peer, name, value) values (?, ?, ?)")
    this.#deleteMetadata = prepare("delete from metadata where peer = ? and name = ?")
  }

  /** Writes all the changes or none. Throws what SQLite throws. */
  commit(changes: Iterable<Change>): void {
    transact(this.#database, () => {
      for (const change of changes) this.#write(change)
    })
  }

  #write({ after, before }: Change): void {
    const number = after?.number
    const old = before?.number === number ? before : undefined
    if (before !== undefined && old === undefined) this.#deletePeer.run(before.number)
    if (after === undefined || number === undefined) return
    if (old === undefined) this.#insertPeer.run(...head(after), number, after.peer.bytes)
    else this.#updatePeer.run(...head(after), number)
    if (after.protocols !== old?.protocols && (old !== undefined || after.protocols.length > 0)) {
      this.#setProtocols.run(number, JSON.stringify(after.protocols))
    }
    if (after.record !== undefined && after.record !== old?.record) {
      const { envelope, expiresAt, sequence } = after.record
      this.#setRecord.run(number, sequence.toString(), envelope ?? null, expiresAt)
    }
    if (after.metadata === old?.metadata) return
    for (const [name, value] of after.metadata) {
      if (old?.metadata.get(name) !== value) this.#setMetadata.run(number, name, value)
    }
    for (const name of old?.metadata.keys() ?? []) {
      if (!after.metadata.has(name)) this.#deleteMetadata.run(number, name)
    }
  }
}

/** The file of a store of peers. */
export const format: File.Format<Entry.Facts, Entry.Entry> = {
  applicationId,
  version,
  tables,
  readAll,
  writer: (database) => {
    const rows = new RowWriter(database)
    return (changes) => rows.commit(changes)
  }
}
