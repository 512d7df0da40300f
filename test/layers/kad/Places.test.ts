import { assert, describe, it } from "@effect/vitest"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import { Places } from "../../../src/layers/kad/Places.ts"
import { Prng } from "../../../src/layers/simulation/Prng.ts"
import { contact } from "./core/model.ts"

const { peer } = contact(new Prng("places"))
const at = (n: number) => Multiaddr.fromStringUnsafe(`/ip4/10.0.${n >> 8}.${n & 255}/tcp/4001`)
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => at(from + i))
const texts = (addresses: ReadonlyArray<Multiaddr.Multiaddr>) => addresses.map(String)

describe("Places", () => {
  it("keeps the word of each, eight addresses at most, beside where the peer was met", () => {
    const places = new Places(() => [at(1), at(2)])
    assert.isTrue(places.told({ peer, addresses: range(10, 90) }))
    assert.isTrue(places.told({ peer, addresses: [at(2), at(10), at(5)] }))
    assert.isFalse(places.told({ peer, addresses: [at(5), at(10)] }))
    assert.deepStrictEqual(texts(places.of(peer)), texts([at(1), ...range(2, 3), ...range(10, 18), at(5)]))
  })

  it("is bounded, however many tell of it", () => {
    const places = new Places(() => [])
    for (let i = 0; i < 100; i++) places.told({ peer, addresses: range(100 * i, 100 * i + 50) })
    assert.lengthOf(places.of(peer), 32)
  })
})
