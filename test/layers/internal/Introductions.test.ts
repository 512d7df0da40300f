import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Introductions } from "../../../src/layers/internal/Introductions.ts"
import type { RoutedPeer } from "../../../src/services/PeerRouting.ts"
import { peerOf, routed } from "../../support/routing.ts"

const small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 }))
const heard = Schema.Array(Schema.Tuple([small, Schema.Boolean]))
const name = ({ peer }: RoutedPeer) => peer.toString()

describe("Introductions", () => {
  it.prop("tells of each once, where it is if anybody knew, of no more than it may", [heard, small], ([all, max]) => {
    const told = new Introductions(max)
    const peers = all.map(([n, placed]) => (placed ? routed(n) : { peer: peerOf(n), addresses: [] }))
    const now = peers.filter((one) => told.isNew(one))
    const rest = told.takeRest()
    const placed = new Set(peers.filter(({ addresses }) => addresses.length > 0).map(name))
    const everyone = new Set(peers.map(name))
    assert.strictEqual(new Set([...now, ...rest].map(name)).size, now.length + rest.length, "each once")
    assert.strictEqual(now.length, Math.min(max, placed.size))
    assert.isTrue(now.every(({ addresses }) => addresses.length > 0))
    assert.isTrue(rest.every((one) => !placed.has(name(one)) || now.length === max))
    assert.isAtMost(now.length + rest.length, max)
    if (everyone.size <= max) assert.strictEqual(now.length + rest.length, everyone.size)
    assert.isEmpty(told.takeRest())
  })
})
