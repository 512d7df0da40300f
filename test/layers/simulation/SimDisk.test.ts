import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, type FileSystem, Layer, Path, type PlatformError, type Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { FileSystem as FileSystemTag } from "effect/FileSystem"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as FromFile from "../../../src/layers/identity/FromFile.ts"
import { Prng } from "../../../src/layers/simulation/Prng.ts"
import { type CrashMode, SimDisk, type SimDiskOptions } from "../../../src/layers/simulation/SimDisk.ts"

type Fs = FileSystem.FileSystem
type Failing<A> = Effect.Effect<A, PlatformError.PlatformError, Scope.Scope>

const diskOf = (seed: number | string, options?: Partial<SimDiskOptions>): SimDisk =>
  new SimDisk({ random: new Prng(`test ${seed}`), ...options })

const bytes = (size: number, from = 0): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (from + i * 7) & 0xff)
const tagOf = (error: PlatformError.PlatformError): string => error.reason._tag
const codeOf = (error: PlatformError.PlatformError): string => {
  const { cause } = error.reason
  return cause instanceof Error && "code" in cause ? String(cause.code) : ""
}

/** Writes a file, and syncs it if asked to. */
const put = (fs: Fs, path: string, data: Uint8Array, sync: boolean, flag: FileSystem.OpenFlag = "w"): Failing<void> =>
  Effect.scoped(
    Effect.gen(function* () {
      const file = yield* fs.open(path, { flag })
      yield* file.writeAll(data)
      if (sync) yield* file.sync
    })
  )

