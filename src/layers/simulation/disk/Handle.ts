/** An open file of the simulated disk. */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import { type Door, operation, refuse } from "./Door.ts"
import type { Node } from "./Nodes.ts"
import type { Code, Volume } from "./Volume.ts"

export interface Access {
  readonly readable: boolean
  readonly writable: boolean
  readonly append: boolean
}

const fileType = 0o100000
const directoryType = 0o040000

export const infoOf = (node: Node): FileSystem.File.Info => {
  const size = node._tag === "File" ? node.content.size : 4096
  return {
    type: node._tag,
    mtime: Option.some(new Date(node.modified)),
    atime: Option.some(new Date(node.modified)),
    birthtime: Option.some(new Date(node.born)),
    dev: 1n,
    ino: Option.some(BigInt(node.ino)),
    mode: (node._tag === "File" ? fileType : directoryType) | node.mode,
    nlink: Option.some(BigInt(node._tag === "File" ? node.links : 1)),
    uid: Option.some(0),
    gid: Option.some(0),
    rdev: Option.some(0n),
    size: ByteSize.bytes(size),
    blksize: Option.some(ByteSize.bytes(4096)),
    blocks: Option.some(BigInt(Math.ceil(size / 512)))
  }
}

const negative = (method: string): PlatformError.PlatformError =>
  PlatformError.badArgument({ module: "FileSystem", method, description: "a position before the start of the file" })

export class Handle implements FileSystem.File {
  readonly [FileSystem.FileTypeId]: typeof FileSystem.FileTypeId = FileSystem.FileTypeId
  readonly stat: Effect.Effect<FileSystem.File.Info, PlatformError.PlatformError>
  readonly sync: Effect.Effect<void, PlatformError.PlatformError>
  private readonly door: Door
  private readonly volume: Volume
  private readonly path: string
  private readonly node: Node
  private readonly access: Access
  private position = 0
  private closed = false

  constructor(door: Door, volume: Volume, path: string, node: Node, access: Access) {
    this.door = door
    this.volume = volume
    this.path = path
    this.node = node
    this.access = access
    this.stat = this.run("stat", path, () => Result.succeed(infoOf(node)))
    this.sync = this.run("sync", path, () => {
      volume.sync(node)
      return Result.void
    })
  }

  /** For the scope it was opened in. */
  close(): void {
    this.closed = true
  }

  private run<A>(method: string, detail: string, body: (now: number) => Result.Result<A, Code>) {
    return operation(this.door, method, this.path, detail, (now) => (this.closed ? Result.fail("EBADF") : body(now)))
  }

  readonly seek: FileSystem.File["seek"] = (offset, from) =>
    Effect.suspend(() => {
      const position = (from === "start" ? 0 : this.position) + Number(offset)
      if (position < 0) return Effect.fail(negative("seek"))
      this.position = position
      return Effect.succeed(BigInt(position))
    })

  private readInto(method: string, buffer: Uint8Array, explicit: bigint | undefined) {
    if (explicit !== undefined && explicit < 0n) return Effect.fail(negative(method))
    return this.run(method, `${this.path} ${buffer.length}`, () => {
      if (this.node._tag === "Directory") return Result.fail("EISDIR")
      if (!this.access.readable) return Result.fail("EBADF")
      const bytes = this.node.content.view(explicit === undefined ? this.position : Number(explicit), buffer.length)
      buffer.set(bytes)
      if (explicit === undefined) this.position += bytes.length
      return Result.succeed(bytes.length)
    })
  }

  readonly read: FileSystem.File["read"] = (buffer, options) => this.readInto("read", buffer, options?.position)

  readonly readAlloc: FileSystem.File["readAlloc"] = (size, options) =>
    Effect.suspend(() => {
      if (!Number.isSafeInteger(size) || size < 0) return Effect.fail(refuse("readAlloc", this.path, "EINVAL"))
      const length = this.node._tag === "File" ? Math.min(size, this.node.content.size) : 0
      const buffer = new Uint8Array(length)
      return Effect.map(this.readInto("readAlloc", buffer, options?.position), (n) =>
        n === 0 ? Option.none() : Option.some(buffer.subarray(0, n))
      )
    })

  readonly truncate: FileSystem.File["truncate"] = (length = 0) =>
    this.run("truncate", `${this.path} ${length}`, (now) => {
      if (this.node._tag === "Directory" || !this.access.writable) return Result.fail("EINVAL")
      if (!Number.isSafeInteger(length) || length < 0) return Result.fail("EINVAL")
      if (this.position > length && !this.access.append) this.position = length
      return this.volume.truncate(this.node, length, now)
    })

  private put(method: string, buffer: Uint8Array) {
    return this.run(method, `${this.path} ${buffer.length}`, (now) => {
      if (this.node._tag === "Directory" || !this.access.writable) return Result.fail("EBADF")
      const offset = this.access.append ? this.node.content.size : this.position
      return Result.map(this.volume.write(this.node, offset, buffer, now), (n) => {
        if (!this.access.append) this.position += n
        return n
      })
    })
  }

  readonly write: FileSystem.File["write"] = (buffer) => this.put("write", buffer)

  readonly writeAll: FileSystem.File["writeAll"] = (buffer) =>
    buffer.length === 0
      ? Effect.void
      : Effect.flatMap(this.put("writeAll", buffer), (n) =>
          n === buffer.length ? Effect.void : this.writeAll(buffer.subarray(n))
        )
}
