/**
 * A file system as a plain synchronous value: a tree of names, a journal of the
 * changes of names and modes that are not durable yet, and per file the changes
 * of bytes that are not. What each crash leaves is in {@link Volume.crash}; the
 * model is told in {@link file://../SimDisk.ts}.
 */
import * as Result from "effect/Result"
import type { Prng } from "../Prng.ts"
import { applyChange, type Change, changeSize, DirectoryNode, FileNode, type Node } from "./Nodes.ts"

/** Why a call failed, in the system's words. */
export type Code =
  | "EACCES"
  | "EBADF"
  | "EEXIST"
  | "EINVAL"
  | "EIO"
  | "EISDIR"
  | "ENOENT"
  | "ENOSPC"
  | "ENOTDIR"
  | "ENOTEMPTY"
  | "EPERM"
  | "ERR_FS_EISDIR"

export interface VolumeOptions {
  /** Bytes that all files together may have. */
  readonly capacityBytes: number
  /** What the device writes at once, or not at all. */
  readonly sectorBytes: number
  /** Bytes that may wait to be synced; beyond, everything is written back, as a kernel does. */
  readonly dirtyBytes: number
}

const readBit = 0o400
const writeBit = 0o200
const searchBit = 0o100

/** The parts of a path, with `.` and `..` resolved. */
export const partsOf = (path: string): ReadonlyArray<string> => {
  const parts: Array<string> = []
  for (const part of path.split("/")) {
    if (part === "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  return parts
}

interface Place {
  readonly directory: DirectoryNode
  readonly name: string
  readonly node: Node | undefined
}

export class Volume {
  usedBytes = 0
  /** Nothing grows any more. */
  full = false
  private readonly options: VolumeOptions
  private root = new DirectoryNode(1, 0o755, 0)
  private nextIno = 2
  private journal: Array<() => void> = []
  private dirty = new Set<FileNode>()
  private dirtyBytes = 0

  constructor(options: VolumeOptions) {
    this.options = options
  }

  // Names

  find(path: string): Result.Result<Node, Code> {
    const parts = partsOf(path)
    let node: Node = this.root
    for (const part of parts) {
      if (node._tag === "File") return Result.fail("ENOTDIR")
      if ((node.mode & searchBit) === 0) return Result.fail("EACCES")
      const next = node.entries.get(part)
      if (next === undefined) return Result.fail("ENOENT")
      node = next
    }
    return Result.succeed(node)
  }

  /** Where a path's last name is, or would be. */
  private locate(path: string): Result.Result<Place, Code> {
    const parts = partsOf(path)
    const name = parts[parts.length - 1]
    if (name === undefined) return Result.fail("EINVAL")
    const directory = this.find(parts.slice(0, -1).join("/"))
    if (Result.isFailure(directory)) return Result.fail(directory.failure)
    if (directory.success._tag === "File") return Result.fail("ENOTDIR")
    if ((directory.success.mode & searchBit) === 0) return Result.fail("EACCES")
    return Result.succeed({ directory: directory.success, name, node: directory.success.entries.get(name) })
  }

  /** The same, for a change of the directory. */
  private locateToChange(path: string): Result.Result<Place, Code> {
    return Result.flatMap(this.locate(path), (place) =>
      (place.directory.mode & writeBit) === 0 ? Result.fail("EACCES") : Result.succeed(place)
    )
  }

  private put(directory: DirectoryNode, name: string, node: Node, now: number): void {
    directory.entries.set(name, node)
    directory.modified = now
    if (node._tag === "File") node.links++
  }

  private drop(directory: DirectoryNode, name: string, node: Node, now: number): void {
    directory.entries.delete(name)
    directory.modified = now
    if (node._tag === "File") {
      node.links--
      this.forget(node)
    }
  }

  /** Frees a file that has neither name nor handle. */
  private forget(node: FileNode): void {
    if (node.links === 0 && node.opens === 0) this.usedBytes -= node.content.size
  }

  /** Makes a file, or gives the one that is there; with `exclusive`, there must be none. */
  create(path: string, mode: number, exclusive: boolean, now: number): Result.Result<Node, Code> {
    const place = this.locate(path)
    if (Result.isFailure(place)) return Result.fail(place.failure === "EINVAL" ? "EISDIR" : place.failure)
    const { directory, name, node } = place.success
    if (node !== undefined) return exclusive ? Result.fail("EEXIST") : Result.succeed(node)
    if ((directory.mode & writeBit) === 0) return Result.fail("EACCES")
    const made = new FileNode(this.nextIno++, mode, now)
    this.put(directory, name, made, now)
    this.journal.push(() => directory.durable.set(name, made))
    return Result.succeed(made)
  }

  makeDirectory(path: string, mode: number, recursive: boolean, now: number): Result.Result<void, Code> {
    if (recursive) {
      const parts = partsOf(path)
      for (let i = 1; i <= parts.length; i++) {
        const prefix = parts.slice(0, i).join("/")
        const there = this.find(prefix)
        if (Result.isSuccess(there)) {
          if (there.success._tag === "File") return Result.fail(i === parts.length ? "EEXIST" : "ENOTDIR")
          continue
        }
        const made = this.makeDirectory(prefix, mode, false, now)
        if (Result.isFailure(made)) return made
      }
      return Result.void
    }
    const place = this.locate(path)
    if (Result.isFailure(place)) return Result.fail(place.failure === "EINVAL" ? "EEXIST" : place.failure)
    const { directory, name, node } = place.success
    if (node !== undefined) return Result.fail("EEXIST")
    if ((directory.mode & writeBit) === 0) return Result.fail("EACCES")
    const made = new DirectoryNode(this.nextIno++, mode, now)
    this.put(directory, name, made, now)
    this.journal.push(() => directory.durable.set(name, made))
    return Result.void
  }

  link(from: string, to: string, now: number): Result.Result<void, Code> {
    const source = this.find(from)
    if (Result.isFailure(source)) return Result.fail(source.failure)
    const node = source.success
    const place = this.locate(to)
    if (Result.isFailure(place)) return Result.fail(place.failure)
    const { directory, name } = place.success
    if (place.success.node !== undefined) return Result.fail("EEXIST")
    if ((directory.mode & writeBit) === 0) return Result.fail("EACCES")
    if (node._tag === "Directory") return Result.fail("EPERM")
    this.put(directory, name, node, now)
    this.journal.push(() => directory.durable.set(name, node))
    return Result.void
  }

  rename(from: string, to: string, now: number): Result.Result<void, Code> {
    const source = this.locateToChange(from)
    if (Result.isFailure(source)) return Result.fail(source.failure)
    const target = this.locateToChange(to)
    if (Result.isFailure(target)) return Result.fail(target.failure)
    const { node } = source.success
    const old = target.success.node
    if (node === undefined) return Result.fail("ENOENT")
    // Two names of one file: nothing happens.
    if (old === node) return Result.void
    if (node._tag === "Directory") {
      const inside = partsOf(to)
      if (partsOf(from).every((part, i) => inside[i] === part)) return Result.fail("EINVAL")
      if (old?._tag === "File") return Result.fail("ENOTDIR")
      if (old !== undefined && old.entries.size > 0) return Result.fail("ENOTEMPTY")
    } else if (old?._tag === "Directory") {
      const inside = partsOf(from)
      return Result.fail(partsOf(to).every((part, i) => inside[i] === part) ? "ENOTEMPTY" : "EISDIR")
    }
    const { directory: left, name: oldName } = source.success
    const { directory: right, name: newName } = target.success
    if (old !== undefined) this.drop(right, newName, old, now)
    left.entries.delete(oldName)
    left.modified = now
    right.entries.set(newName, node)
    right.modified = now
    // One entry of the journal: a rename is seen whole or not at all.
    this.journal.push(() => {
      left.durable.delete(oldName)
      right.durable.set(newName, node)
    })
    return Result.void
  }

  remove(path: string, recursive: boolean, now: number): Result.Result<void, Code> {
    const place = this.locateToChange(path)
    if (Result.isFailure(place)) return Result.fail(place.failure)
    const { directory, name, node } = place.success
    if (node === undefined) return Result.fail("ENOENT")
    if (node._tag === "Directory") {
      if (!recursive) return Result.fail("ERR_FS_EISDIR")
      // Deleting the entry under a map's iterator is sound.
      for (const child of node.entries.keys()) {
        const gone = this.remove(`${path}/${child}`, true, now)
        if (Result.isFailure(gone)) return gone
      }
    }
    this.drop(directory, name, node, now)
    this.journal.push(() => directory.durable.delete(name))
    return Result.void
  }

  setMode(path: string, mode: number): Result.Result<void, Code> {
    return Result.map(this.find(path), (node) => {
      const bits = mode & 0o7777
      node.mode = bits
      this.journal.push(() => {
        node.durableMode = bits
      })
    })
  }

  allows(node: Node, want: "read" | "write"): boolean {
    return (node.mode & (want === "read" ? readBit : writeBit)) !== 0
  }

  // Bytes

  /** Writes what there is room for and gives how much that was. */
  write(node: FileNode, offset: number, bytes: Uint8Array, now: number): Result.Result<number, Code> {
    const size = node.content.size
    const room = this.full ? 0 : this.options.capacityBytes - this.usedBytes
    const end = Math.min(offset + bytes.length, size + Math.max(0, room))
    const taken = end - offset
    if (bytes.length === 0) return Result.succeed(0)
    if (taken <= 0) return Result.fail("ENOSPC")
    const piece = bytes.slice(0, taken)
    this.change(node, { _tag: "Write", offset, bytes: piece }, now)
    return Result.succeed(taken)
  }

  truncate(node: FileNode, size: number, now: number): Result.Result<void, Code> {
    const grows = size - node.content.size
    if (grows > 0 && (this.full || this.usedBytes + grows > this.options.capacityBytes)) return Result.fail("ENOSPC")
    if (grows !== 0) this.change(node, { _tag: "Truncate", size }, now)
    return Result.void
  }

  private change(node: FileNode, change: Change, now: number): void {
    const before = node.content.size
    applyChange(node.content, change)
    this.usedBytes += node.content.size - before
    node.modified = now
    node.changes.push(change)
    this.dirty.add(node)
    this.dirtyBytes += changeSize(change)
    if (this.dirtyBytes > this.options.dirtyBytes) this.flush()
  }

  open(node: Node): void {
    if (node._tag === "File") node.opens++
  }

  close(node: Node): void {
    if (node._tag === "Directory") return
    node.opens--
    this.forget(node)
  }

  // Durability

  /** Makes the bytes of the file durable, and all changes of names and modes so far. */
  sync(node: Node): void {
    this.commit(this.journal.length)
    if (node._tag === "File") this.writeBack(node)
  }

  /** Everything is durable. */
  flush(): void {
    this.commit(this.journal.length)
    for (const node of this.dirty) this.writeBack(node)
  }

  private commit(count: number): void {
    for (const entry of this.journal.splice(0, count)) entry()
  }

  private writeBack(node: FileNode): void {
    for (const change of node.changes) {
      applyChange(node.durable, change)
      this.dirtyBytes -= changeSize(change)
    }
    node.changes = []
    this.dirty.delete(node)
  }

  /** Back to what is durable; with `tear`, after a part of the rest has reached the disk. Gives what happened, in words. */
  crash(tear: Prng | undefined): string {
    const waiting = this.journal.length
    const names = tear === undefined ? 0 : tear.below(waiting + 1)
    this.commit(names)
    this.journal = []
    let written = 0
    let bytes = 0
    for (const node of this.dirty) {
      if (tear === undefined) continue
      for (const change of node.changes) {
        const part = tearChange(change, this.options.sectorBytes, tear)
        // Bytes that follow a truncation are nowhere to be found until it is known.
        if (part === undefined && change._tag === "Truncate") break
        if (part === undefined) continue
        applyChange(node.durable, part)
        written++
        bytes += part._tag === "Write" ? part.bytes.length : 0
      }
    }
    this.dirty = new Set()
    this.dirtyBytes = 0
    this.usedBytes = 0
    this.revert(this.root, new Set())
    return tear === undefined ? "" : `${names} of ${waiting} changes of names, ${written} writes with ${bytes} bytes`
  }

  /** After the processes are gone: files that have no name any more are freed. */
  dropHandles(): void {
    const seen = new Set<FileNode>()
    this.usedBytes = 0
    const visit = (directory: DirectoryNode): void => {
      for (const node of directory.entries.values()) {
        if (node._tag === "Directory") visit(node)
        else if (!seen.has(node)) {
          seen.add(node)
          node.opens = 0
          this.usedBytes += node.content.size
        }
      }
    }
    visit(this.root)
  }

  private revert(directory: DirectoryNode, seen: Set<FileNode>): void {
    directory.mode = directory.durableMode
    directory.entries = new Map(directory.durable)
    for (const node of directory.entries.values()) {
      if (node._tag === "Directory") this.revert(node, seen)
      else if (seen.has(node)) node.links++
      else {
        seen.add(node)
        node.links = 1
        node.opens = 0
        node.mode = node.durableMode
        node.changes = []
        node.content.copyOf(node.durable)
        this.usedBytes += node.content.size
      }
    }
  }
}

/** What of a change reached the disk: all, a number of sectors from its start, or nothing. */
const tearChange = (change: Change, sectorBytes: number, random: Prng): Change | undefined => {
  const fate = random.below(3)
  // Drawn in any case, so that one change's fate does not shift the next one's.
  const share = random.nextDoubleUnsafe()
  if (change._tag === "Truncate") return fate === 0 ? undefined : change
  if (fate === 0) return undefined
  if (fate === 1) return change
  const firstEnd = sectorBytes - (change.offset % sectorBytes)
  const sectors = change.bytes.length <= firstEnd ? 1 : 1 + Math.ceil((change.bytes.length - firstEnd) / sectorBytes)
  const kept = Math.floor(share * sectors)
  if (kept === 0) return undefined
  return { _tag: "Write", offset: change.offset, bytes: change.bytes.subarray(0, firstEnd + (kept - 1) * sectorBytes) }
}
