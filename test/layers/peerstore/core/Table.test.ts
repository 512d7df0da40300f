import { assert, describe, it } from "@effect/vitest"
import * as Multiaddr from "../../../../src/data/Multiaddr.ts"
import type { PublicKey } from "../../../../src/data/Keys.ts"
import * as PeerId from "../../../../src/data/PeerId.ts"
import * as Limits from "../../../../src/layers/peerstore/core/Limits.ts"
import { Table } from "../../../../src/layers/peerstore/core/Table.ts"
import * as Tags from "../../../../src/layers/peerstore/core/Tags.ts"
import { addressesAt } from "../../../../src/conformance/PeerStore.ts"
import { vectors } from "../../../../src/conformance/Crypto.ts"
import { peerOf } from "../sqlite/writes.ts"

const make = (options?: Limits.Options, journalled = false) => new Table(Limits.fromOptions(options), journalled)
const claim = (table: Table, number: number, ttl: number, now: number) =>
  table.addAddresses(peerOf(number), addressesAt(1, 2), "claimed", ttl, now)
const limitOf = (result: { readonly _tag: string; readonly failure?: { readonly resource?: string } }) =>
  result._tag === "Failure" ? result.failure?.resource : undefined

describe("the table of peers", () => {
  it("holds at most 10,000 peers, and of each 32 addresses, whatever is claimed", () => {
    const table = make()
    const many = addressesAt(...Array.from({ length: 1000 }, (_, i) => i + 1))
    for (let i = 0; i < 10_500; i++) table.addAddresses(peerOf(i), i < 20 ? many : addressesAt(1), "claimed", 1e6, 0)
    assert.strictEqual(table.size(0), 10_000)
    table.addAddresses(peerOf(1), many, "claimed", 1e6, 0)
    assert.lengthOf(table.addresses(peerOf(1), 0), 32)
    assert.deepStrictEqual(table.get(peerOf(499), 0)?.peer, undefined)
    assert.isDefined(table.get(peerOf(501), 0))
  })

  it("forgets peers of which there is only hearsay before those that it has met, whatever is claimed", () => {
    const table = make({ maxPeers: 100 })
    for (let i = 0; i < 50; i++) table.addAddresses(peerOf(i), addressesAt(1), "proven", 1000, 0)
    table.setMetadata(peerOf(50), "mine", new Uint8Array(1), 0)
    table.setTag(peerOf(51), "friend", { value: 1 }, 0)
    for (let i = 1000; i < 2000; i++) claim(table, i, 5000, 0)
    assert.strictEqual(table.held.peers, 100)
    for (let i = 0; i < 52; i++) assert.isDefined(table.get(peerOf(i), 0), `peer ${i}`)
    assert.isDefined(table.get(peerOf(1999), 0), "the latest hearsay")
    // What was proven has expired: it is as good as hearsay, which is forgotten in its order.
    for (let i = 2000; i < 2200; i++) claim(table, i, 5000, 1500)
    assert.isUndefined(table.get(peerOf(0), 1500))
    assert.isDefined(table.get(peerOf(50), 1500))
    assert.isDefined(table.get(peerOf(51), 1500))
    for (let i = 100; i < 300; i++) table.addAddresses(peerOf(i), addressesAt(1), "proven", 1000, 1500)
    assert.deepStrictEqual(
      table.peers(99, 1500).map(String),
      Array.from({ length: 99 }, (_, i) => peerOf(299 - i).toString())
    )
    assert.isDefined(table.get(peerOf(51), 1500), "a tag outlasts all else")
  })

  it("holds at most so many bytes", () => {
    const table = make({ maxBytes: 100_000 })
    for (let i = 0; i < 100; i++) table.setMetadata(peerOf(i), "name", new Uint8Array(4096), 0)
    assert.isAtMost(table.held.bytes, 100_000)
    assert.isAtLeast(table.held.peers, 15)
    assert.isDefined(table.get(peerOf(99), 0))
    for (const peer of table.peers(1000, 0)) table.forget(peer)
    assert.deepStrictEqual(table.held, { peers: 0, bytes: 0 })
  })

  it("drops what has expired while others are written, without being asked for it", () => {
    const table = make()
    for (let i = 0; i < 1000; i++) claim(table, i, 1000, 0)
    assert.strictEqual(table.held.peers, 1000)
    for (let i = 0; i < 700; i++) claim(table, 5000, 1000, 2000)
    assert.strictEqual(table.held.peers, 1)
  })

  it("forgets key and protocols of a peer that was not heard of for a day and of which nothing else is known", () => {
    const day = 86_400_000
    const table = make()
    table.setProtocols(peerOf(1), ["/a"], 0)
    table.setProtocols(peerOf(2), ["/a"], 0)
    claim(table, 2, 2 * day, 0)
    assert.strictEqual(table.size(day - 1), 2)
    assert.deepStrictEqual(table.peers(9, day).map(String), [peerOf(2).toString()])
    assert.deepStrictEqual(table.get(peerOf(2), day)?.protocols, ["/a"])
    assert.isUndefined(table.get(peerOf(2), 2 * day))
  })

  it("keeps the key of a peer whose id is a hash, and gives the one that an id holds", () => {
    const table = make()
    for (const { publicKey } of vectors) {
      const peer = PeerId.fromPublicKey(publicKey)
      table.addRecord({ peer, publicKey, sequence: 1n, addresses: [], envelope: new Uint8Array(1) }, 1000, 0)
      const known: PublicKey | undefined = table.get(peer, 999)?.publicKey
      assert.deepStrictEqual(known, publicKey)
      table.forget(peer)
      assert.strictEqual(table.setPublicKey(peer, publicKey, 0)._tag, "Success")
      assert.deepStrictEqual(table.get(peer, 0)?.publicKey, publicKey)
    }
  })

  it("names the bound that is met", () => {
    const table = make({ maxProtocolBytes: 10, maxNameSize: 3 })
    const peer = peerOf(1)
    assert.strictEqual(limitOf(table.setProtocols(peer, ["/ä/ä/ä/ä"], 0)), "bytes of protocols")
    assert.strictEqual(limitOf(table.setTag(peer, "ää", { value: 1 }, 0)), "bytes of the name of a tag")
    assert.strictEqual(
      limitOf(table.setMetadata(peer, "ää", new Uint8Array(0), 0)),
      "bytes of the name of a metadata entry"
    )
    assert.strictEqual(table.held.peers, 0)
  })

  it("takes no address that it could not read again", () => {
    const table = make()
    const relay = addressesAt(1)[0] ?? assert.fail()
    let long = relay
    for (let i = 0; i < 40; i++) long = Multiaddr.encapsulate(long, relay)
    table.addAddresses(peerOf(1), [long], "claimed", 1000, 0)
    assert.deepStrictEqual(table.addresses(peerOf(1), 0), [])
  })

  it("changes no protocols that are told again, which would be written to the disk", () => {
    const table = make({}, true)
    table.setProtocols(peerOf(1), ["/a", "/b"], 0)
    table.takeChanges()
    table.setProtocols(peerOf(1), ["/a", "/b", "/a"], 1)
    const [change] = table.takeChanges().values()
    assert.isDefined(change?.after)
    assert.strictEqual(change?.after?.protocols, change?.before?.protocols)
    table.setProtocols(peerOf(1), ["/b", "/a"], 2)
    assert.deepStrictEqual(table.get(peerOf(1), 2)?.protocols, ["/b", "/a"])
  })

  it("undoes changes to the last: peers, bytes and order", () => {
    const table = make({ maxPeers: 3 }, true)
    for (const i of [1, 2, 3]) claim(table, i, 1000, 0)
    table.takeChanges()
    const before = { held: table.held, peers: table.peers(9, 0).map(String), first: table.get(peerOf(1), 0) }
    claim(table, 1, 5000, 0)
    table.forget(peerOf(3))
    for (const i of [4, 5, 6]) claim(table, i, 1000, 0)
    const changes = table.takeChanges()
    assert.strictEqual(changes.size, 6)
    table.undo(changes)
    assert.deepStrictEqual(
      { held: table.held, peers: table.peers(9, 0).map(String), first: table.get(peerOf(1), 0) },
      before
    )
    assert.isFalse(table.hasChanges)
    claim(table, 7, 1000, 0)
    assert.isUndefined(table.get(peerOf(1), 0), "the oldest is the oldest again")
  })
})

describe("tags", () => {
  it("are numbers whatever is given, and do not grow when the clock is set back", () => {
    assert.strictEqual(Tags.fromTag({ value: Number.NaN }, 0).value, 0)
    assert.strictEqual(Tags.fromTag({ value: Number.POSITIVE_INFINITY }, 0).value, Number.MAX_SAFE_INTEGER)
    const tag = Tags.fromTag({ value: 10, decay: { shape: "linear", over: 1000 } }, 5000)
    assert.strictEqual(Tags.valueAt(tag, 1000), 10)
    const lasting = Tags.fromTag({ value: 10, decay: { shape: "exponential", over: "Infinity" } }, 0)
    assert.strictEqual(Tags.valueAt(lasting, 1e15), 10)
  })
})
