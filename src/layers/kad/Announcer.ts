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
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Kad from "../../data/messages/Kad.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import * as Announcement from "./Announcement.ts"
import * as Key from "./core/Key.ts"
import { isEnough, type Provided, Reprovide } from "./core/Reprovide.ts"
import { Sweep } from "./core/Sweep.ts"
import type { Dht, Settings } from "./Dht.ts"
import type { Wanted } from "./Lookup.ts"
import type { ProvidedStore } from "./ProvidedFile.ts"
import * as Tell from "./Tell.ts"

export interface Limits {
  /** How often each key is announced again, about. */
  readonly everyMs: number
  /** Keys that are provided. */
  readonly maxKeys: number
  /** Where it is kept what is announced, and when it was; without it, that ends with the node. */
  readonly store: ProvidedStore | undefined
  /** New keys are announced in the optimistic way, see Announcement. */
  readonly optimistic: boolean
}

/** What is needed of a DHT to announce in it again and again. */
export type Place = Announcement.Place &
  Pick<Dht, "networkSize"> & { readonly settings: Pick<Settings, "addresses" | "k" | "realm"> }

export interface Announcer<P extends Place = Place> {
  readonly dht: P
  /** Announces a key from now on. False when there are too many. The first announcement is not waited for. */
  readonly add: (key: Uint8Array) => Effect.Effect<boolean>
  readonly remove: (key: Uint8Array) => Effect.Effect<void>
  readonly has: (key: Uint8Array) => boolean
  readonly keys: () => ReadonlyArray<Uint8Array>
  /** Announces a key now, for the first time. */
  readonly announce: Announcement.Announce
}

/** How often it looks for what is due. */
const lookEvery = "1 minute"
/** Keys that are announced in one go, at most. */
const maxAtOnce = 10_000

export const make = Effect.fnUntraced(function* <P extends Place>(
  dht: P,
  chance: Key.Chance,
  limits: Limits
): Effect.fn.Return<Announcer<P>, never, Scope.Scope> {
  const { k, realm } = dht.settings
  const { store } = limits
  const plan = new Reprovide({
    self: Key.fromBytes(dht.self.bytes),
    cycleMs: limits.everyMs,
    maxKeys: limits.maxKeys,
    k
  })
  /** Being announced for the first time by who provides them. */
  const underWay = new Set<string>()

  if (store !== undefined) {
    const now = yield* monotonicMs
    const wall = yield* Clock.currentTimeMillis
    const kept = store.of(realm)
    const taken = kept.filter(({ announcedAt, key }) =>
      plan.restore(key, announcedAt === undefined ? undefined : now - (wall - announcedAt), now)
    )
    if (taken.length < kept.length) {
      yield* Effect.logWarning(`${kept.length - taken.length} keys are not announced: there are more than may be`)
    }
  }

  /** These were announced just now. */
  const provided = (items: ReadonlyArray<Provided>) =>
    Effect.gen(function* () {
      plan.provided(items, yield* monotonicMs, yield* dht.networkSize)
      if (store === undefined) return
      const wall = yield* Clock.currentTimeMillis
      for (const { bytes } of items) if (plan.has(bytes)) store.set(realm, bytes, wall)
      yield* store.stored
    })

  const announceNew = Announcement.make({ dht, optimistic: limits.optimistic, scope: yield* Effect.scope })

  const announce: Announcement.Announce = (key, onProgress, onTold) => {
    const id = key.join()
    return Effect.gen(function* () {
      underWay.add(id)
      const announced = yield* announceNew(key, onProgress, onTold)
      // With too few it is due still, and goes with the next sweep.
      if (isEnough(announced.told, announced.holders)) {
        yield* provided([{ bytes: key, key: Key.fromBytes(key) }])
      }
      return announced
    }).pipe(Effect.ensuring(Effect.sync(() => void underWay.delete(id))))
  }

  /** Finds out who is to hold what of a region, and tells each of them all of it. */
  const sweep = (items: ReadonlyArray<Provided>, name: Tell.Name) =>
    Effect.gen(function* () {
      const found = new Map<string, RoutedPeer>()
      const density = yield* dht.density
      const search = new Sweep(items, k, (key, closest) => density(key)?.isCrowded(closest) === true)
      for (let step = search.next(); step !== undefined; step = search.next()) {
        const place: Key.Preimage | undefined =
          step._tag === "Item" ? step.item : Key.preimage(step.part.key, step.part.length, chance)
        if (place === undefined) {
          search.failed()
          continue
        }
        const wanted: Wanted = { target: place.key, question: Kad.make("FindNode", { key: place.bytes }) }
        // Who is to hold a key is another question than who is in a part.
        const { closest, finished, holders, region } = yield* step._tag === "Item"
          ? dht.question(wanted)
          : dht.lookup(wanted)
        for (const peer of [...closest, ...holders]) found.set(peer.peer.toString(), peer)
        search.found(finished, { holders: holders.map(({ peer }) => Key.contact(peer)), region })
      }
      /** Of each key, those that are to hold it, and those of them that were told. */
      const counts = new Map(items.map((item) => [item, { holders: 0, told: 0 }]))
      yield* Effect.forEach(
        search.holders,
        ({ contact, items }) =>
          Effect.map(
            Tell.tell(
              dht,
              found.get(contact.peer.toString()) ?? { peer: contact.peer, addresses: [] },
              items.map(({ bytes }) => bytes),
              name
            ),
            (told) => {
              for (const [i, item] of items.entries()) {
                const count = counts.get(item)
                if (count === undefined) continue
                count.holders++
                if (i < told) count.told++
              }
            }
          ),
        { concurrency: Tell.concurrency, discard: true }
      )
      const announced = items.filter((item) => {
        const { holders, told } = counts.get(item) ?? { holders: 0, told: 0 }
        return isEnough(told, holders)
      })
      yield* provided(announced)
    })

  const announceDue = Effect.gen(function* () {
    const addresses = yield* dht.addressesOf(dht.self)
    if (addresses.length === 0 || dht.size() === 0) return
    const due = plan.due(yield* monotonicMs, yield* dht.networkSize, maxAtOnce)
    const items = due.filter(({ bytes }) => !underWay.has(bytes.join()))
    if (items.length > 0) yield* sweep(items, Tell.nameBy(dht, addresses))
  })
  yield* Effect.andThen(Effect.sleep(lookEvery), announceDue).pipe(
    // A defect is told of; what was due comes again.
    Effect.catchDefect((defect) => Effect.logError("announcing what is provided fails", defect)),
    Effect.forever,
    Effect.forkScoped
  )

  return {
    dht,
    add: (key) =>
      Effect.gen(function* () {
        if (plan.has(key)) return true
        if (!plan.add(key.slice(), yield* monotonicMs)) return false
        store?.set(realm, key, undefined)
        if (store !== undefined) yield* store.stored
        return true
      }),
    remove: (key) =>
      Effect.suspend(() => {
        plan.remove(key)
        store?.delete(realm, key)
        return store?.stored ?? Effect.void
      }),
    has: (key) => plan.has(key),
    keys: () => plan.keys,
    announce
  }
})
