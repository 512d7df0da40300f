import { assert, describe, it } from "@effect/vitest"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import * as Query from "../../../../src/layers/kad/core/Query.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { type Behaviour, run } from "./lookup.ts"
import { chance, contact, contactAt, contacts, Network, texts, trueClosest } from "./model.ts"

const distinct = (list: ReadonlyArray<Key.Contact>) => new Set(list.map(({ key }) => key.id)).size

/** A network, someone in it, and a target. */
const setting = (seed: number, count: number) => {
  const prng = new Prng(`query ${seed}`)
  const network = new Network(prng.fork("network"), count)
  const self = contact(prng)
  const target = Key.random(chance(prng))
  const honest = (peer: Key.Contact): Behaviour => ({
    afterMs: 20 + prng.below(100),
    closer: network.answer(peer.key, target)
  })
  return { prng, network, self: self.key, target, honest, seeds: network.answer(self.key, target) }
}

describe("Query", () => {
  it("finds the closest peers of an honest network, whatever its size and the number of paths", () => {
    for (const [seed, count] of [1, 5, 20, 21, 100, 300, 1_000].entries()) {
      for (const paths of [1, 3]) {
        const { honest, network, seeds, self, target } = setting(seed, count)
        const { asked, finished, mostInFlight } = run({ target, self, seeds, paths }, honest)
        const label = `${count} peers, ${paths} paths`
        assert.deepStrictEqual(texts(finished.progress.closest), texts(trueClosest(target, network.peers, 20)), label)
        assert.sameMembers([...texts(finished.holders)], [...texts(finished.progress.closest)], label)
        assert.strictEqual(finished.reason, count < 20 ? "starved" : "closest", label)
        assert.strictEqual(distinct(asked), asked.length, label)
        assert.isAtMost(mostInFlight, 10, label)
        assert.isTrue(finished.complete)
        if (count === 1_000 && paths === 1) {
          assert.isAtMost(asked.length, 60)
          assert.isAtMost(finished.progress.hops, 6)
          assert.isAtLeast(finished.progress.hops, 2)
        }
      }
    }
  })

  it("asks few when the closest three are enough", () => {
    const { honest, network, seeds, self, target } = setting(1, 1_000)
    const all = run({ target, self, seeds }, honest)
    const few = run({ target, self, seeds, need: Query.beta }, honest)
    assert.isAtMost(few.asked.length, all.asked.length)
    assert.isBelow(few.endedAt, all.endedAt)
    assert.deepStrictEqual(
      texts(few.finished.progress.closest.slice(0, 3)),
      texts(trueClosest(target, network.peers, 3))
    )
  })

  it("goes on when peers fail, and gives the closest of those that answer", () => {
    for (let seed = 0; seed < 10; seed++) {
      const { honest, network, prng, seeds, self, target } = setting(seed, 500)
      const dead = new Set(network.peers.filter(() => prng.chance(0.3)).map(({ key }) => key.id))
      const { asked, finished } = run({ target, self, seeds }, (peer) =>
        dead.has(peer.key.id) ? { afterMs: 50, closer: "fails" } : honest(peer)
      )
      const living = network.peers.filter(({ key }) => !dead.has(key.id))
      // Each tells of 20, the dead among them: that is enough to know the nearest of the living for sure.
      assert.deepStrictEqual(texts(finished.progress.closest.slice(0, 12)), texts(trueClosest(target, living, 12)))
      assert.isTrue(finished.progress.closest.every(({ key }) => !dead.has(key.id)))
      assert.strictEqual(distinct(asked), asked.length)
      const { answered, asked: count, failed, inFlight, late } = finished.progress
      assert.strictEqual(answered + failed + inFlight + late, count)
    }
  })

  it("does not wait for those that say nothing", () => {
    for (let seed = 0; seed < 10; seed++) {
      const { honest, network, prng, seeds, self, target } = setting(seed, 500)
      const silent = new Set(network.peers.filter(() => prng.chance(0.3)).map(({ key }) => key.id))
      const { endedAt, finished, mostInFlight } = run({ target, self, seeds }, (peer) =>
        silent.has(peer.key.id) ? undefined : honest(peer)
      )
      const living = network.peers.filter(({ key }) => !silent.has(key.id))
      assert.deepStrictEqual(texts(finished.progress.closest.slice(0, 12)), texts(trueClosest(target, living, 12)))
      assert.isAtMost(mostInFlight, 10)
      assert.isBelow(endedAt, 5_000)
    }
  })

  it("still takes the answer of one that is late", () => {
    const prng = new Prng("late")
    const target = Key.random(chance(prng))
    const seeds = Key.closest(target, contacts(prng, 30), 20)
    const [slow] = seeds
    const news = contactAt(Key.flip(target, 255))
    const { finished, learnt } = run({ target, self: Key.random(chance(prng)), seeds }, (peer) => ({
      afterMs: peer === slow ? 900 : peer === seeds[19] ? 1_000 : 10,
      closer: peer === slow ? [news] : []
    }))
    assert.deepStrictEqual(texts(learnt), texts([news]))
    assert.strictEqual(Key.toHex(finished.progress.closest[0]?.key ?? target), Key.toHex(news.key))
  })

  it("waits for those that are late when there is nobody else, but not for ever", () => {
    const prng = new Prng("silence")
    const target = Key.random(chance(prng))
    const seeds = contacts(prng, 4)
    const slow = run({ target, self: Key.random(chance(prng)), seeds }, () => ({ afterMs: 7_000, closer: [] }))
    assert.strictEqual(slow.finished.progress.answered, 4)
    const silent = run({ target, self: Key.random(chance(prng)), seeds }, () => undefined)
    assert.strictEqual(silent.finished.reason, "starved")
    assert.strictEqual(silent.finished.progress.late, 4)
    assert.strictEqual(silent.endedAt, 8_000)
    assert.isFalse(silent.finished.complete)
  })

  it("ends at once without anyone to ask, and when it is stopped", () => {
    const { honest, seeds, self, target } = setting(3, 300)
    const nobody = run({ target, self, seeds: [] }, honest)
    assert.strictEqual(nobody.finished.reason, "starved")
    assert.isFalse(nobody.finished.complete)
    const stopped = run({ target, self, seeds }, honest, (learnt) => learnt.length > 0)
    assert.strictEqual(stopped.finished.reason, "stopped")
    assert.isFalse(stopped.finished.complete)
    assert.deepStrictEqual(stopped.query.next(1e9), { ask: [], wakeAt: undefined })
  })

  it("cuts what a reply tells, and takes neither itself nor who is known nor who was not asked", () => {
    const prng = new Prng("bounds")
    const target = Key.random(chance(prng))
    const self = contact(prng)
    const [seed, other, ...rest] = contacts(prng, 2_000)
    if (seed === undefined || other === undefined) assert.fail("no contacts")
    const query = new Query.Query({ target, self: self.key, seeds: [seed, seed, self] })
    assert.deepStrictEqual(query.answered(seed, rest, 0), [], "it was not asked yet")
    assert.deepStrictEqual(texts(query.next(0).ask), texts([seed]))
    assert.deepStrictEqual(query.answered(other, rest, 0), [], "it was not asked at all")
    const learnt = query.answered(seed, [self, seed, ...rest], 10)
    assert.deepStrictEqual(texts(learnt), texts(rest.slice(0, 18)))
    assert.deepStrictEqual(query.answered(seed, rest, 0), [], "it has answered")
    query.failed(seed)
    assert.strictEqual(query.progress().failed, 0)
  })

  it("ends against peers that always know of closer ones", () => {
    const prng = new Prng("endless")
    const target = Key.random(chance(prng))
    let depth = 2
    const endless = (): Behaviour => {
      depth += 0.3
      return {
        afterMs: 10,
        closer: Array.from({ length: 20 }, () =>
          contactAt(Key.inBucket(target, Math.min(250, Math.floor(depth)), chance(prng)))
        )
      }
    }
    const { asked, finished } = run(
      { target, self: Key.random(chance(prng)), seeds: contacts(prng, 20), maxAsked: 200 },
      endless
    )
    assert.strictEqual(finished.reason, "limit")
    assert.strictEqual(asked.length, 200)
    assert.isFalse(finished.complete)
  })

  it("asks few of those that liars make up, and finds all that there are", () => {
    for (const paths of [1, 8]) {
      for (let seed = 0; seed < 5; seed++) {
        const { honest, network, prng, seeds, self, target } = setting(seed, 500)
        const liars = new Set(network.peers.filter(() => prng.chance(0.2)).map(({ key }) => key.id))
        const real = new Set(network.peers.map(({ key }) => key.id))
        // Each time others, closer than anybody, who never answer.
        const made = () => contactAt(Key.inBucket(target, 20 + prng.below(100), chance(prng)))
        const { asked, endedAt, finished } = run({ target, self, seeds, paths }, (peer) =>
          real.has(peer.key.id)
            ? {
                ...honest(peer),
                afterMs: 50,
                closer: liars.has(peer.key.id) ? Array.from({ length: 20 }, made) : network.answer(peer.key, target)
              }
            : undefined
        )
        const label = `${paths} paths, seed ${seed}`
        assert.deepStrictEqual(texts(finished.progress.closest), texts(trueClosest(target, network.peers, 20)), label)
        const met = asked.filter(({ key }) => liars.has(key.id)).length
        assert.isAtMost(asked.filter(({ key }) => !real.has(key.id)).length, 14 * met, label)
        assert.isAtMost(endedAt, 30_000, label)
      }
    }
  })

  it("asks once more who failed and is said to be elsewhere, and not a third time", () => {
    const prng = new Prng("elsewhere")
    const [self, one] = contacts(prng, 2)
    if (!self || !one) assert.fail("too few")
    const query = new Query.Query({ target: one.key, self: self.key, seeds: [one] })
    query.again(one)
    for (const time of [0, 1]) {
      assert.deepStrictEqual(texts(query.next(time).ask), texts([one]))
      query.failed(one)
      query.again(one)
    }
    assert.isEmpty(query.next(2).ask)
    assert.strictEqual(query.reason, "starved")
  })

  it("has honest peers hold what is put, on several paths, where liars name sybils that are closest", () => {
    const rounds = 10
    const reached = { one: 0, several: 0 }
    for (let seed = 0; seed < rounds; seed++) {
      const { honest, network, prng, seeds, self, target } = setting(seed, 500)
      const sybils = Array.from({ length: 40 }, () =>
        contactAt(Key.inBucket(target, 20 + prng.below(100), chance(prng)))
      )
      const liars = new Set(network.peers.filter(() => prng.chance(0.2)).map(({ key }) => key.id))
      for (const { key } of sybils) liars.add(key.id)
      const behaviour = (peer: Key.Contact): Behaviour =>
        liars.has(peer.key.id)
          ? { afterMs: 20, closer: Array.from({ length: 20 }, () => prng.pick(sybils) ?? peer) }
          : honest(peer)
      for (const paths of [1, 8]) {
        const { finished } = run({ target, self, seeds, paths }, behaviour)
        const { closest } = finished.progress
        assert.isTrue(
          closest.every(({ key }) => liars.has(key.id)),
          "the closest are sybils"
        )
        assert.strictEqual(distinct(finished.holders), 20)
        if (paths === 1) assert.deepStrictEqual(texts(finished.holders), texts(closest))
        if (finished.holders.some(({ key }) => !liars.has(key.id))) reached[paths === 1 ? "one" : "several"] += 1
      }
    }
    assert.strictEqual(reached.one, 0)
    assert.isAtLeast(reached.several, 0.8 * rounds)
  })

  it("names of each path in turn the closest, before it has ended", () => {
    const { honest, prng, seeds, self, target } = setting(3, 500)
    const crowd = Array.from({ length: 40 }, () => contactAt(Key.inBucket(target, 20 + prng.below(100), chance(prng))))
    const crowded = new Set(crowd.map(({ key }) => key.id))
    // The first that is asked, and who it names, tell of the crowd; no other does.
    let liar: Key.Contact | undefined
    const behaviour = (peer: Key.Contact): Behaviour => {
      liar ??= peer
      return peer === liar || crowded.has(peer.key.id) ? { afterMs: 1, closer: crowd } : honest(peer)
    }
    const shares = [1, 8].map((paths) => {
      liar = undefined
      const { finished, query } = run({ target, self, seeds, paths }, behaviour)
      assert.lengthOf(finished.paths, paths)
      assert.isTrue(finished.nearest.every(({ key }) => crowded.has(key.id)))
      const near = query.nearest()
      assert.deepStrictEqual(texts(near), texts(Key.closest(target, near, 20)), "the closest first")
      return near.filter(({ key }) => crowded.has(key.id)).length
    })
    assert.strictEqual(shares[0], 20)
    assert.isAtMost(shares[1] ?? 20, 10)
  })

  it("finds the target among liars more often on several paths", () => {
    const k = 4
    const rounds = 30
    const found = { one: 0, many: 0 }
    for (let seed = 0; seed < rounds; seed++) {
      const prng = new Prng(`liars ${seed}`)
      const network = new Network(prng, 400, k)
      const self = Key.random(chance(prng))
      const wanted = prng.pick(network.peers) ?? assert.fail("an empty network")
      const target = wanted.key
      const liars = new Set(network.peers.filter(() => prng.chance(0.2)).map(({ key }) => key.id))
      // A liar tells of peers of its own making, which are closer than any honest one, and tell of more of the kind.
      const behaviour = (peer: Key.Contact): Behaviour => {
        const lies = liars.has(peer.key.id) || Key.commonPrefix(peer.key, target) >= 20
        const made = () => contactAt(Key.inBucket(target, 20 + prng.below(100), chance(prng)))
        const closer = lies ? Array.from({ length: k }, made) : network.answer(peer.key, target)
        return { afterMs: lies ? 5 : 20 + prng.below(100), closer }
      }
      const seeds = Key.closest(target, network.table(self), 16).filter(({ key }) => key !== target)
      for (const paths of [1, 8]) {
        const { learnt } = run({ target, self, seeds, k, alpha: 8, paths }, behaviour)
        if (learnt.some(({ key }) => key === target)) found[paths === 1 ? "one" : "many"] += 1
      }
    }
    assert.isAbove(found.many, found.one + 5, `of ${rounds}, ${found.many} on 8 paths, ${found.one} on one`)
  })
})
