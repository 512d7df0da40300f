/**
 * What this node provides, in one DHT: announced when it is new, and again as
 * the plan of the core says, region by region, so that a few lookups serve many
 * keys.
 *
 * ```
 * scope of the layer
 *  └─ a fiber that announces what is due
 * ```
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Kad from "../../data/messages/Kad.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import * as Key from "./core/Key.ts"
import { Reprovide, type Provided } from "./core/Reprovide.ts"
import { Sweep } from "./core/Sweep.ts"
import type { Dht } from "./Kad.ts"
import * as Realm from "./Realm.ts"
import * as Wire from "./Wire.ts"

export interface Limits {
  /** How often each key is announced again, about. */
  readonly everyMs: number
  /** Keys that are provided. */
  readonly maxKeys: number
}

/** An announcement came to nothing. */
export class NotAnnounced extends Data.TaggedError("NotAnnounced")<{
  readonly reason: "nobody" | "no address" | "refused"
}> {}

export interface Announcer {
  /** Announces a key from now on. False when there are too many. The first announcement is not waited for. */
  readonly add: (key: Uint8Array) => Effect.Effect<boolean>
  readonly remove: (key: Uint8Array) => void
  readonly has: (key: Uint8Array) => boolean
  readonly keys: () => ReadonlyArray<Uint8Array>
  /** Announces a key now; gives the number of peers that were told. */
  readonly announce: (key: Uint8Array) => Effect.Effect<number, NotAnnounced>
}

/** How often it looks for what is due. */
const lookEvery = "1 minute"
/** Keys that are announced in one go, at most. */
const maxAtOnce = 10_000
/** Peers that are told at once. */
const concurrency = 10

export const make = Effect.fnUntraced(function* (
  dht: Dht,
  self: PeerId,
  chance: Key.Chance,
  limits: Limits
): Effect.fn.Return<Announcer, never, Scope.Scope> {
  const { k } = dht.settings
  const plan = new Reprovide({ self: Key.fromBytes(self.bytes), cycleMs: limits.everyMs, maxKeys: limits.maxKeys, k })
  /** Being announced for the first time by who provides them. */
  const underWay = new Set<string>()

  /** How this node names itself to a holder, who may be on this machine; nothing when it could not be reached from there. */
  const nameTo = (addresses: ReadonlyArray<Multiaddr.Multiaddr>) => (holder: RoutedPeer) => {
    const nearby = holder.addresses.find((address) => Multiaddr.reach(address) === "loopback")
    const reachable = Realm.filter(dht.settings.addresses, addresses, nearby)
    return reachable.length === 0 ? undefined : [Wire.toWire({ peer: self, addresses: reachable }, true)]
  }

  /** Tells a peer of keys, one after the other; gives how many it was told. */
  const tell = (holder: RoutedPeer, keys: ReadonlyArray<Uint8Array>, name: ReturnType<typeof nameTo>) =>
    Effect.gen(function* () {
      const providerPeers = name(holder)
      let told = 0
      if (providerPeers === undefined) return told
      for (const key of keys) {
        const sent = yield* Effect.option(dht.rpc.send(holder, Kad.make("AddProvider", { key, providerPeers })))
        if (sent._tag === "None") break
        told++
      }
      return told
    })

  const announce = (key: Uint8Array): Effect.Effect<number, NotAnnounced> => {
    const id = key.join()
    return Effect.gen(function* () {
      underWay.add(id)
      const name = nameTo(yield* dht.addressesOf(self))
      if (dht.size() === 0) return yield* new NotAnnounced({ reason: "nobody" })
      const item = { bytes: key, key: Key.fromBytes(key) }
      const { closest } = yield* dht.lookup({ target: item.key, question: Kad.make("FindNode", { key }) })
      const told = yield* Effect.forEach(closest, (peer) => tell(peer, [key], name), { concurrency })
      const holders = told.reduce((sum, one) => sum + one, 0)
      if (holders === 0) {
        if (closest.length === 0) return yield* new NotAnnounced({ reason: "nobody" })
        const reason = closest.every((peer) => name(peer) === undefined) ? "no address" : "refused"
        return yield* new NotAnnounced({ reason })
      }
      plan.provided([item], yield* monotonicMs, yield* dht.networkSize)
      return holders
    }).pipe(Effect.ensuring(Effect.sync(() => void underWay.delete(id))))
  }

  /** Finds out who is to hold what of a region, and tells each of them all of it. */
  const sweep = (items: ReadonlyArray<Provided>, name: ReturnType<typeof nameTo>) =>
    Effect.gen(function* () {
      const found = new Map<string, RoutedPeer>()
      const search = new Sweep(items, k)
      for (let step = search.next(); step !== undefined; step = search.next()) {
        const place: Key.Preimage | undefined =
          step._tag === "Item" ? step.item : Key.preimage(step.part.key, step.part.length, chance)
        if (place === undefined) {
          search.failed()
          continue
        }
        const { closest, finished } = yield* dht.lookup({
          target: place.key,
          question: Kad.make("FindNode", { key: place.bytes })
        })
        for (const peer of closest) found.set(peer.peer.toString(), peer)
        search.found(finished)
      }
      const held = new Set<Provided>()
      yield* Effect.forEach(
        search.holders,
        ({ contact, items }) =>
          Effect.map(
            tell(
              found.get(contact.peer.toString()) ?? { peer: contact.peer, addresses: [] },
              items.map(({ bytes }) => bytes),
              name
            ),
            (told) => {
              for (const item of items.slice(0, told)) held.add(item)
            }
          ),
        { concurrency, discard: true }
      )
      plan.provided(held, yield* monotonicMs, yield* dht.networkSize)
    })

  const announceDue = Effect.gen(function* () {
    const addresses = yield* dht.addressesOf(self)
    if (addresses.length === 0 || dht.size() === 0) return
    const due = plan.due(yield* monotonicMs, yield* dht.networkSize, maxAtOnce)
    const items = due.filter(({ bytes }) => !underWay.has(bytes.join()))
    if (items.length > 0) yield* sweep(items, nameTo(addresses))
  })
  yield* Effect.andThen(Effect.sleep(lookEvery), announceDue).pipe(
    // A defect is told of; what was due comes again.
    Effect.catchDefect((defect) => Effect.logError("announcing what is provided fails", defect)),
    Effect.forever,
    Effect.forkScoped
  )

  return {
    add: (key) => Effect.map(monotonicMs, (now) => plan.add(key.slice(), now)),
    remove: (key) => void plan.remove(key),
    has: (key) => plan.has(key),
    keys: () => plan.keys,
    announce
  }
})
