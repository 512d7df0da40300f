/** `node:sqlite`, loaded when it is first needed, and what its errors mean. */
import type * as Sqlite from "node:sqlite"

export type Module = typeof Sqlite
export type Database = Sqlite.DatabaseSync

/**
 * The module; `undefined` on a Node that has none. Node says once that the
 * module is experimental: users did not choose it, so they are not told. The
 * call is synchronous, so no other warning can be lost.
 */
export const load = (): Module | undefined => {
  if (typeof process.getBuiltinModule !== "function") return undefined
  const warn = Object.getOwnPropertyDescriptor(process, "emitWarning")
  if (warn === undefined) return process.getBuiltinModule("node:sqlite")
  Object.defineProperty(process, "emitWarning", { ...warn, value: () => {} })
  try {
    return process.getBuiltinModule("node:sqlite")
  } finally {
    Object.defineProperty(process, "emitWarning", warn)
  }
}

/** The result codes of SQLite that users can do something about. */
const meanings: Readonly<Record<number, string>> = {
  3: "this user has no permission",
  5: "another process uses it: stop that process, or name another file",
  6: "another process uses it: stop that process, or name another file",
  8: "it cannot be written: make it and its folder writable for the user that runs this",
  10: "the disk failed to read or write it",
  11: "it is damaged: restore it from a backup, or move it away to start anew",
  13: "there is no more room for it: the disk is full, or the file is at its limit (maxFileSize)",
  14: "it cannot be opened: make it and its folder readable and writable for the user that runs this",
  26: "it is not a database, or it is damaged: restore it from a backup, or name another file"
}

/** What went wrong, in words. */
export const describe = (thrown: unknown): string => {
  if (!(thrown instanceof Error)) return String(thrown)
  const code = "errcode" in thrown && typeof thrown.errcode === "number" ? thrown.errcode : 0
  // The low byte is the kind, the rest its details.
  const meaning = meanings[code & 0xff]
  return meaning === undefined ? thrown.message : `${meaning} (SQLite: ${thrown.message}, code ${code})`
}

/** Makes all the changes of `write`, or none. Throws what it throws. */
export const transact = (database: Database, write: () => void): void => {
  database.exec("begin immediate")
  try {
    write()
    database.exec("commit")
  } catch (error) {
    try {
      database.exec("rollback")
    } catch {
      // After some failures SQLite has rolled back by itself, and says that there is nothing to roll back.
    }
    throw error
  }
}
