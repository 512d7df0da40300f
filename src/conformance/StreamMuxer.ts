/**
 * What every stream muxer promises, as a suite to run against any of them:
 *
 * ```
 * muxerSuite("Yamux", Yamux.make({ acceptBacklog: 256 }), {
 *   narrow: { protocol: Yamux.make({ acceptBacklog: 20 }), acceptBacklog: 20 },
 *   window: [256 * 1024, 256 * 1024]
 * })
 * ```
 */
import { describe } from "@effect/vitest"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { MuxerProtocol } from "../services/StreamMuxer.ts"
import { ends } from "./muxer/Ends.ts"
import type { Facts } from "./muxer/Kit.ts"
import { slowReaders } from "./muxer/SlowReaders.ts"
import { streams } from "./muxer/Streams.ts"

export { type Facts, join, type Joined, overLent, readAll } from "./muxer/Kit.ts"

/** Declares the tests of one muxer. */
export const muxerSuite = (
  name: string,
  protocol: Effect.Effect<MuxerProtocol, never, Scope.Scope>,
  facts: Facts
): void => {
  describe(`StreamMuxer: ${name}`, () => {
    streams(protocol, facts)
    slowReaders(protocol, facts)
    ends(protocol, facts)
  })
}
