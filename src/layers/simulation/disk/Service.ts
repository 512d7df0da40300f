/** Effect's FileSystem on a simulated volume. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Prng } from "../Prng.ts"
import { type Door, operation, refuse } from "./Door.ts"
import { type Access, Handle, infoOf } from "./Handle.ts"
import type { Node } from "./Nodes.ts"
import { type Code, partsOf, type Volume } from "./Volume.ts"

/** What every process takes away from the modes it asks for. */
const umask = 0o022

const accessOf = (flag: FileSystem.OpenFlag): Access => ({
  readable: flag === "r" || flag.includes("+"),
  writable: flag !== "r",
  append: flag.startsWith("a")
})

const openNode = (
  volume: Volume,
  path: string,
  flag: FileSystem.OpenFlag,
  mode: number,
  now: number
): Result.Result<Node, Code> => {
  const there = volume.find(path)
  const creates = !flag.startsWith("r")
  if (Result.isFailure(there) && (there.failure !== "ENOENT" || !creates)) return there
  const opened = creates ? volume.create(path, mode & ~umask, flag.includes("x"), now) : there
  if (Result.isFailure(opened)) return opened
  const node = opened.success
  const { readable, writable } = accessOf(flag)
  if (node._tag === "Directory" && writable) return Result.fail("EISDIR")
  // Who makes a file may use it, whatever mode it is given.
  if (Result.isSuccess(there)) {
    if (readable && !volume.allows(node, "read")) return Result.fail("EACCES")
    if (writable && !volume.allows(node, "write")) return Result.fail("EACCES")
  }
  if (flag.startsWith("w") && node._tag === "File") volume.truncate(node, 0, now)
  return opened
}

const namesIn = (node: Node, prefix: string, recursive: boolean): Array<string> => {
  if (node._tag === "File") return []
  return [...node.entries].flatMap(([name, child]) => [
    prefix + name,
    ...(recursive ? namesIn(child, `${prefix}${name}/`, true) : [])
  ])
}