describe("SimDisk: as a file system", () => {
  it.effect("reads what was written, wherever it was written", () =>
    Effect.gen(function* () {
      const fs = diskOf(1).mount()
      yield* fs.makeDirectory("/a/b/c", { recursive: true, mode: 0o700 })
      const file = yield* fs.open("/a/b/c/file", { flag: "w+", mode: 0o600 })
      yield* file.writeAll(bytes(1000))
      assert.strictEqual(yield* file.seek(500n, "start"), 500n)
      yield* file.writeAll(bytes(10, 99))
      yield* file.seek(-20n, "current")
      const around = new Uint8Array(30)
      assert.strictEqual(yield* file.read(around), 30)
      const expected = bytes(1000)
      expected.set(bytes(10, 99), 500)
      assert.deepStrictEqual(around, expected.subarray(490, 520))
      assert.deepStrictEqual(yield* fs.readFile("a/b/../b/./c/file"), expected)
      const info = yield* fs.stat("/a/b/c/file")
      assert.deepStrictEqual([info.type, info.mode, Number(info.size)], ["File", 0o100600, 1000])
      yield* file.truncate(3)
      yield* file.truncate(5)
      assert.deepStrictEqual(yield* fs.readFile("/a/b/c/file"), Uint8Array.of(0, 7, 14, 0, 0))
      yield* fs.writeFileString("/a/b/c/file", "more", { flag: "a" })
      assert.strictEqual((yield* fs.readFile("/a/b/c/file")).length, 9)
      yield* fs.link("/a/b/c/file", "/a/second")
      yield* fs.rename("/a/b/c/file", "/a/first")
      yield* fs.copyFile("/a/first", "/a/third")
      assert.deepStrictEqual((yield* fs.readDirectory("/a", { recursive: true })).toSorted(), [
        "b",
        "b/c",
        "first",
        "second",
        "third"
      ])
      assert.strictEqual(yield* fs.exists("/a/b/c/file"), false)
      yield* fs.remove("/a", { recursive: true })
      assert.deepStrictEqual(yield* fs.readDirectory("/"), ["tmp"])
    })
  )

  it.effect("fails as a file system does, with the system's codes", () =>
    Effect.gen(function* () {
      const fs = diskOf(1).mount()
      const code = <A>(effect: Failing<A>) => Effect.map(Effect.flip(Effect.scoped(effect)), codeOf)
      yield* fs.makeDirectory("/d/e", { recursive: true })
      yield* fs.writeFileString("/d/f", "x")
      assert.strictEqual(yield* code(fs.readFile("/none")), "ENOENT")
      assert.strictEqual(yield* code(fs.readFile("/d")), "EISDIR")
      assert.strictEqual(yield* code(fs.readFile("/d/f/g")), "ENOTDIR")
      assert.strictEqual(yield* code(fs.open("/d/f", { flag: "wx" })), "EEXIST")
      assert.strictEqual(yield* code(fs.open("/d", { flag: "w" })), "EISDIR")
      assert.strictEqual(yield* code(fs.open("/none", { flag: "r+" })), "ENOENT")
      assert.strictEqual(yield* code(fs.makeDirectory("/d")), "EEXIST")
      assert.strictEqual(yield* code(fs.remove("/d")), "ERR_FS_EISDIR")
      assert.strictEqual(yield* code(fs.rename("/d", "/d/e/x")), "EINVAL")
      assert.strictEqual(yield* code(fs.link("/d/f", "/d/e")), "EEXIST")
      assert.strictEqual(yield* code(fs.symlink("/d/f", "/d/s")), "ENOTSUP")
      yield* fs.chmod("/d/f", 0o400)
      assert.strictEqual(yield* code(fs.open("/d/f", { flag: "a" })), "EACCES")
      yield* fs.chmod("/d", 0o500)
      assert.strictEqual(yield* code(fs.writeFileString("/d/g", "")), "EACCES")
      assert.strictEqual(yield* code(fs.remove("/d/f")), "EACCES")
      const scoped = yield* Effect.scoped(fs.open("/d/f"))
      assert.strictEqual(yield* code(scoped.stat), "EBADF")
      assert.strictEqual(yield* code(Effect.flatMap(fs.open("/d/f"), (file) => file.writeAll(bytes(1)))), "EBADF")
    })
  )

  it.live("does what a real one does, step by step", () =>
    Effect.gen(function* () {
      const real = yield* FileSystemTag
      for (let seed = 0; seed < 12; seed++) {
        const random = new Prng(`real ${seed}`)
        const sim = diskOf(seed).mount()
        const root = yield* real.makeTempDirectoryScoped()
        yield* sim.makeDirectory(root, { recursive: true })
        const path = () => `${root}/${random.pick(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "a/x"] as const)}`
        const flags: ReadonlyArray<FileSystem.OpenFlag> = ["r", "r+", "w", "wx", "w+", "wx+", "a", "ax", "a+", "ax+"]
        const step = (): ((fs: Fs) => Effect.Effect<unknown, PlatformError.PlatformError>) => {
          const one = path()
          const two = path()
          const size = random.below(40)
          const flag = random.pick(flags) ?? "r"
          switch (random.below(10)) {
            case 0:
              return (fs) => Effect.asVoid(fs.makeDirectory(one, { recursive: size % 2 === 0 }))
            case 1:
              return (fs) => fs.rename(one, two)
            case 2:
              return (fs) => fs.remove(one, { recursive: size % 2 === 0, force: size % 3 === 0 })
            case 3:
              return (fs) => fs.link(one, two)
            case 4:
              return (fs) => Effect.map(fs.readDirectory(one, { recursive: true }), (names) => names.toSorted())
            case 5:
              return (fs) => fs.truncate(one, size)
            case 6:
              return (fs) => Effect.map(fs.readFile(one), (data) => Array.from(data))
            case 7:
              return (fs) => Effect.map(fs.stat(one), (info) => [info.type, info.type === "File" ? info.size : 0])
            default:
              return (fs) =>
                Effect.scoped(
                  Effect.gen(function* () {
                    const file = yield* fs.open(one, { flag })
                    yield* file.seek(BigInt(size), "start")
                    const read = yield* Effect.result(file.read(new Uint8Array(10)))
                    const wrote = yield* Effect.result(file.writeAll(bytes(size, size)))
                    const buffer = new Uint8Array(100)
                    const all = yield* Effect.result(file.read(buffer, { position: 0n }))
                    return [read._tag, wrote._tag, all._tag, Array.from(buffer)]
                  })
                )
          }
        }
        for (let i = 0; i < 250; i++) {
          const doing = step()
          const [left, right] = [yield* Effect.result(doing(sim)), yield* Effect.result(doing(real))]
          const show = (result: typeof left) =>
            result._tag === "Success" ? ["ok", result.success] : ["failed", tagOf(result.failure)]
          assert.deepStrictEqual(
            show(left),
            show(right),
            `seed ${seed}, step ${i}, ${left._tag === "Failure" ? left.failure.message : ""}, ${right._tag === "Failure" ? right.failure.message : ""}`
          )
        }
      }
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.effect("a full disk and a small one take what they can, and say so", () =>
    Effect.gen(function* () {
      const disk = diskOf(1, { capacityBytes: 100 })
      const fs = disk.mount()
      const error = yield* Effect.flip(fs.writeFile("/big", bytes(150)))
      assert.strictEqual(codeOf(error), "ENOSPC")
      assert.deepStrictEqual([(yield* fs.readFile("/big")).length, disk.usedBytes], [100, 100])
      // In place there is room.
      yield* fs.writeFile("/big", bytes(100, 9), { flag: "r+" })
      yield* fs.remove("/big")
      assert.strictEqual(disk.usedBytes, 0)
      disk.full = true
      assert.strictEqual(codeOf(yield* Effect.flip(fs.writeFile("/small", bytes(1)))), "ENOSPC")
      disk.full = false
      yield* fs.writeFile("/small", bytes(1))
    })
  )

  it.effect("a file without a name lives as long as its handle", () =>
    Effect.gen(function* () {
      const disk = diskOf(1)
      const fs = disk.mount()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const file = yield* fs.open("/f", { flag: "w+" })
          yield* file.writeAll(bytes(10))
          yield* fs.remove("/f")
          assert.strictEqual(yield* file.read(new Uint8Array(10), { position: 0n }), 10)
          assert.strictEqual(disk.usedBytes, 10)
        })
      )
      assert.strictEqual(disk.usedBytes, 0)
    })
  )

  it.effect("operations fail by chance, change nothing then, and repeat from the seed", () =>
    Effect.gen(function* () {
      const runOnce = Effect.gen(function* () {
        const notes: Array<string> = []
        const disk = diskOf(5, { note: (kind, detail) => notes.push(`${kind} ${detail}`) })
        const fs = disk.mount()
        yield* fs.writeFile("/f", bytes(10))
        disk.fail(0.5)
        let failed = 0
        for (let i = 0; i < 40; i++) {
          const result = yield* Effect.result(fs.writeFile("/f", bytes(10), { flag: "r+" }))
          if (result._tag === "Failure") {
            failed++
            assert.strictEqual(codeOf(result.failure), "EIO")
          }
        }
        disk.fail(0)
        assert.isTrue(failed > 5 && failed < 40)
        assert.deepStrictEqual(yield* fs.readFile("/f"), bytes(10))
        return notes
      })
      assert.deepStrictEqual(yield* runOnce, yield* runOnce)
    })
  )
})

