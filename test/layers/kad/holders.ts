/** A DHT that does as a test says: the holders of one key, and what each does when it is told. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import type * as Announcer from "../../../src/layers/kad/Announcer.ts"
import * as Key from "../../../src/layers/kad/core/Key.ts"
import type { Estimate } from "../../../src/layers/kad/core/NetworkSize.ts"
import type { Failure } from "../../../src/layers/kad/Rpc.ts"
import { Prng } from "../../../src/layers/simulation/Prng.ts"
import { run } from "./core/lookup.ts"
import { contacts, trueClosest } from "./core/model.ts"

const k = 8
const prng = new Prng("announcement")
const [self] = contacts(prng, 1)
const address = Multiaddr.fromStringUnsafe("/ip4/192.0.2.1/tcp/4001")
export const refused: Failure = { _tag: "NoAnswer" }
export const sure: Estimate = { size: 1_000, low: 900, high: 1_100, lookups: 40 }
export const bytes = Uint8Array.of(0x12, 1, 7)
const target = Key.fromBytes(bytes)
/** The closest of more than there are said to be: there is no doubt that they are. */
const near = trueClosest(target, contacts(prng, 4_000), k)

/** Holders that do so when they are told; what was looked up, and whose telling was interrupted. */
export const network = (
  send: (holder: number) => Effect.Effect<void, Failure>,
  estimate: Estimate | undefined = sure
) => {
  const seen = { lookups: 0, told: [] as Array<number>, interrupted: 0 }
  const placed = near.map((contact) => ({ contact, at: { peer: contact.peer, addresses: [address] } }))
  const lookup: Announcer.Place["lookup"] = ({ onNearest, target }) =>
    Effect.sync(() => {
      seen.lookups++
      assert.strictEqual(onNearest?.(placed) ?? false, onNearest !== undefined)
      const { finished } = run({ target, self: Key.flip(target, 0), seeds: near, k }, () => ({
        afterMs: 1,
        closer: []
      }))
      const all = placed.map(({ at }) => at)
      return { finished, closest: all, holders: all }
    })
  const dht: Announcer.Place = {
    self: self?.peer ?? assert.fail(),
    settings: { k, addresses: "any", realm: "wan" },
    size: () => 1,
    addressesOf: () => Effect.succeed([address]),
    networkSize: Effect.succeed(estimate?.size),
    sizeEstimate: Effect.succeed(estimate),
    rpc: {
      send: ({ peer }) => {
        const holder = near.findIndex((contact) => contact.peer === peer)
        seen.told.push(holder)
        return Effect.onInterrupt(send(holder), () => Effect.sync(() => void seen.interrupted++))
      }
    },
    density: Effect.succeed(() => undefined),
    lookup,
    question: lookup
  }
  return { seen, dht }
}
