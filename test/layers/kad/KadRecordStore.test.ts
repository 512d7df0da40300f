/** Records held by a DHT, in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Stream } from "effect"
import * as Bytes from "../../../src/data/Bytes.ts"
import * as Kad from "../../../src/data/messages/Kad.ts"
import { simulate } from "../../../src/layers/simulation/Simulate.ts"
import { Kad as KadService } from "../../../src/services/Kad.ts"
import { answering, at, join, kadNode, type KadNode, records, serving } from "./network.ts"

const key = Bytes.fromUtf8("/v/one")
const ok = (rest: string) => Bytes.fromUtf8(`ok ${rest}`)
const text = ({ value }: { readonly value: Uint8Array }) => Bytes.toUtf8(value)
const server = { nodes: 5, layer: kadNode({ mode: "server" }) }

/** What a node holds itself. */
const held = (node: KadNode) =>
  node.run(
    Effect.flatMap(KadService, ({ records }) =>
      records === undefined
        ? Effect.succeed(undefined)
        : Effect.map(Effect.option(records.get(key)), (found) =>
            found._tag === "Some" ? text(found.value) : undefined
          )
    )
  )

describe("KadRecordStore", () => {
  it(
    "has the closest hold what is put, and anybody get it",
    simulate(server, ({ nodes }) =>
      Effect.gen(function* () {
        yield* join(nodes)
        yield* records(at(nodes, 1), ({ put }) => put(key, ok("1"), { quorum: 4 }))
        for (const node of nodes) assert.strictEqual(yield* held(node), "ok 1", node.name)
        assert.strictEqual(text(yield* records(at(nodes, 4), ({ get }) => get(key))), "ok 1")
        const listed = yield* records(at(nodes, 4), ({ list }) => Stream.runCollect(list(Bytes.fromUtf8("/v/"))))
        assert.deepStrictEqual(listed.map(text), ["ok 1"])
      })
    )
  )

  it(
    "gives the best there is, and corrects those that hold another or none",
    simulate(server, ({ nodes }) =>
      Effect.gen(function* () {
        yield* join(nodes)
        const holding = (index: number, value: string) =>
          at(nodes, index).run(
            Effect.flatMap(KadService, ({ records }) => records?.put(key, ok(value)) ?? Effect.die("it holds nothing"))
          )
        yield* holding(0, "old")
        yield* holding(1, "newest")
        yield* holding(2, "newer")
        const found = yield* records(at(nodes, 4), ({ search }) => Stream.runCollect(search(key)))
        assert.strictEqual(found.map(text).at(-1), "ok newest")
        for (const [i, record] of found.entries()) assert.isAbove(record.value.length, found[i - 1]?.value.length ?? 0)
        yield* Effect.sleep("5 seconds")
        for (const node of nodes.slice(0, 4)) assert.strictEqual(yield* held(node), "ok newest", node.name)
      })
    )
  )

  it(
    "stops at the quorum that is asked for",
    simulate(server, ({ nodes }) =>
      Effect.gen(function* () {
        yield* join(nodes)
        yield* records(at(nodes, 1), ({ put }) => put(key, ok("1")))
        let answered = 0
        const record = yield* records(at(nodes, 3), ({ get }) =>
          get(key, { quorum: 1, onProgress: (progress) => void (answered = progress.answered) })
        )
        assert.strictEqual(text(record), "ok 1")
        // It holds one itself.
        assert.strictEqual(answered, 0)
      })
    )
  )

  it(
    "says what is wrong: a quorum that is not reached, a better one, nobody to ask, nothing found, nothing to forget",
    simulate(server, ({ nodes }) =>
      Effect.gen(function* () {
        const reasonOf = <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>) =>
          Effect.map(Effect.flip(effect), (error) => {
            const reason = "reason" in error ? error.reason : undefined
            return typeof reason === "object" && reason !== null && "_tag" in reason ? reason._tag : error._tag
          })
        const node = at(nodes, 1)
        assert.strictEqual(yield* reasonOf(records(node, ({ get }) => get(key))), "RecordRoutingFailed")
        assert.strictEqual(yield* reasonOf(records(node, ({ put }) => put(key, ok("1")))), "RecordRoutingFailed")
        yield* join(nodes)
        assert.strictEqual(
          yield* reasonOf(records(node, ({ put }) => put(key, ok("12"), { quorum: 10 }))),
          "QuorumNotReached"
        )
        assert.strictEqual(yield* reasonOf(records(node, ({ put }) => put(key, ok("1")))), "RecordOutdated")
        assert.strictEqual(
          yield* reasonOf(records(node, ({ get }) => get(Bytes.fromUtf8("/v/none")))),
          "RecordNotFound"
        )
        assert.strictEqual(yield* reasonOf(records(node, (store) => store.delete(key))), "RecordStoreUnsupported")
      })
    )
  )

  it(
    "puts own records again, so that they outlive those who held them",
    simulate({ nodes: 4, layer: kadNode({ mode: "server" }, { republishEvery: "30 minutes" }) }, ({ nodes }) =>
      Effect.gen(function* () {
        yield* join(nodes)
        const [owner, other] = [at(nodes, 1), at(nodes, 2)]
        yield* records(owner, ({ put }) => put(key, ok("1")))
        yield* other.stop
        yield* other.start
        assert.isUndefined(yield* held(other))
        yield* Effect.sleep("45 minutes")
        assert.strictEqual(yield* held(other), "ok 1")
      })
    )
  )

  it(
    "believes no peer that echoes what it did not take",
    simulate({ nodes: 2, layer: kadNode(({ index }) => ({ mode: index === 0 ? "server" : "client" })) }, ({ nodes }) =>
      Effect.gen(function* () {
        yield* serving(
          at(nodes, 1),
          answering(({ key, record, type }) =>
            Kad.make(type, {
              key,
              record: record === undefined ? undefined : { ...record, value: Bytes.fromUtf8("another") }
            })
          )
        )
        yield* join(nodes)
        const error = yield* Effect.flip(records(at(nodes, 0), ({ put }) => put(key, ok("1"))))
        assert.strictEqual(error._tag === "RecordStoreError" ? error.reason._tag : error._tag, "QuorumNotReached")
      })
    )
  )

  it(
    "takes no value from a peer that could not have been put there",
    simulate({ nodes: 2, layer: kadNode(({ index }) => ({ mode: index === 0 ? "server" : "client" })) }, ({ nodes }) =>
      Effect.gen(function* () {
        const value = Bytes.concat([ok("and long"), new Uint8Array(Kad.maxRequestSize)])
        let asked = 0
        yield* serving(
          at(nodes, 1),
          answering(({ key, type }) => {
            if (type !== "GetValue") return Kad.make(type)
            asked++
            return Kad.make(type, { record: { key, value, timeReceived: "" } })
          })
        )
        yield* join(nodes)
        const found = yield* Effect.exit(records(at(nodes, 0), ({ get }) => get(key)))
        assert.strictEqual(asked, 1)
        assert.isTrue(Exit.isFailure(found))
      })
    )
  )
})
