/** One who would take all that a node holds for others, in whole nodes in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Bytes from "../../../src/data/Bytes.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import { at, content, idsOf, join, kadNode, type KadNode, records, statusOf } from "./network.ts"

const key = (i: number | string) => Bytes.fromUtf8(`/v/${i}`)
const cid = (n: number) => Bytes.concat([Uint8Array.of(0x12, 32), new Uint8Array(32).fill(n)])
const ok = Bytes.fromUtf8("ok")
const put = (on: KadNode, i: number | string) => Effect.exit(records(on, (store) => store.put(key(i), ok)))

describe("a node that holds little", () => {
  it(
    "is filled by nobody: others' records and announcements are taken and found, and what is refused is counted",
    // The first serves; the others flood, and use it.
    simulate(
      {
        nodes: 3,
        layer: kadNode(({ index }) => ({
          mode: index === 0 ? "server" : "client",
          holding: { records: 16, peer: 1 / 4 },
          providers: { maxRecords: 16, maxRecordsOfGroup: 16, maxKeysOfPeer: 4 }
        }))
      },
      ({ nodes }) =>
        Effect.gen(function* () {
          const [server, flooder, user] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)]
          yield* join(nodes)
          yield* put(user, "early")
          const flood: Array<boolean> = []
          for (let i = 0; i < 40; i++) flood.push((yield* put(flooder, i))._tag === "Success")
          for (let n = 1; n < 40; n++) yield* Effect.exit(content(flooder, ({ provide }) => provide(cid(n))))
          assert.isTrue(flood[0])
          assert.include(flood, false)
          assert.strictEqual((yield* put(user, "late"))._tag, "Success")
          yield* content(user, ({ provide }) => provide(cid(99)))
          yield* Effect.sleep("1 second")
          for (const i of ["early", "late"]) {
            assert.deepStrictEqual((yield* records(user, ({ get }) => get(key(i)))).value, ok)
          }
          const found = yield* content(flooder, ({ findProviders }) => Stream.runCollect(findProviders(cid(99))))
          assert.include(idsOf(found), user.peerId.toString())
          const { announcements, records: held } = yield* statusOf(server)
          assert.deepStrictEqual([held?.held, announcements.held], [6, 5])
          assert.isAbove(held?.refused.peer ?? 0, 10)
          assert.isAbove(announcements.refused.peer, 10)
        })
    ),
    60_000
  )
})
