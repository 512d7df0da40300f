/** The cores together: nodes that know one other join, keep their tables, and find what is there; then many die. */
import { assert, describe, it } from "@effect/vitest"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import type * as Query from "../../../../src/layers/kad/core/Query.ts"
import { RoutingTable } from "../../../../src/layers/kad/core/RoutingTable.ts"
import { Prng } from "../../../../src/layers/simulation/Prng.ts"
import { run } from "./lookup.ts"
import { chance, contacts } from "./model.ts"

const k = 8
const minute = 60_000

class Nodes {
  readonly all: ReadonlyArray<Key.Contact>
  readonly prng: Prng
  readonly tables = new Map<string, RoutingTable>()
  readonly dead = new Set<string>()
  now = 0
  lookups = 0

  constructor(name: string, count: number) {
    this.prng = new Prng(name)
    this.all = contacts(this.prng, count)
    for (const { key } of this.all) this.tables.set(key.id, new RoutingTable(key, { k }))
  }

  get living(): ReadonlyArray<Key.Contact> {
    return this.all.filter(({ key }) => !this.dead.has(key.id))
  }

  table(of: Key.Contact): RoutingTable {
    return this.tables.get(of.key.id) ?? assert.fail("no such node")
  }

  /** Who answers is offered to the one who asked, and has heard of it. */
  lookup(by: Key.Contact, target: Key.Key): Query.Finished {
    this.lookups += 1
    const own = this.table(by)
    const { finished } = run({ target, self: by.key, seeds: own.nearest(target), k, alpha: 3 }, (peer) => {
      if (this.dead.has(peer.key.id)) {
        own.checked(peer, "dead", this.now)
        return { afterMs: 50, closer: "fails" }
      }
      const closer = this.table(peer).nearest(target)
      own.offer(peer, { groups: [], useful: true }, this.now)
      this.table(peer).offer(by, { groups: [], useful: false }, this.now)
      return { afterMs: 10 + this.prng.below(40), closer }
    })
    return finished
  }

  /** What a node does from time to time. */
  keep(node: Key.Contact): void {
    const table = this.table(node)
    for (let stale = table.toCheck(this.now, 3); stale.length > 0; stale = table.toCheck(this.now, 3)) {
      for (const peer of stale) table.checked(peer, this.dead.has(peer.key.id) ? "dead" : "useful", this.now)
    }
    for (const { bucket, last } of table.due(this.now)) {
      const target = last ? node.key : Key.inBucket(node.key, bucket, chance(this.prng))
      table.refreshed(this.lookup(node, target), this.now)
    }
  }

  /** The part of the closest that lookups by some nodes find. */
  found(): number {
    let right = 0
    let all = 0
    for (let i = 0; i < 60; i++) {
      const target = Key.random(chance(this.prng))
      const by = this.prng.pick(this.living) ?? assert.fail("nobody lives")
      const there = this.living.filter((one) => one !== by)
      const found = new Set(this.lookup(by, target).progress.closest.map(({ key }) => key.id))
      for (const { key } of Key.closest(target, there, k)) if (found.has(key.id)) right += 1
      all += k
    }
    return right / all
  }
}

describe("routing tables and lookups", () => {
  it("make a network in which all is found, and go on when half of it dies at once", () => {
    const nodes = new Nodes("convergence", 200)
    const [entry] = nodes.all
    if (entry === undefined) assert.fail("nobody")
    for (const node of nodes.all) {
      nodes.now += 1_000
      if (node !== entry) nodes.table(node).offer(entry, { groups: [], useful: true }, nodes.now)
      nodes.keep(node)
    }
    for (let round = 0; round < 2; round++) {
      nodes.now += 10 * minute
      for (const node of nodes.all) nodes.keep(node)
    }
    assert.isAbove(nodes.found(), 0.99)

    for (const { key } of nodes.all) if (nodes.prng.chance(0.5)) nodes.dead.add(key.id)
    assert.isAbove(nodes.found(), 0.6, "at once")
    for (let round = 0; round < 3; round++) {
      nodes.now += 10 * minute
      for (const node of nodes.living) nodes.keep(node)
    }
    assert.isAbove(nodes.found(), 0.99, "after half an hour")
    for (const node of nodes.living) {
      const told = nodes.table(node).nearest(node.key, 200)
      assert.isTrue(told.every(({ key }) => !nodes.dead.has(key.id)))
    }
  })
})
