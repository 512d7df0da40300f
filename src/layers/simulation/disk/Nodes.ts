/**
 * Files and directories, each in two states: what processes see, and what a
 * power cut leaves. A file keeps the writes that lie between the two.
 */
import { Content } from "./Content.ts"

/** A change of a file's bytes that is not durable yet. */
export type Change =
  | { readonly _tag: "Write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly _tag: "Truncate"; readonly size: number }

/** Memory that a change takes, about. */
export const changeSize = (change: Change): number => (change._tag === "Write" ? change.bytes.length : 0) + 64

export const applyChange = (content: Content, change: Change): void => {
  if (change._tag === "Write") content.write(change.offset, change.bytes)
  else content.truncate(change.size)
}

export class FileNode {
  readonly _tag = "File"
  readonly ino: number
  /** Permissions, without the type. */
  mode: number
  durableMode: number
  readonly born: number
  modified: number
  /** Names that lead here. */
  links = 0
  /** Open handles. */
  opens = 0
  readonly content = new Content()
  readonly durable = new Content()
  /** In the order of the calls. */
  changes: Array<Change> = []

  constructor(ino: number, mode: number, now: number) {
    this.ino = ino
    this.mode = mode
    this.durableMode = mode
    this.born = now
    this.modified = now
  }
}

export class DirectoryNode {
  readonly _tag = "Directory"
  readonly ino: number
  mode: number
  durableMode: number
  readonly born: number
  modified: number
  entries = new Map<string, Node>()
  readonly durable = new Map<string, Node>()

  constructor(ino: number, mode: number, now: number) {
    this.ino = ino
    this.mode = mode
    this.durableMode = mode
    this.born = now
    this.modified = now
  }
}

export type Node = FileNode | DirectoryNode
