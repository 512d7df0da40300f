/**
 * Opens the file of a store, or says why not. A file that is not in order is
 * left as it was, to the byte: all checks are made before anything may write.
 *
 * 1. Its header says whether it is a database, ours, of a version that is
 *    known, and whole.
 * 2. SQLite checks all of it, by a connection that cannot write. Where the last
 *    process was killed and left its log (`-wal`), every row is read as well:
 *    closing the next connection would write that log back.
 * 3. It is opened for good, locked until it is closed, and read.
 *
 * A new file is made under another name and then given its own, so that it
 * exists whole or not at all.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { fileURLToPath, pathToFileURL } from "node:url"
import * as Module from "./Module.ts"

/** What a store keeps in its file. */
export interface Format<A> {
  /** Says in the header of the file whose it is. */
  readonly applicationId: number
  /** The version of the tables, in the header of the file. */
  readonly version: number
  /** The statements that make the tables of an empty file. */
  readonly tables: string
  /** All that is stored, or what of it cannot be read. Throws what SQLite throws. */
  readonly readAll: (database: Module.Database) => ReadonlyArray<A> | string
}

export interface OpenOptions<A, E> {
  readonly path: string
  /** In bytes. */
  readonly maxFileSize: number
  readonly format: Format<A>
  /** The error of the store, of what went wrong in words. */
  readonly failed: (detail: string) => E
}

export interface Opened<A> {
  readonly database: Module.Database
  readonly stored: ReadonlyArray<A>
  /** Waits until the disk has all that was committed. */
  readonly sync: Effect.Effect<void, PlatformError.PlatformError>
}

const leftAlone = "The file is left as it was: restore it from a backup, or move it away to start anew"

/** What is wrong, in words, as long as it is on its way to who knows the error of the store. */
interface Fault {
  readonly _tag: "Fault"
  readonly detail: string
}

const faultOf = (detail: string): Fault => ({ _tag: "Fault", detail })
const refuse = (detail: string): Effect.Effect<never, Fault> => Effect.fail(faultOf(detail))

/** In words, what the system said. */
export const describe = (error: PlatformError.PlatformError): string => {
  switch (error.reason._tag) {
    case "PermissionDenied":
      return "this user has no permission: make it and its folder readable and writable for the user that runs this"
    case "NotFound":
      return "there is no such folder"
    default: {
      const cause = error.reason.cause
      return cause instanceof Error ? cause.message : error.message
    }
  }
}

/** What is wrong with a file that begins with these bytes. `logged`: a log beside it may hold the rest. */
const headerFault = (
  format: Format<unknown>,
  header: Uint8Array,
  size: number,
  logged: boolean
): string | undefined => {
  if (size === 0) return `it is empty. ${leftAlone}`
  const magic = "SQLite format 3\0"
  for (let i = 0; i < magic.length; i++) {
    if (header[i] !== magic.charCodeAt(i)) return "it is not a database: name another file. It is left as it was"
  }
  if (header.length < 100) return `it is truncated within its header. ${leftAlone}`
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength)
  if (view.getUint32(68) !== format.applicationId) {
    return "it is the database of another program, or another kind of store: name another file. It is left as it was"
  }
  const version = view.getUint32(60)
  if (version > format.version) {
    return `a newer release wrote it (its tables have version ${version}, this release reads up to ${format.version}): use that release, or name another file. It is left as it was`
  }
  if (version < 1) return `it is damaged: it has no version. ${leftAlone}`
  const pageSize = view.getUint16(16) === 1 ? 65_536 : view.getUint16(16)
  const whole = view.getUint32(28) * pageSize
  // The count of pages holds if it is as new as the rest of the header.
  if (!logged && view.getUint32(24) === view.getUint32(92) && size < whole) {
    return `it is truncated: it has ${size} of ${whole} bytes. ${leftAlone}`
  }
  return undefined
}

/** Paths that are open in this process, by their true names. See `open`. */
const inUse = new Set<string>()

/** Runs what may throw errors of SQLite. */
export const attempt = <A, E>(run: () => A, failed: (detail: string) => E): Effect.Effect<A, E> =>
  Effect.try({ try: run, catch: (thrown) => failed(Module.describe(thrown)) })

/** Makes an empty store at `path`, unless there is a file by now. */
const create = (
  fs: FileSystem.FileSystem,
  sqlite: Module.Module,
  path: string,
  folder: string,
  { applicationId, tables, version }: Format<unknown>
) =>
  Effect.scoped(
    Effect.gen(function* () {
      yield* fs.makeDirectory(folder, { recursive: true, mode: 0o700 })
      const temporary = `${path}.${(yield* Random.nextIntBetween(0, 2 ** 48)).toString(36)}.new`
      yield* Effect.addFinalizer(() => Effect.ignore(fs.remove(temporary, { force: true })))
      yield* Effect.scoped(fs.open(temporary, { flag: "wx", mode: 0o600 }))
      yield* attempt(() => {
        const database = new sqlite.DatabaseSync(temporary)
        try {
          database.exec(`pragma journal_mode = wal; pragma application_id = ${applicationId}`)
          database.exec(`begin; ${tables} pragma user_version = ${version}; commit`)
        } finally {
          database.close()
        }
      }, faultOf)
      // A link fails where the name is taken, which renaming does not; some file systems have no links.
      yield* fs.link(temporary, path).pipe(
        Effect.catchIf(
          (error) => error.reason._tag !== "AlreadyExists",
          () => fs.rename(temporary, path)
        ),
        Effect.catchIf(
          (error) => error.reason._tag === "AlreadyExists",
          () => Effect.void
        )
      )
    })
  )