describe("SimDisk: crashes", () => {
  it.effect("each kind leaves what it says", () =>
    Effect.gen(function* () {
      const content = (mode: CrashMode) =>
        Effect.gen(function* () {
          const disk = diskOf(1)
          const fs = disk.mount()
          yield* put(fs, "/synced", bytes(2000), true)
          yield* put(fs, "/written", bytes(2000), false)
          yield* fs.rename("/synced", "/renamed")
          disk.crash(mode)
          return (yield* disk.mount().readDirectory("/")).toSorted()
        })
      assert.deepStrictEqual(yield* content("kept"), ["renamed", "tmp", "written"])
      assert.deepStrictEqual(yield* content("lost"), ["synced", "tmp"])
    })
  )

  it.effect("a renamed file that was not synced can be empty: the classical mistake is found", () =>
    Effect.gen(function* () {
      const seen = new Set<string>()
      for (let seed = 0; seed < 100; seed++) {
        const disk = diskOf(seed)
        const fs = disk.mount()
        yield* put(fs, "/config", bytes(1500, 1), true)
        yield* put(fs, "/config.new", bytes(1500, 2), false)
        yield* fs.rename("/config.new", "/config")
        disk.crash("torn")
        const left = yield* disk.mount().readFile("/config")
        const same = (other: Uint8Array) => left.length === other.length && left.every((byte, i) => byte === other[i])
        seen.add(
          same(bytes(1500, 1))
            ? "old"
            : same(bytes(1500, 2))
              ? "new"
              : left.length === 0
                ? "empty"
                : `cut ${left.length}`
        )
      }
      assert.deepStrictEqual([...seen].toSorted(), ["cut 1024", "cut 512", "empty", "new", "old"])
    })
  )

  it.effect("what was open, mounted or under way before a crash fails after it", () =>
    Effect.gen(function* () {
      const disk = diskOf(1)
      const fs = disk.mount()
      const file = yield* fs.open("/f", { flag: "w+" })
      yield* file.sync
      disk.stop(1)
      yield* file.writeAll(bytes(4))
      const stuck = yield* Effect.forkChild(Effect.flip(file.sync))
      yield* Effect.yieldNow
      assert.isTrue(disk.isStopped)
      assert.strictEqual(stuck.pollUnsafe(), undefined)
      disk.crash("lost")
      assert.strictEqual(codeOf(yield* Effect.flip(file.writeAll(bytes(4)))), "EIO")
      assert.strictEqual(codeOf(yield* Effect.flip(fs.readFile("/f"))), "EIO")
      assert.strictEqual(codeOf(yield* Fiber.join(stuck)), "EIO")
      assert.strictEqual((yield* disk.mount().readFile("/f")).length, 0)
    })
  )

  it.effect("what was synced is never lost, and no byte comes from nowhere", () =>
    Effect.gen(function* () {
      const modes: ReadonlyArray<CrashMode> = ["kept", "lost", "torn"]
      for (let seed = 0; seed < 200; seed++) {
        const random = new Prng(`property ${seed}`)
        const disk = diskOf(seed, { sectorBytes: 8, dirtyBytes: seed % 4 === 0 ? 500 : undefined })
        const paths = ["/a", "/b", "/c"]
        /** Per file: its bytes when it was last synced, and per position all values written since. */
        const known = new Map<string, { synced: Uint8Array; since: Array<Set<number>> }>()
        for (let round = 0; round < 4; round++) {
          const fs = disk.mount()
          for (const path of paths) if (round === 0) yield* put(fs, path, new Uint8Array(0), true, "a")
          for (const path of paths) {
            if (round === 0) known.set(path, { synced: new Uint8Array(0), since: [] })
          }
          for (let i = 0; i < 15; i++) {
            const path = random.pick(paths) ?? "/a"
            const entry = known.get(path)
            if (entry === undefined) continue
            const offset = random.below(40)
            const data = bytes(random.below(60), random.below(256))
            const sync = random.chance(0.3)
            yield* Effect.scoped(
              Effect.gen(function* () {
                const file = yield* fs.open(path, { flag: "r+" })
                yield* file.seek(BigInt(offset), "start")
                yield* file.writeAll(data)
                data.forEach((byte, j) => (entry.since[offset + j] ??= new Set([0])).add(byte))
                // A temporary name comes and goes, so that the journal has something in it.
                yield* fs.remove(`${path}.link`, { force: true })
                yield* fs.link(path, `${path}.link`)
                yield* fs.remove(`${path}.link`)
                if (!sync) return
                yield* file.sync
                known.set(path, { synced: yield* fs.readFile(path), since: [] })
              })
            )
          }
          disk.crash(random.pick(modes) ?? "torn")
          const after = disk.mount()
          for (const path of paths) {
            const entry = known.get(path)
            if (entry === undefined) continue
            const left = yield* after.readFile(path)
            assert.isAtLeast(left.length, entry.synced.length, `seed ${seed}, ${path}: synced bytes are gone`)
            left.forEach((byte, i) => {
              if (byte === (entry.synced[i] ?? 0) || entry.since[i]?.has(byte) === true) return
              assert.fail(`seed ${seed}, ${path}: byte ${i} is ${byte}, which was never written there`)
            })
            yield* Effect.scoped(Effect.flatMap(after.open(path), (file) => file.sync))
            known.set(path, { synced: left, since: [] })
          }
        }
      }
    })
  )
})

