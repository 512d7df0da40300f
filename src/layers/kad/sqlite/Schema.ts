/** The table of the file, and how what is provided is rows of it. */
import type * as File from "../../internal/sqlite/File.ts"
import { transact } from "../../internal/sqlite/Module.ts"
import type { Entry } from "../core/Kept.ts"

/** The file of what a node provides. Times are milliseconds; null where nothing was announced yet. */
export const format: File.Format<Entry, Entry> = {
  /** "lp2a" */
  applicationId: 0x6c703261,
  version: 1,
  tables: `
    create table provided (
      realm text not null,
      key blob not null,
      announced_at real,
      unique (realm, key)
    ) strict;
  `,
  readAll: (database) => {
    const all: Array<Entry> = []
    // In the order in which they were added.
    for (const row of database.prepare("select realm, key, announced_at from provided order by rowid").iterate()) {
      const { announced_at: announcedAt, key, realm } = row
      const isTime = announcedAt === null || typeof announcedAt === "number"
      if (typeof realm !== "string" || !(key instanceof Uint8Array) || !isTime) {
        return "a row of the table provided cannot be read"
      }
      all.push({ realm, key, announcedAt: announcedAt ?? undefined })
    }
    return all
  },
  writer: (database) => {
    const set = database.prepare(
      "insert into provided (realm, key, announced_at) values (?, ?, ?) on conflict (realm, key) do update set announced_at = excluded.announced_at"
    )
    const remove = database.prepare("delete from provided where realm = ? and key = ?")
    return (changes) =>
      transact(database, () => {
        for (const { after, before } of changes) {
          if (after !== undefined) set.run(after.realm, after.key, after.announcedAt ?? null)
          else if (before !== undefined) remove.run(before.realm, before.key)
        }
      })
  }
}