/** Reads the whole file without a way to write it; gives what is wrong with it. */
const inspect = (sqlite: Module.Module, format: Format<unknown>, path: string, logged: boolean): string | undefined => {
  const url = pathToFileURL(path)
  // Without a log nobody has it open, and SQLite may read it without locks and without files of its own.
  if (!logged) url.searchParams.set("immutable", "1")
  const database = new sqlite.DatabaseSync(url, { readOnly: true })
  try {
    for (const { quick_check: line } of database.prepare("pragma quick_check(1)").all()) {
      if (line !== "ok") return `it is damaged (${String(line)}). ${leftAlone}`
    }
    if (!logged) return undefined
    const rows = format.readAll(database)
    return typeof rows === "string" ? `it is damaged: ${rows}. ${leftAlone}` : undefined
  } finally {
    database.close()
  }
}

const openLocked = (sqlite: Module.Module, path: string, maxFileSize: number): Module.Database => {
  const database = new sqlite.DatabaseSync(path)
  try {
    // What is read once and kept in memory must not be changed by another process: the lock is held throughout.
    database.exec("pragma locking_mode = exclusive")
    database.exec("pragma journal_mode = wal")
    // SQLite syncs at checkpoints only. Commits are synced by us, without holding up this thread.
    database.exec("pragma synchronous = normal")
    database.exec(`pragma max_page_count = ${Math.max(16, Math.floor(maxFileSize / 4096))}`)
    // Fails now, rather than later, where nothing can be written.
    database.exec("begin immediate")
    database.exec("commit")
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** Opens the file at `path`, which is made if there is none, and reads all of it. It is closed with the scope. */
export const open = <A, E>({
  failed,
  format,
  maxFileSize,
  path
}: OpenOptions<A, E>): Effect.Effect<Opened<A>, E, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const folder = fileURLToPath(new URL(".", pathToFileURL(path)))

    const sqlite = Module.load()
    if (sqlite === undefined) {
      return yield* refuse("this runtime has no node:sqlite: use Node 22.19 or later, or a store in memory")
    }
    if (!(yield* fs.exists(path))) yield* create(fs, sqlite, path, folder, format)

    // The system drops all locks of a process on a file when the process closes the file, however often it
    // has it open: a file that is open here must not even be looked at again.
    const name = yield* fs.realPath(path)
    if (inUse.has(name)) return yield* refuse("this process has it open already")
    yield* Effect.acquireRelease(
      Effect.sync(() => inUse.add(name)),
      () => Effect.sync(() => inUse.delete(name))
    )

    const info = yield* fs.stat(path)
    if (info.type === "Directory") return yield* refuse("it is a folder: name a file")
    if (info.type !== "File") return yield* refuse("it is not a file: name a file")
    yield* fs.access(path, { readable: true, writable: true })
    const header = yield* Effect.scoped(Effect.flatMap(fs.open(path, { flag: "r" }), (file) => file.readAlloc(100)))
    const logged = yield* fs.exists(`${path}-wal`)
    const fault = headerFault(
      format,
      Option.getOrElse(header, () => new Uint8Array(0)),
      Number(info.size),
      logged
    )
    if (fault !== undefined) return yield* refuse(fault)

    const index = `${path}-shm`
    const indexed = yield* fs.exists(index)
    const damage = yield* attempt(() => inspect(sqlite, format, path, logged), faultOf).pipe(
      // Reading a log makes an index of it, which nobody needs afterwards.
      Effect.ensuring(logged && !indexed ? Effect.ignore(fs.remove(index, { force: true })) : Effect.void)
    )
    if (damage !== undefined) return yield* refuse(damage)

    const database = yield* Effect.acquireRelease(
      attempt(() => openLocked(sqlite, path, maxFileSize), faultOf),
      // What a failing close leaves in the log, the next start finds there.
      (opened) => Effect.ignore(Effect.try(() => opened.close()))
    )
    const stored = yield* attempt(() => format.readAll(database), faultOf)
    if (typeof stored === "string") return yield* refuse(`it is damaged: ${stored}. ${leftAlone}`)
    const log = yield* fs.open(`${path}-wal`, { flag: "r+" })
    // The names of the file and of its log must outlive a power cut as well; not every system can sync a folder.
    yield* Effect.ignore(Effect.scoped(Effect.flatMap(fs.open(folder, { flag: "r" }), (opened) => opened.sync)))
    return { database, stored, sync: log.sync }
  }).pipe(Effect.mapError((error) => failed(error._tag === "Fault" ? error.detail : describe(error))))
