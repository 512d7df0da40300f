import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import * as PeerId from "../../../src/data/PeerId.ts"
import * as Journal from "../../../src/layers/swarm/Journal.ts"
import { NoTransport, type SwarmEvent } from "../../../src/services/Swarm.ts"
import { turns } from "../../support/memory-nodes.ts"

const peer = Result.getOrThrow(PeerId.fromBytes(Uint8Array.of(0x12, 0x20, ...Array.from({ length: 32 }, () => 1))))
const floods: ReadonlyArray<SwarmEvent> = [
  { _tag: "HandlerFailed", protocol: "/a/1", remotePeer: peer, died: false },
  {
    _tag: "InboundFailed",
    remoteAddress: Multiaddr.fromStringUnsafe("/ip4/192.0.2.1/tcp/1"),
    reason: new NoTransport({})
  }
]

describe("what a remote can make happen without end", () => {
  for (const flood of floods) {
    it.effect(`is counted, and told a hundred times a second: ${flood._tag}`, () =>
      Effect.gen(function* () {
        const journal = yield* Journal.make
        const seen: Array<string> = []
        const reading = yield* Effect.forkChild(
          Stream.runForEach(journal.events, ({ _tag }) => Effect.sync(() => void seen.push(_tag))),
          { startImmediately: true }
        )
        journal.emit({ _tag: "Listening", addresses: [] })
        let told = 0
        for (let i = 0; i < 5000; i++) if (journal.emit(flood)) told++
        yield* turns()
        assert.deepStrictEqual([seen[0], seen.length, told], ["Listening", 101, 100])
        yield* TestClock.adjust("1 second")
        assert.isTrue(journal.emit(flood))
        const { handlersFailed, inboundFailed } = journal.counters()
        assert.strictEqual(handlersFailed + inboundFailed, 5001)
        yield* Fiber.interrupt(reading)
      })
    )
  }
})