/** The file system as one start of the machine sees it. */
export const makeService = (volume: Volume, door: Door, names: Prng): FileSystem.FileSystem => {
  type Failure = PlatformError.PlatformError
  const run = <A>(method: string, path: string, body: (now: number) => Result.Result<A, Code>, detail = path) =>
    operation(door, method, path, detail, body)
  const unsupported = (method: string, path: string) => Effect.fail(refuse(method, path, "ENOTSUP"))
  const find = (method: string, path: string): Effect.Effect<Node, Failure> =>
    run(method, path, () => volume.find(path))
  const directory = (method: string, path: string) =>
    run(method, path, () =>
      Result.flatMap(volume.find(path), (node) => {
        if (node._tag === "File") return Result.fail("ENOTDIR")
        return volume.allows(node, "read") ? Result.succeed(node) : Result.fail("EACCES")
      })
    )

  const open: FileSystem.FileSystem["open"] = (path, options) => {
    const flag = options?.flag ?? "r"
    return Effect.map(
      Effect.acquireRelease(
        run(
          "open",
          path,
          (now) =>
            Result.map(openNode(volume, path, flag, options?.mode ?? 0o666, now), (node) => {
              volume.open(node)
              return { node, handle: new Handle(door, volume, path, node, accessOf(flag)) }
            }),
          `${path} ${flag}`
        ),
        ({ handle, node }) =>
          Effect.sync(() => {
            handle.close()
            // A crash has closed it already.
            if (door.enter("close", path) === undefined) volume.close(node)
          })
      ),
      ({ handle }) => handle
    )
  }
  const readFile: FileSystem.FileSystem["readFile"] = (path) =>
    run("readFile", path, () =>
      Result.flatMap(volume.find(path), (node) => {
        if (node._tag === "Directory") return Result.fail("EISDIR")
        if (!volume.allows(node, "read")) return Result.fail("EACCES")
        return Result.succeed(node.content.view(0, node.content.size).slice())
      })
    )
  const writeFile: FileSystem.FileSystem["writeFile"] = (path, data, options) =>
    Effect.scoped(
      Effect.flatMap(open(path, { flag: options?.flag ?? "w", mode: options?.mode }), (file) => file.writeAll(data))
    )
  const remove: FileSystem.FileSystem["remove"] = (path, options) =>
    run("remove", path, (now) => {
      const gone = volume.remove(path, options?.recursive === true, now)
      return Result.isFailure(gone) && gone.failure === "ENOENT" && options?.force === true ? Result.void : gone
    })
  const makeTempDirectory: FileSystem.FileSystem["makeTempDirectory"] = (options) =>
    Effect.suspend(() => {
      const path = `${options?.directory ?? "/tmp"}/${options?.prefix ?? ""}${names.uint32().toString(36)}`
      return Effect.as(
        run("makeTempDirectory", path, (now) => volume.makeDirectory(path, 0o700, false, now)),
        path
      )
    })
  const makeTempFile: FileSystem.FileSystem["makeTempFile"] = (options) =>
    Effect.flatMap(makeTempDirectory(options), (folder) => {
      const path = `${folder}/${names.uint32().toString(36)}${options?.suffix ?? ""}`
      return Effect.as(writeFile(path, new Uint8Array(0)), path)
    })

  return FileSystem.make({
    access: (path, options) =>
      run("access", path, () =>
        Result.flatMap(volume.find(path), (node) => {
          if (options?.readable === true && !volume.allows(node, "read")) return Result.fail("EACCES")
          if (options?.writable === true && !volume.allows(node, "write")) return Result.fail("EACCES")
          return Result.void
        })
      ),
    chmod: (path, mode) => run("chmod", path, () => volume.setMode(path, mode), `${path} ${mode.toString(8)}`),
    chown: (path) => unsupported("chown", path),
    copy: (path) => unsupported("copy", path),
    copyFile: (from, to) => Effect.flatMap(readFile(from), (bytes) => writeFile(to, bytes)),
    link: (from, to) => run("link", to, (now) => volume.link(from, to, now), `${from} ${to}`),
    lstat: (path) => Effect.map(find("lstat", path), infoOf),
    makeDirectory: (path, options) =>
      run("makeDirectory", path, (now) =>
        volume.makeDirectory(path, (options?.mode ?? 0o777) & ~umask, options?.recursive === true, now)
      ),
    makeTempDirectory,
    makeTempDirectoryScoped: (options) =>
      Effect.acquireRelease(makeTempDirectory(options), (path) => Effect.ignore(remove(path, { recursive: true }))),
    makeTempFile,
    makeTempFileScoped: (options) =>
      Effect.acquireRelease(makeTempFile(options), (path) =>
        Effect.ignore(remove(path.slice(0, path.lastIndexOf("/")), { recursive: true }))
      ),
    open,
    readDirectory: (path, options) =>
      Effect.map(directory("readDirectory", path), (node) => namesIn(node, "", options?.recursive === true)),
    readDirectoryEntries: (path) =>
      Effect.map(directory("readDirectoryEntries", path), (node) =>
        [...node.entries].map(([name, child]) => ({ name, type: child._tag }))
      ),
    readFile,
    readLink: (path) => unsupported("readLink", path),
    realPath: (path) => Effect.as(find("realPath", path), `/${partsOf(path).join("/")}`),
    remove,
    rename: (from, to) => run("rename", from, (now) => volume.rename(from, to, now), `${from} ${to}`),
    stat: (path) => Effect.map(find("stat", path), infoOf),
    symlink: (path) => unsupported("symlink", path),
    truncate: (path, length) =>
      Effect.scoped(Effect.flatMap(open(path, { flag: "r+" }), (file) => file.truncate(length))),
    utimes: (path) => unsupported("utimes", path),
    watch: (path) => Stream.fail(refuse("watch", path, "ENOTSUP")),
    writeFile
  })
}