describe("SimDisk: a key file", () => {
  const path = "/home/node/keys/identity.key"
  const start = (fs: Fs, entropy: Prng) =>
    FromFile.make({ path }).pipe(
      Effect.map((identity) => identity.peerId.toString()),
      Effect.provideService(FileSystemTag, fs),
      Effect.provideService(
        SecureRandom.SecureRandom,
        SecureRandom.make((size) => entropy.bytes(size))
      ),
      Effect.provide(Layer.merge(Path.layer, NodeCrypto.layer))
    )

  for (const mode of ["kept", "lost", "torn"] as const) {
    it.effect(`is whole or absent after a crash at any step (${mode})`, () =>
      Effect.gen(function* () {
        const found = { absent: 0, whole: 0 }
        for (let seed = 0; seed < 12; seed++) {
          for (let step = 0; ; step++) {
            // Sectors of 8 bytes, so that even a key can be cut in two.
            const disk = diskOf(`${mode} ${seed} ${step}`, { sectorBytes: 8 })
            const entropy = new Prng(`entropy ${seed}`)
            disk.stop(step)
            const first = yield* Effect.forkDetach(Effect.result(start(disk.mount(), entropy)))
            while (!disk.isStopped && first.pollUnsafe() === undefined) yield* Effect.yieldNow
            const reached = first.pollUnsafe()
            disk.crash(mode)
            const fs = disk.mount()
            const size = (yield* fs.exists(path)) ? Number((yield* fs.stat(path)).size) : 0
            assert.include([0, 68], size, `seed ${seed}, step ${step}`)
            found[size === 0 ? "absent" : "whole"]++
            const second = yield* start(fs, entropy)
            // Who has once been told who it is, is that for good.
            if (reached !== undefined && Exit.isSuccess(reached) && reached.value._tag === "Success")
              assert.strictEqual(second, reached.value.success)
            disk.crash("torn")
            assert.strictEqual(yield* start(disk.mount(), entropy), second, `seed ${seed}, step ${step}`)
            if (reached !== undefined) break
          }
        }
        assert.isAbove(found.absent, 0)
        assert.isAbove(found.whole, 0)
      })
    )
  }

  it.effect("that was half written by someone careless is refused, with words", () =>
    Effect.gen(function* () {
      const disk = diskOf(1)
      const fs = disk.mount()
      yield* fs.makeDirectory("/home/node/keys", { recursive: true })
      yield* fs.writeFile(path, bytes(30), { mode: 0o600 })
      const error = yield* Effect.flip(start(fs, new Prng("e")))
      assert.include(error.message, path)
      disk.full = true
      yield* fs.remove(path)
      const full = yield* Effect.flip(start(fs, new Prng("e")))
      assert.include(full.message, "no space left on device")
      assert.deepStrictEqual(yield* fs.readDirectory("/home/node/keys"), [])
    })
  )
})
