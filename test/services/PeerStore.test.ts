import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import { PeerStoreError, PeerStoreLimit, StorageFailed, tolerant } from "../../src/services/PeerStore.ts"

const broken = Effect.fail(new PeerStoreError({ where: "peers.db", reason: new StorageFailed({ detail: "full" }) }))
const over = Effect.fail(
  new PeerStoreError({ where: "peer", reason: new PeerStoreLimit({ resource: "tags", limit: 64 }) })
)

describe("a store that is used by who goes on without it", () => {
  it.effect("is told of once when it fails, until a write succeeds again", () =>
    Effect.gen(function* () {
      const warnings: Array<unknown> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel === "Warn") warnings.push(message)
      })
      yield* Effect.gen(function* () {
        const use = tolerant("the test")
        assert.strictEqual(yield* use.read(Effect.succeed(1)), 1)
        yield* use.write(broken)
        // What is asked for may be in memory: it says nothing of the disk.
        assert.strictEqual(yield* use.read(Effect.succeed(2)), 2)
        yield* use.write(broken)
        assert.isUndefined(yield* use.read(broken))
        assert.lengthOf(warnings, 1)
        yield* use.write(Effect.void)
        yield* use.write(over)
        assert.lengthOf(warnings, 1)
        yield* use.write(broken)
        assert.lengthOf(warnings, 2)
      }).pipe(Effect.provide(Logger.layer([logger])))
    })
  )
})
