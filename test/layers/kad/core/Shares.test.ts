import { assert, describe, it } from "@effect/vitest"
import { type Claim, Shares } from "../../../../src/layers/kad/core/Shares.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"

const limits = { total: 40, group: 20, peer: 10 }
let count = 0
const claim = (peer: string, group: string, closeness = 0, weight = 1): Claim => ({
  id: String(count++),
  peer,
  group,
  closeness,
  weight
})

/** The same by looking at everything, each time. */
class Model {
  held: Array<Claim> = []

  weight(of: (claim: Claim) => boolean): number {
    return this.held.filter(of).reduce((sum, { weight }) => sum + weight, 0)
  }

  /** The groups, or the peers of a group, and what each holds, with the claim. */
  shares(of: (claim: Claim) => string, all: ReadonlyArray<Claim>): Map<string, number> {
    const shares = new Map<string, number>()
    for (const one of all) shares.set(of(one), (shares.get(of(one)) ?? 0) + one.weight)
    return shares
  }

  full({ group, peer, weight }: Claim): string | undefined {
    if (this.weight((one) => one.peer === peer) + weight > limits.peer) return "peer"
    if (this.weight((one) => one.group === group) + weight > limits.group) return "group"
    return this.weight(() => true) + weight > limits.total ? "node" : undefined
  }
}

describe("Shares", () => {
  it("does what it promises, seen by looking at everything: bounds, and who gives way", () => {
    for (let seed = 0; seed < 8; seed++) {
      const prng = new Prng(`shares ${seed}`)
      const shares = new Shares(limits)
      const model = new Model()
      for (let step = 0; step < 250; step++) {
        const group = `g${prng.below(4)}`
        const one = claim(`${group}p${prng.below(4)}`, group, prng.below(4), 1 + prng.below(3))
        if (prng.chance(0.1)) {
          const gone = model.held[prng.below(model.held.length + 1)]
          if (gone !== undefined) {
            shares.remove(gone.id)
            model.held = model.held.filter((that) => that !== gone)
          }
          continue
        }
        const { dropped, refused } = shares.admit(one)
        for (const id of dropped) {
          const scope = model.full(one)
          assert.isDefined(scope, "nothing is dropped while there is room")
          const victim = model.held.find((that) => that.id === id) ?? assert.fail("what is not held is dropped")
          const groups = model.shares((that) => that.group, [...model.held, one])
          const most = Math.max(...groups.values())
          // Of the heaviest network with what comes, of that the heaviest peer, of that what is furthest.
          if (scope === "peer") assert.strictEqual(victim.peer, one.peer)
          else if (scope === "group") assert.strictEqual(victim.group, one.group)
          else assert.isAtLeast(groups.get(victim.group) ?? 0, most)
          const peers = model.shares(
            (that) => that.peer,
            [...model.held, one].filter((that) => that.group === victim.group)
          )
          if (scope !== "peer") assert.strictEqual(peers.get(victim.peer), Math.max(...peers.values()))
          const ofPeer = model.held.filter((that) => that.peer === victim.peer)
          assert.strictEqual(victim.closeness, Math.min(...ofPeer.map(({ closeness }) => closeness)))
          if (victim.peer === one.peer) assert.isBelow(victim.closeness, one.closeness)
          model.held = model.held.filter((that) => that !== victim)
        }
        const scope = model.full(one)
        assert.strictEqual(refused, scope)
        if (refused === undefined) model.held.push(one)
        assert.strictEqual(shares.get(one.id) !== undefined, refused === undefined)
        assert.strictEqual(
          shares.total,
          model.weight(() => true)
        )
        for (const that of [one, ...model.held.slice(-3)]) {
          assert.strictEqual(
            shares.ofPeer(that.peer),
            model.weight(({ peer }) => peer === that.peer)
          )
          assert.strictEqual(
            shares.ofGroup(that.group),
            model.weight(({ group }) => group === that.group)
          )
        }
        assert.isAtMost(shares.total, limits.total)
      }
    }
  })

  it("lets no flood push out who holds little, by however many identities, from few networks or many", () => {
    for (const groups of [1, 3, 30]) {
      const shares = new Shares({ total: 1_000, group: 250, peer: 60 })
      const honest = Array.from({ length: 100 }, (_, i) => claim(`honest ${i % 20}`, `home ${i % 20}`, i % 3))
      for (const one of honest) assert.isUndefined(shares.admit(one).refused)
      for (let i = 0; i < 20_000; i++) {
        const flooder = i % 100
        shares.admit(claim(`flooder ${flooder}`, `flood ${flooder % groups}`, i % 12))
      }
      assert.isTrue(honest.every(({ id }) => shares.get(id) !== undefined))
      assert.isAtMost(shares.total, 1_000)
    }
  })

  it("takes who comes late, however full it is, and keeps what is near", () => {
    const shares = new Shares({ total: 100, group: 100, peer: 100 })
    for (let i = 0; i < 100; i++) shares.admit(claim("flooder", "flood", i % 2))
    const late = claim("late", "home")
    const { dropped, refused } = shares.admit(late)
    assert.isUndefined(refused)
    assert.lengthOf(dropped, 1)
    assert.strictEqual(shares.admit(claim("flooder", "flood", 0)).refused, "node")
    const near = claim("flooder", "flood", 9)
    for (let i = 0; i < 48; i++) assert.isUndefined(shares.admit(claim("flooder", "flood", 5)).refused)
    assert.isUndefined(shares.admit(near).refused)
    assert.isTrue([late, near].every(({ id }) => shares.get(id) !== undefined))
    assert.strictEqual(shares.admit(claim("flooder", "flood", 1)).refused, "node")
  })
})
