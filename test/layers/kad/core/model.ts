/** A network as a plain model: peers by chance, each of which knows some of the others. */
import * as PeerId from "../../../../src/data/PeerId.ts"
import * as Key from "../../../../src/layers/kad/core/Key.ts"
import type { Prng } from "../../../../src/layers/simulation/Prng.ts"

/** A peer id of 32 bytes by chance. Unchecked, so that a thousand of them are cheap. */
export const contact = (prng: Prng): Key.Contact => {
  const bytes = new Uint8Array(34)
  bytes.set([0x12, 32])
  bytes.set(prng.bytes(32), 2)
  return Key.contact(new PeerId.PeerId(bytes, undefined))
}

/** A peer whose place is given: its id does not hash to it. */
export const contactAt = (key: Key.Key): Key.Contact => {
  const bytes = new Uint8Array(34)
  bytes.set([0x12, 32])
  bytes.set(Key.toBytes(key), 2)
  return { peer: new PeerId.PeerId(bytes, undefined), key }
}

export const contacts = (prng: Prng, count: number): Array<Key.Contact> =>
  Array.from({ length: count }, () => contact(prng))

/** Numbers as the cores take them. */
export const chance =
  (prng: Prng): Key.Chance =>
  () =>
    prng.nextDoubleUnsafe()

/** The closest of all by sorting: what the code under test is compared with. */
export const trueClosest = (
  target: Key.Key,
  all: ReadonlyArray<Key.Contact>,
  count: number
): ReadonlyArray<Key.Contact> =>
  all
    .map((peer) => ({ peer, distance: number(peer.key) ^ number(target) }))
    .toSorted((a, b) => (a.distance < b.distance ? -1 : 1))
    .slice(0, count)
    .map(({ peer }) => peer)

/** The place as a number, for models. */
export const number = (key: Key.Key): bigint => BigInt(`0x${Key.toHex(key)}`)

/** A network in which each peer knows up to `k` peers of each bucket: what a healthy table holds. */
export class Network {
  readonly peers: ReadonlyArray<Key.Contact>
  readonly #tables = new Map<string, ReadonlyArray<Key.Contact>>()
  readonly #prng: Prng
  readonly #k: number

  constructor(prng: Prng, count: number, k = 20) {
    this.peers = contacts(prng, count)
    this.#prng = prng
    this.#k = k
  }

  table(of: Key.Key): ReadonlyArray<Key.Contact> {
    const made = this.#tables.get(of.id)
    if (made !== undefined) return made
    const buckets = new Map<number, Array<Key.Contact>>()
    // From a place by chance on, so that not all know the same.
    const from = this.#prng.below(this.peers.length)
    for (let i = 0; i < this.peers.length; i++) {
      const peer = this.peers[(from + i) % this.peers.length]
      if (peer === undefined || Key.equals(peer.key, of)) continue
      const shared = Key.commonPrefix(of, peer.key)
      const bucket = buckets.get(shared) ?? []
      if (bucket.length < this.#k) buckets.set(shared, [...bucket, peer])
    }
    const table = [...buckets.values()].flat()
    this.#tables.set(of.id, table)
    return table
  }

  /** What an honest peer answers. */
  answer(of: Key.Key, target: Key.Key): ReadonlyArray<Key.Contact> {
    return Key.closest(target, this.table(of), this.#k)
  }
}

export const texts = (list: ReadonlyArray<Key.Contact>): ReadonlyArray<string> => list.map(({ key }) => Key.toHex(key))
