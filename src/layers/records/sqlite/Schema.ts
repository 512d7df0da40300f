/** The table of the file, and how records are rows of it. */
import type * as File from "../../internal/sqlite/File.ts"
import { transact } from "../../internal/sqlite/Module.ts"
import type { Entry } from "../core/Table.ts"

/** The file of a store of records. Times are milliseconds, which may be infinite. */
export const format: File.Format<Entry, Entry> = {
  /** "lp2r" */
  applicationId: 0x6c703272,
  version: 1,
  tables: `
    create table record (
      key blob not null unique,
      value blob not null,
      expires_at real not null
    ) strict;
  `,
  readAll: (database) => {
    const all: Array<Entry> = []
    for (const row of database.prepare("select key, value, expires_at from record").iterate()) {
      const { expires_at: expiresAt, key, value } = row
      if (!(key instanceof Uint8Array) || !(value instanceof Uint8Array) || typeof expiresAt !== "number") {
        return "a row of the table record cannot be read"
      }
      all.push({ key, value, expiresAt })
    }
    return all
  },
  writer: (database) => {
    const set = database.prepare("insert or replace into record (key, value, expires_at) values (?, ?, ?)")
    const prolong = database.prepare("update record set expires_at = ? where key = ?")
    const remove = database.prepare("delete from record where key = ?")
    return (changes) =>
      transact(database, () => {
        for (const { after, before } of changes) {
          if (after === undefined) {
            if (before !== undefined) remove.run(before.key)
          } else if (before?.value === after.value) prolong.run(after.expiresAt, after.key)
          else set.run(after.key, after.value, after.expiresAt)
        }
      })
  }
}
