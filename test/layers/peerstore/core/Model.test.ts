import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FileSystem, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as NodeCrypto from "../../../../src/layers/crypto/NodeCrypto.ts"
import * as MemoryPeerStore from "../../../../src/layers/peerstore/MemoryPeerStore.ts"
import * as SqlitePeerStore from "../../../../src/layers/peerstore/SqlitePeerStore.ts"
import { Model, type Op } from "./model.ts"
import { apply, cast, normal, operation, snapshot } from "./operations.ts"

const limits = { maxPeers: 5, maxAddresses: 4, maxTags: 2, maxAge: 60 }
const operations = Schema.Array(operation).check(Schema.isMaxLength(60))
const folder = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())

/** The same without the passing of time. */
const timeless = (op: Op): Op => ({ ...op, kind: op.kind === "wait" ? "proven" : op.kind, time: 1000 })

const likeTheModel = (ops: ReadonlyArray<Op>, bounds: typeof limits) =>
  Effect.gen(function* () {
    const all = cast
    const store = yield* MemoryPeerStore.make(bounds)
    const model = new Model(bounds)
    yield* TestClock.setTime(0)
    for (const op of ops.map(normal)) {
      const wanted = model.apply(op)
      const got = yield* apply(store, all, op)
      if (op.kind === "wait") yield* TestClock.setTime(model.now)
      if (wanted !== undefined) assert.strictEqual(got, wanted)
      assert.deepStrictEqual(yield* snapshot(store, all), model.snapshot())
      assert.strictEqual(yield* store.size, model.snapshot().length)
    }
  }).pipe(Effect.provide(NodeCrypto.layer))

describe("random operations", () => {
  it.effect.prop("do to a store in memory what the model says", [operations], ([ops]) => likeTheModel(ops, limits), {
    arbitrary: { runs: 150 }
  })

  // What has expired counts as a peer until it is swept, which the model does at once.
  it.effect.prop(
    "and so when there are more peers than it remembers",
    [Schema.Array(operation).check(Schema.isMinLength(30), Schema.isMaxLength(60))],
    ([ops]) => likeTheModel(ops.map(timeless), { ...limits, maxPeers: 3 }),
    { arbitrary: { runs: 60 } }
  )

  it.effect.prop(
    "do to a store in a file what they do to one in memory, however often it is opened again",
    [Schema.Array(Schema.Union([operation, Schema.Literal("reopen")])).check(Schema.isMaxLength(50))],
    ([ops]) =>
      Effect.gen(function* () {
        const all = cast
        const path = `${yield* folder}/peers.db`
        const memory = yield* MemoryPeerStore.make(limits)
        const open = Effect.gen(function* () {
          const scope = yield* Scope.make()
          const store = yield* Scope.provide(SqlitePeerStore.make({ ...limits, path, durability: "process" }), scope)
          return { store, close: Scope.close(scope, Exit.void) }
        })
        yield* TestClock.setTime(0)
        let now = 0
        let file = yield* open
        for (const op of ops) {
          if (op === "reopen") {
            yield* file.close
            file = yield* open
          } else {
            const usual = normal(op)
            if (usual.kind === "wait") yield* TestClock.setTime((now += usual.time))
            assert.strictEqual(yield* apply(file.store, all, usual), yield* apply(memory, all, usual))
          }
          assert.deepStrictEqual(yield* snapshot(file.store, all), yield* snapshot(memory, all))
        }
        yield* file.close
      }).pipe(Effect.scoped, Effect.provide([NodeCrypto.layer, NodeFileSystem.layer])),
    { arbitrary: { runs: 10 } }
  )
})
