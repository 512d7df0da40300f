import { assert, describe, it } from "@effect/vitest"
import { sha256 } from "@noble/hashes/sha2.js"
import { Schema } from "effect"
import { closest } from "../../../../src/layers/routing/core/Closest.ts"
import type { RoutedPeer } from "../../../../src/services/PeerRouting.ts"
import { routed } from "../../../support/routing.ts"

const distance = (key: Uint8Array, { peer }: RoutedPeer): bigint => {
  const hex = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString("hex")}`)
  return hex(sha256(key)) ^ hex(sha256(peer.bytes))
}
const small = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 60 })))

describe("closest", () => {
  it.prop("is a sort by distance, each once, cut off", [small, Schema.Uint8Array], ([numbers, key]) => {
    const peers = numbers.map((n) => routed(n))
    const model = [...new Map(peers.map((one) => [one.peer.toString(), one])).values()].toSorted((a, b) =>
      distance(key, a) < distance(key, b) ? -1 : 1
    )
    assert.deepStrictEqual(closest(key, peers), model)
    assert.deepStrictEqual(closest(key, peers, 7), model.slice(0, 7))
  })

  it("prefers what is told with addresses", () => {
    const bare = { peer: routed(1).peer, addresses: [] }
    assert.deepStrictEqual(closest(Uint8Array.of(1), [bare, routed(1), routed(1, 5)]), [routed(1)])
  })
})
