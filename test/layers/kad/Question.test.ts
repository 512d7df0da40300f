/** Questions about a place that a crowd surrounds, against a network that does as a test says. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Kad from "../../../src/data/messages/Kad.ts"
import * as Multiaddr from "../../../src/data/Multiaddr.ts"
import { Density, limits } from "../../../src/layers/kad/core/Density.ts"
import * as Key from "../../../src/layers/kad/core/Key.ts"
import type { Wanted } from "../../../src/layers/kad/Lookup.ts"
import * as Question from "../../../src/layers/kad/Question.ts"
import { Readings } from "../../../src/layers/kad/Readings.ts"
import * as Wire from "../../../src/layers/kad/Wire.ts"
import { Prng } from "../../../src/layers/simulation/Prng.ts"
import { among } from "./core/lookup.ts"
import { chance, contact, contactAt, contacts } from "./core/model.ts"

const k = 8
const honestCount = 200
const address = Multiaddr.fromStringUnsafe("/ip4/192.0.2.1/tcp/4001")
const record = { key: Uint8Array.of(1), value: Uint8Array.of(2), timeReceived: "" }

/** A network with a crowd around a target. `answer`: what an honest peer, and one of the crowd, says. */
const setting = (
  crowdCount: number,
  answer: (of: { readonly honest: boolean }) => Parameters<typeof Kad.make>[1] = () => ({})
) => {
  const prng = new Prng(`question ${crowdCount}`)
  const wantedPeer = contact(prng)
  const target = wantedPeer.key
  const honest = contacts(prng, honestCount)
  const crowd = Array.from({ length: crowdCount }, () => contactAt(Key.withPrefix(target, 14, chance(prng))))
  const ids = new Set(crowd.map(({ peer }) => peer.toString()))
  const all = [...honest, ...crowd]
  const seen = { lookups: 0, requests: [] as Array<string>, crowded: 0, progress: [] as Array<number> }
  const place = ({ peer }: Key.Contact) => ({ peer, addresses: [address] })
  const asker: Question.Asker = {
    settings: { addresses: "any", alpha: 10, k },
    chance: chance(prng),
    known: () => [address],
    groupOf: () => Effect.succeed(undefined),
    crowded: () => void seen.crowded++,
    density: Effect.succeed((to) => new Density(to, honestCount, limits(k))),
    lookup: ({ onAnswer, target: to }) =>
      Effect.sync(() => {
        seen.lookups++
        const finished = among(to, all, k)
        const closest = finished.progress.closest.map(place)
        for (const one of closest)
          onAnswer?.(Kad.make("GetValue", answer({ honest: !ids.has(one.peer.toString()) })), one, [])
        return { finished, closest, holders: finished.holders.map(place) }
      }),
    readings: new Readings(),
    rpc: {
      request: ({ peer }) =>
        Effect.suspend(() => {
          seen.requests.push(peer.toString())
          return Effect.as(Effect.yieldNow, Kad.make("GetValue", answer({ honest: !ids.has(peer.toString()) })))
        })
    }
  }
  const { length } = new Density(target, honestCount, limits(k)).region
  const within = honest.filter(({ key }) => Key.commonPrefix(key, target) >= length).map(({ peer }) => peer.toString())
  const wanted: Wanted = {
    target,
    question: Kad.make("FindNode", { key: wantedPeer.peer.bytes }),
    onProgress: (_, { asked }) => void seen.progress.push(asked)
  }
  return { asker, seen, wanted, within, ids, wantedPeer }
}

describe("a question about a place", () => {
  it.effect("that nobody crowds costs a lookup, and its holders are the closest", () =>
    Effect.gen(function* () {
      const { asker, seen, wanted } = setting(0)
      const found = yield* Question.run(asker, wanted)
      assert.deepStrictEqual([seen.lookups, seen.requests.length, seen.crowded], [1, 0, 0])
      assert.lengthOf(found.holders, k)
      assert.isUndefined(found.region)
    })
  )

  it.effect("that is crowded has the honest peers around it hold what is put", () =>
    Effect.gen(function* () {
      for (const crowd of [k, 40]) {
        const { asker, seen, wanted, within } = setting(crowd)
        const found = yield* Question.run(asker, wanted)
        const holders = new Set(found.holders.map(({ peer }) => peer.toString()))
        assert.isAtLeast(within.filter((one) => holders.has(one)).length / within.length, 0.8)
        assert.isAtMost(holders.size, 6 * k)
        assert.isAtMost(seen.lookups, 9)
        assert.strictEqual(seen.crowded, 1)
        assert.isDefined(found.region)
        assert.isEmpty(seen.requests, "nobody was to be asked for anything")
      }
    })
  )

  it.effect("that is crowded is put to the honest peers around it, each once, and never to more than a bound", () =>
    Effect.gen(function* () {
      for (const crowd of [k, 40, 400]) {
        const { asker, ids, seen, wanted, within } = setting(crowd, ({ honest }) => (honest ? { record } : {}))
        let records = 0
        yield* Question.run(asker, {
          ...wanted,
          onAnswer: (answer) => {
            if (answer.record !== undefined) records++
            return false
          }
        })
        assert.isAtLeast(records, Math.floor(0.6 * within.length), `${crowd} in the crowd`)
        assert.isTrue(seen.requests.some((one) => !ids.has(one)))
        assert.isAtMost(seen.requests.length, 6 * k)
        assert.strictEqual(new Set(seen.requests).size, seen.requests.length)
        assert.deepStrictEqual(
          seen.progress,
          seen.progress.toSorted((a, b) => a - b),
          "it goes forward"
        )
      }
    })
  )

  it.effect("ends when it has its answer, in the lookup or after it", () =>
    Effect.gen(function* () {
      const { asker, seen, wanted } = setting(40, ({ honest }) => (honest ? { record } : {}))
      yield* Question.run(asker, { ...wanted, onAnswer: ({ record }) => record !== undefined })
      assert.isAtMost(seen.requests.length, 2 * asker.settings.alpha)
      const refusing = setting(40, () => ({ record }))
      let heard = 0
      yield* Question.run(refusing.asker, {
        ...refusing.wanted,
        refuse: () => "it is wrong",
        onAnswer: (_, from) => {
          if (refusing.seen.requests.includes(from.peer.toString())) heard++
          return false
        }
      })
      assert.strictEqual(heard, 0)
    })
  )

  it.effect("asks a peer that is looked for itself, where others say that it is", () =>
    Effect.gen(function* () {
      const of = setting(40)
      const named = Wire.toWire({ peer: of.wantedPeer.peer, addresses: [address] }, true)
      const { asker, seen, wanted } = setting(40, ({ honest }) => (honest ? { closerPeers: [named] } : {}))
      yield* Question.run(asker, { ...wanted, need: 3, onAnswer: () => false })
      assert.strictEqual(seen.requests.at(-1), of.wantedPeer.peer.toString())
    })
  )
})
