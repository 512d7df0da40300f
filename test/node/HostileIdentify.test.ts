import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as LengthPrefix from "../../src/data/LengthPrefix.ts"
import * as Varint from "../../src/data/Varint.ts"
import type { ProtocolStream } from "../../src/services/ProtocolStream.ts"
import { usedBytes } from "../support/memory.ts"
import { liar, noise, realNode, runNodes, stillServes } from "../support/peers.ts"

const answers: ReadonlyArray<readonly [string, string, (stream: ProtocolStream) => Effect.Effect<void, unknown>]> = [
  ["random bytes", "IdentifyMalformed", (stream) => stream.write(LengthPrefix.encode(noise(300, 1)))],
  ["nothing at all", "IdentifyMalformed", () => Effect.void],
  ["an empty message", "IdentifyMalformed", (stream) => stream.write(Buffer.from([0]))],
  [
    "a message that is cut",
    "IdentifyFailed",
    (stream) => stream.write(LengthPrefix.encode(noise(300, 1)).subarray(0, 100))
  ],
  [
    "an announcement of 10 MiB",
    "IdentifyFailed",
    (stream) =>
      Effect.andThen(stream.write(Varint.encode(10 * 1024 * 1024)), Effect.forever(stream.write(noise(60_000, 1))))
  ],
  ["an announcement of 4 GiB", "IdentifyFailed", (stream) => stream.write(Varint.encode(2 ** 32))],
  [
    "messages without end",
    "IdentifyMalformed",
    (stream) => Effect.forever(stream.write(LengthPrefix.encode(noise(1000, 2))))
  ],
  ["empty messages without end", "IdentifyMalformed", (stream) => Effect.forever(stream.write(new Uint8Array(1000)))],
  ["a reset", "IdentifyFailed", (stream) => stream.reset("no")],
  ["a defect", "IdentifyFailed", () => Effect.die(new Error("bug"))],
  ["silence", "IdentifyTimeout", () => Effect.never],
  [
    "a byte now and then",
    "IdentifyTimeout",
    (stream) =>
      Effect.andThen(
        stream.write(Buffer.from([100])),
        Effect.forever(Effect.andThen(Effect.sleep(20), stream.write(new Uint8Array(1))))
      )
  ]
]

describe("hostile answers to identify", () => {
  for (const [what, tag, answer] of answers) {
    it.live(`${what} is ${tag}, and the connection lives`, () =>
      runNodes(
        Effect.gen(function* () {
          const node = yield* realNode({ seed: 1, identify: { deadline: 500 } })
          const measured = what.includes("without end") || what.includes("announcement")
          const before = measured ? yield* usedBytes : 0
          const connection = yield* node.swarm.dial(yield* liar(2, answer))
          const error = yield* Effect.flip(node.identify.identified(connection))
          assert.strictEqual(error.reason._tag, tag, error.message)
          // Who asks again gets the same answer.
          assert.strictEqual((yield* Effect.flip(node.identify.identified(connection))).reason._tag, tag)
          assert.isAtLeast(yield* connection.ping, 0)
          if (measured) {
            const growth = (yield* usedBytes) - before
            assert.isBelow(growth, 5_000_000, `${growth} bytes are held`)
          }
          yield* stillServes(yield* realNode({ seed: 3 }), node)
        })
      )
    )
  }
})
