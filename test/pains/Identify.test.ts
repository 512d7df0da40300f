/** Peers that are connected, but of which nothing is known yet. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { Identify, PeerStore, Swarm } from "../../src/index.ts"
import { run, simulate } from "../../src/testing.ts"
import { bytes, dial, handle, nth } from "./kit.ts"

describe("16 the race with identify", () => {
  it("16 right after connecting each end knows what the other speaks, by waiting for it, in any order of things", () => {
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const report = run({ nodes: 2, seed, shuffle: true }, ({ faults, nodes }) =>
        Effect.gen(function* () {
          const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
          yield* handle(a, "/of-a", () => Effect.void)
          yield* handle(b, "/of-b", (stream) => Effect.flatMap(stream.read, (batch) => stream.write(batch ?? bytes(0))))
          if (seed % 2 === 0) yield* faults.clog(b, a, 3000)
          // The listener asks at the event of the connection itself.
          const seenByB = yield* b
            .run(
              Effect.flatMap(Swarm.Swarm, ({ events }) =>
                Stream.runHead(
                  Stream.flatMap(events, (event) =>
                    event._tag === "Connected"
                      ? Stream.fromEffect(
                          Effect.flatMap(Identify.Identify, ({ identified }) => identified(event.connection))
                        )
                      : Stream.empty
                  )
                )
              )
            )
            .pipe(Effect.forkChild)
          yield* Effect.sleep(1)
          const connection = yield* dial(a, b)
          // A stream needs no knowledge: it negotiates.
          const [seenByA, answer] = yield* Effect.all(
            [
              a.run(Effect.flatMap(Identify.Identify, ({ identified }) => identified(connection))),
              a.run(
                Effect.scoped(
                  Effect.flatMap(connection.openStream("/of-b"), (stream) =>
                    Effect.andThen(stream.write(bytes(5)), stream.read)
                  )
                )
              )
            ],
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(answer, bytes(5))
          assert.include(seenByA.protocols, "/of-b")
          const told = yield* Fiber.join(seenByB)
          assert.include(told._tag === "Some" ? told.value.protocols : [], "/of-a")
          // Whoever waited for it finds it in the peer store too.
          const stored = yield* a.run(Effect.flatMap(PeerStore.PeerStore, (store) => store.get(b.peerId)))
          assert.include(stored?.protocols ?? [], "/of-b")
        })
      )
      assert.isTrue(report.ok, `seed ${seed}: ${report.problem}`)
    }
  })

  it(
    "16 what a peer speaks later is told too, and what it speaks no more",
    simulate({ nodes: 2 }, ({ nodes }) =>
      Effect.gen(function* () {
        const [a, b] = [nth(nodes, 0), nth(nodes, 1)]
        const connection = yield* dial(a, b)
        const known = a.run(
          Effect.flatMap(Identify.Identify, ({ identified }) =>
            Effect.map(identified(connection), ({ protocols }) => protocols.includes("/late"))
          )
        )
        assert.isFalse(yield* known)
        yield* handle(b, "/late", () => Effect.void)
        yield* Effect.sleep("1 second")
        assert.isTrue(yield* known)
      })
    )
  )
})
