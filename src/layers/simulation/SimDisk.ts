/**
 * A disk for simulated machines, behind Effect's FileSystem, that forgets at a
 * crash what was not synced.
 *
 * The model is a journaling file system such as ext4 with delayed allocation:
 *
 * - Changes of names and modes (create, link, rename, remove, chmod) go into one
 *   journal. They become durable in their order, each whole or not at all: all of
 *   them at the next `sync` of any file or directory, or any number of them, from
 *   the first on, at a torn crash.
 * - Bytes become durable by `sync` of their file, and by nothing else. A rename
 *   may be durable before the bytes of the file that it renames: the file is then
 *   empty, or holds a part.
 * - A truncation is a change of bytes, not of names. Later bytes of the file are
 *   found only if it is durable.
 * - The device writes sectors, each whole or not at all.
 * - When much waits to be synced, everything is written back at once.
 *
 * The disk has one user, who owns everything; the bits of the owner in modes are
 * obeyed. There are no symbolic links and no watching.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import { makeService } from "./disk/Service.ts"
import type { Door } from "./disk/Door.ts"
import { type Code, Volume } from "./disk/Volume.ts"
import type { Prng } from "./Prng.ts"

export interface SimDiskOptions {
  /** Decides what a torn crash leaves, which operations fail, and the names of temporary files. */
  readonly random: Prng
  /** Told of every change, sync, crash and fault, for a trace. Reads are not told. */
  readonly note?: ((kind: string, detail: string) => void) | undefined
  /** Bytes that all files together may have. Default 1 GiB. */
  readonly capacityBytes?: number | undefined
  /** What the device writes whole or not at all. Default 512; smaller tears small files as well. */
  readonly sectorBytes?: number | undefined
  /** Unsynced bytes that may wait in memory; beyond, all is written back. Default 16 MiB. */
  readonly dirtyBytes?: number | undefined
}

/**
 * How a machine stops.
 *
 * - `kept`: the process dies, the machine lives. All that was written is there, synced or not.
 * - `lost`: the power goes, and nothing that was not synced is there.
 * - `torn`: the power goes while the disk is at work: of what was not synced, a part is there.
 */
export type CrashMode = "kept" | "lost" | "torn"

const quiet = new Set(["access", "close", "lstat", "read", "readAlloc", "readDirectory", "readDirectoryEntries"])
for (const method of ["readFile", "realPath", "stat"]) quiet.add(method)

/**
 * One disk. It outlives the processes that use it.
 *
 * ```
 * const disk = new SimDisk({ random: world.random.fork("disk of a") })
 * const before = yield* Effect.exit(program.pipe(Effect.provide(disk.layer)))
 * disk.crash("torn")
 * const after = yield* Effect.exit(program.pipe(Effect.provide(disk.layer)))
 * ```
 */
export class SimDisk {
  /** No byte more can be stored: what makes a file longer fails with ENOSPC. Names can still be made. */
  get full(): boolean {
    return this.volume.full
  }
  set full(full: boolean) {
    this.volume.full = full
    this.note("disk.full", String(full))
  }
  /** Operations so far, reads and failures included. */
  operations = 0
  private readonly volume: Volume
  private readonly note: (kind: string, detail: string) => void
  private readonly tears: Prng
  private readonly failures: Prng
  private readonly names: Prng
  private failing = 0
  private stopAfter = Number.POSITIVE_INFINITY
  private stopped = false
  /** Counts the crashes: what was opened before one is dead after it. */
  private starts = 0
  private waiting = new Set<() => void>()

  constructor(options: SimDiskOptions) {
    this.volume = new Volume({
      capacityBytes: options.capacityBytes ?? 1024 * 1024 * 1024,
      sectorBytes: options.sectorBytes ?? 512,
      dirtyBytes: options.dirtyBytes ?? 16 * 1024 * 1024
    })
    this.note = options.note ?? (() => {})
    this.tears = options.random.fork("tears")
    this.failures = options.random.fork("failures")
    this.names = options.random.fork("names")
    this.volume.makeDirectory("/tmp", 0o777, false, 0)
    this.volume.flush()
  }

  /** Bytes of all files, those included that are open and have no name any more. */
  get usedBytes(): number {
    return this.volume.usedBytes
  }

  /**
   * The disk for one start of the machine: after a crash, everything that was
   * built on it fails with EIO, and it must be built again. A new layer each
   * time it is asked for, so that a restart does not share the dead one.
   */
  get layer(): Layer.Layer<FileSystem.FileSystem> {
    return Layer.effect(
      FileSystem.FileSystem,
      Effect.sync(() => this.mount())
    )
  }

  /** The service itself, until the next crash. */
  mount(): FileSystem.FileSystem {
    return makeService(this.volume, this.door(this.starts), this.names)
  }

  /** Each operation fails with EIO with this probability, and changes nothing. */
  fail(probability: number): void {
    this.failing = probability
    this.note("disk.fail", String(probability))
  }

  /**
   * The power goes after so many further operations: later ones wait until the
   * crash, and then fail. To crash a program at each of its steps.
   */
  stop(afterOperations: number): void {
    this.stopAfter = this.operations + afterOperations
    this.stopped = afterOperations <= 0
  }

  /** True when an operation has waited for the crash. */
  get isStopped(): boolean {
    return this.stopped
  }

  /** What a kernel does now and then: everything written so far is durable. */
  flush(): void {
    this.volume.flush()
    this.note("disk.flush", "")
  }

  /** Ends everything that uses the disk, and leaves what this kind of crash leaves. */
  crash(mode: CrashMode): void {
    this.starts++
    this.stopAfter = Number.POSITIVE_INFINITY
    this.stopped = false
    let detail = ""
    if (mode === "kept") this.volume.dropHandles()
    else detail = this.volume.crash(mode === "torn" ? this.tears : undefined)
    this.note("disk.crash", detail === "" ? mode : `${mode}: ${detail}`)
    const waiting = this.waiting
    this.waiting = new Set()
    for (const resume of waiting) resume()
  }

  private door(start: number): Door {
    return {
      enter: (method, detail) => this.enter(start, method, detail),
      stopped: () => {
        if (start !== this.starts) return false
        if (this.operations >= this.stopAfter) this.stopped = true
        return this.stopped
      },
      crashed: Effect.callback<void>((resume) => {
        if (start !== this.starts) return resume(Effect.void)
        const wake = () => resume(Effect.void)
        this.waiting.add(wake)
        return Effect.sync(() => {
          this.waiting.delete(wake)
        })
      })
    }
  }

  private enter(start: number, method: string, detail: string): Code | undefined {
    if (start !== this.starts) return "EIO"
    // Closing costs the disk nothing and cannot fail.
    if (method === "close") return undefined
    this.operations++
    const fails = this.failures.chance(this.failing)
    if (fails) this.note("disk.error", `${method} ${detail}`)
    else if (!quiet.has(method)) this.note(`disk.${method}`, detail)
    return fails ? "EIO" : undefined
  }
}
