/**
 * What every PeerStore promises, as tests in virtual time:
 *
 * ```
 * peerStoreSuite("memory", Effect.provide(MemoryPeerStore.make(smallBounds), NodeCrypto.layer), smallBounds)
 * ```
 */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { PeerStore } from "../services/PeerStore.ts"
import { addresses } from "./peerstore/Addresses.ts"
import { facts } from "./peerstore/Facts.ts"
import { type PeerStoreBounds, someone, type Subject } from "./peerstore/Kit.ts"
import { peers } from "./peerstore/Peers.ts"
import { records } from "./peerstore/Records.ts"
import { tags } from "./peerstore/Tags.ts"

export { address, addressesAt, type PeerStoreBounds, recordOf, smallBounds, someone } from "./peerstore/Kit.ts"

/** Declares the tests of one implementation. `make` is run in each test's own scope, and gives an empty store each time. */
export const peerStoreSuite = <E>(
  name: string,
  make: Effect.Effect<PeerStore["Service"], E, Scope.Scope>,
  bounds: PeerStoreBounds
): void => {
  const test: Subject["test"] = (title, body) =>
    it.effect(title, () =>
      Effect.gen(function* () {
        const identity = yield* someone(1)
        yield* body(yield* make, identity.peerId, identity)
      })
    )
  describe(`PeerStore: ${name}`, () => {
    for (const group of [addresses, records, facts, tags, peers]) group({ bounds, test })
  })
}
