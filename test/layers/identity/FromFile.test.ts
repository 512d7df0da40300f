import { NodeFileSystem, NodePath } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Path, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Keys from "../../../src/data/Keys.ts"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as FromFile from "../../../src/layers/identity/FromFile.ts"
import * as KeyFile from "../../../src/layers/identity/KeyFile.ts"
import { Crypto } from "../../../src/services/Crypto.ts"

const Platform = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, NodeCrypto.layer, SecureRandom.layerWebCrypto)

const temporary = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.makeTempDirectoryScoped({ prefix: "identity-" })
})

describe("FromFile", () => {
  it.effect("the first start makes a key that only the owner may read, the second finds it", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = `${yield* temporary}/new/folder`
      const path = `${folder}/identity.key`
      const first = yield* FromFile.make({ path })
      const second = yield* FromFile.make({ path })
      assert.strictEqual(second.peerId.toString(), first.peerId.toString())
      assert.strictEqual(first.privateKey.type, "Ed25519")
      assert.strictEqual((yield* fs.stat(path)).mode & 0o777, 0o600)
      assert.strictEqual((yield* fs.stat(folder)).mode & 0o777, 0o700)
      assert.deepStrictEqual(yield* fs.readDirectory(folder), ["identity.key"])
    }).pipe(Effect.provide(Platform))
  )

  it.effect("many that start at once are one peer", () =>
    Effect.gen(function* () {
      const path = `${yield* temporary}/identity.key`
      const all = yield* Effect.all(
        Array.from({ length: 20 }, () => FromFile.make({ path })),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(all.map((identity) => identity.peerId.toString())).size, 1)
    }).pipe(Effect.provide(Platform))
  )

  it.effect("reads a key of each type", () =>
    Effect.gen(function* () {
      const folder = yield* temporary
      const crypto = yield* Crypto
      for (const type of Keys.keyTypes) {
        const path = `${folder}/${type}`
        const key = yield* crypto.generateKey(type)
        assert.isTrue(yield* KeyFile.write(path, key))
        const identity = yield* FromFile.make({ path })
        assert.deepStrictEqual(identity.privateKey.bytes, key.bytes)
        assert.strictEqual(identity.publicKey.type, type)
      }
    }).pipe(Effect.provide(Platform))
  )

  it.effect("a file that others may read is refused with the command that mends it", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* temporary}/identity.key`
      const { peerId } = yield* FromFile.make({ path })
      for (const mode of [0o640, 0o604, 0o620]) {
        yield* fs.chmod(path, mode)
        const refused = yield* Effect.flip(FromFile.make({ path }))
        assert.include(refused.message, `chmod 600 '${path}'`)
      }
      assert.strictEqual((yield* FromFile.make({ path, checkMode: false })).peerId.toString(), peerId.toString())
      yield* fs.chmod(path, 0o400)
      assert.strictEqual((yield* FromFile.make({ path })).peerId.toString(), peerId.toString())
    }).pipe(Effect.provide(Platform))
  )

  it.effect("a damaged or foreign file is refused and left as it is", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* temporary}/identity.key`
      yield* FromFile.make({ path })
      const whole = yield* fs.readFile(path)
      const unequal = Uint8Array.from(whole)
      unequal[40] = (unequal[40] ?? 0) ^ 1
      const contents = [
        ...Array.from(whole.keys(), (size) => whole.slice(0, size)),
        Uint8Array.from([...whole, 0]),
        unequal,
        new TextEncoder().encode("-----BEGIN PRIVATE KEY-----\n"),
        new Uint8Array(100_000)
      ]
      for (const bytes of contents) {
        yield* fs.writeFile(path, bytes)
        const result = yield* Effect.result(FromFile.make({ path }))
        assert.isTrue(Result.isFailure(result), `${bytes.length} bytes were taken for a key`)
        if (Result.isFailure(result)) {
          assert.strictEqual(result.failure._tag, "IdentityError")
          assert.include(result.failure.message, path)
        }
        assert.deepStrictEqual(yield* fs.readFile(path), bytes)
      }
    }).pipe(Effect.provide(Platform))
  )

  it.effect("a folder, or a folder that is none, is a clear error", () =>
    Effect.gen(function* () {
      const folder = yield* temporary
      const fs = yield* FileSystem.FileSystem
      assert.include((yield* Effect.flip(FromFile.make({ path: folder }))).message, "not a file")
      yield* fs.writeFile(`${folder}/file`, new Uint8Array(1))
      assert.include(
        (yield* Effect.flip(FromFile.make({ path: `${folder}/file/identity.key` }))).message,
        `${folder}/file/`
      )
    }).pipe(Effect.provide(Platform))
  )
})

describe("KeyFile", () => {
  it.effect("overwrites only when asked, and leaves no other file", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const paths = yield* Path.Path
      const folder = yield* temporary
      const path = paths.join(folder, "a.key")
      assert.isTrue(yield* KeyFile.writeSecret(path, Uint8Array.of(1)))
      assert.isFalse(yield* KeyFile.writeSecret(path, Uint8Array.of(2)))
      assert.deepStrictEqual(yield* fs.readFile(path), Uint8Array.of(1))
      yield* fs.chmod(path, 0o644)
      assert.isTrue(yield* KeyFile.writeSecret(path, Uint8Array.of(3), { overwrite: true }))
      assert.deepStrictEqual(yield* fs.readFile(path), Uint8Array.of(3))
      assert.strictEqual((yield* fs.stat(path)).mode & 0o777, 0o600)
      assert.deepStrictEqual(yield* fs.readDirectory(folder), ["a.key"])
    }).pipe(Effect.provide(Platform))
  )

  it.effect("no file is no error", () =>
    Effect.gen(function* () {
      assert.isUndefined(yield* KeyFile.read({ path: `${yield* temporary}/none` }))
    }).pipe(Effect.provide(Platform))
  )
})
