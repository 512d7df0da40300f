/**
 * Drives a query of the core: asks whom it names, tells it what came of that,
 * and wakes it when it wants.
 *
 * ```
 * who looks up
 *  └─ scope of the lookup
 *      └─ one fiber a request, which tells what came of it
 * ```
 *
 * It runs outside the actor that owns the table, and tells it what it met.
 * Interrupting it ends its requests.
 */
import * as Effect from "effect/Effect"
import type * as Kad from "../../data/messages/Kad.ts"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import type { Deadlines } from "../internal/Deadlines.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import { Outcomes } from "../internal/Outcomes.ts"
import type { Part } from "./core/Coverage.ts"
import * as Key from "./core/Key.ts"
import { Finished, type Progress, Query } from "./core/Query.ts"
import type { Readings } from "./Readings.ts"
import type * as Realm from "./Realm.ts"
import type { Failure, Rpc } from "./Rpc.ts"
import { Places } from "./Places.ts"
import * as Wire from "./Wire.ts"

/** How the lookups of one DHT go. */
export interface Settings {
  readonly self: Key.Contact
  readonly k: number
  readonly alpha: number
  readonly paths: number
  readonly addresses: Realm.Addresses
  readonly rpc: Rpc
  readonly readings: Readings
  readonly deadlines: Deadlines
  /** Peers to begin with, and where they are. */
  readonly seeds: (target: Key.Key) => ReadonlyArray<RoutedPeer>
  /** Where a peer was last met. */
  readonly known: (peer: RoutedPeer["peer"]) => ReadonlyArray<Multiaddr>
  /** A peer answered: it is a server, it is there, and how long it took. `useful`: it told of something. */
  readonly answered: (contact: Key.Contact, at: RoutedPeer, latencyMs: number, useful: boolean) => void
  readonly failed: (contact: Key.Contact, failure: Failure) => void
  /** Peers had not answered when the lookup ended without them. */
  readonly late: (contacts: ReadonlyArray<Key.Contact>) => void
  /** Those of the peers that may be expected to answer. */
  readonly answering: (contacts: ReadonlyArray<Key.Contact>, now: number) => ReadonlyArray<Key.Contact>
  /** A lookup has ended. `whole`: it was for all of the closest peers. */
  readonly finished: (finished: Finished, whole: boolean) => void
}

/** What is looked up. */
export interface Wanted {
  readonly target: Key.Key
  /** What each is asked. */
  readonly question: Kad.Kad
  /** How many of the closest must have answered. Default: k. */
  readonly need?: number | undefined
  /** Says what is wrong with an answer; who gave it has failed then. */
  readonly refuse?: ((answer: Kad.Kad) => string | undefined) | undefined
  /** Told of each answer, and of the peers in it that were not known. True ends the lookup. */
  readonly onAnswer?:
    | ((answer: Kad.Kad, from: RoutedPeer, peers: ReadonlyArray<RoutedPeer>) => boolean | undefined)
    | undefined
  /**
   * Told after each answer or failure: the closest peers that are known and have
   * not failed, asked or not. True ends the lookup.
   */
  readonly onNearest?: ((nearest: ReadonlyArray<Placed>) => boolean) | undefined
  /** Told after each answer or failure: the peers that it told of, and how far the lookup is. */
  readonly onProgress?: ((learnt: ReadonlyArray<RoutedPeer>, progress: Progress) => void) | undefined
}

/** A peer with its place in the key space, and where it is as far as is known. */
export interface Placed {
  readonly contact: Key.Contact
  readonly at: RoutedPeer
}

/** What a lookup found. */
export interface Found {
  readonly finished: Finished
  readonly closest: ReadonlyArray<RoutedPeer>
  /** Who is to hold what belongs there: see `Finished`. */
  readonly holders: ReadonlyArray<RoutedPeer>
  /** Where the closest are a crowd, the part of the key space whose peers these are. */
  readonly region?: Part | undefined
}

type Outcome =
  | {
      readonly _tag: "Answered"
      readonly contact: Key.Contact
      readonly at: RoutedPeer
      readonly answer: Kad.Kad
      readonly ms: number
    }
  | { readonly _tag: "Failed"; readonly contact: Key.Contact; readonly failure: Failure }

/** Runs the lookup to its end. */
export const run = (settings: Settings, wanted: Wanted): Effect.Effect<Found> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { k, rpc, self } = settings
      const scope = yield* Effect.scope
      const places = new Places(settings.known)
      const contacts = new Map<string, Key.Contact>()
      const contactOf = (peer: RoutedPeer["peer"]): Key.Contact => {
        const id = peer.toString()
        const contact = contacts.get(id) ?? Key.contact(peer)
        contacts.set(id, contact)
        return contact
      }
      const at = ({ peer }: Key.Contact): RoutedPeer => ({ peer, addresses: places.of(peer) })
      const seeds = settings.seeds(wanted.target)
      for (const seed of seeds) places.told(seed)
      /** Those that could not be reached where they were said to be. */
      const unreachable = new Set<string>()
      const query = new Query({
        target: wanted.target,
        self: self.key,
        seeds: settings.answering(
          seeds.map(({ peer }) => contactOf(peer)),
          yield* monotonicMs
        ),
        k,
        alpha: settings.alpha,
        need: wanted.need,
        paths: settings.paths
      })
      // As many at most as peers may be asked.
      const outcomes = new Outcomes<Outcome>(settings.deadlines)

      const ask = (contact: Key.Contact) =>
        Effect.gen(function* () {
          const began = yield* monotonicMs
          const to = at(contact)
          yield* rpc.request(to, wanted.question).pipe(
            Effect.flatMap((answer): Effect.Effect<Kad.Kad, Failure> => {
              const detail = wanted.refuse?.(answer)
              return detail === undefined ? Effect.succeed(answer) : Effect.fail({ _tag: "Malformed", detail })
            }),
            Effect.matchEffect({
              onSuccess: (answer) =>
                Effect.map(monotonicMs, (now) =>
                  outcomes.put({ _tag: "Answered", contact, at: to, answer, ms: now - began })
                ),
              onFailure: (failure) => Effect.sync(() => outcomes.put({ _tag: "Failed", contact, failure }))
            })
          )
        })

      const { addresses, known, readings } = settings
      const belief = { addresses, known, readings }
      /** The peers of an answer that can be asked: those with an address that counts here, or met before. */
      const peersIn = (answer: Kad.Kad, from: RoutedPeer): ReadonlyArray<RoutedPeer> =>
        Wire.believed(belief, from, answer.closerPeers, 2 * k).filter(({ addresses }) => addresses.length > 0)

      const told = (): void => {
        if (wanted.onNearest?.(query.nearest().map((contact) => ({ contact, at: at(contact) }))) === true) query.stop()
      }

      const took = (outcome: Outcome, now: number): void => {
        if (outcome._tag === "Failed") {
          query.failed(outcome.contact)
          if (outcome.failure._tag === "Unreachable") unreachable.add(outcome.contact.key.id)
          settings.failed(outcome.contact, outcome.failure)
          told()
          wanted.onProgress?.([], query.progress())
          return
        }
        const { answer, contact, at: from, ms } = outcome
        const peers = peersIn(answer, from)
        for (const told of peers) {
          if (!places.told(told) || unreachable.size === 0) continue
          const moved = contactOf(told.peer)
          if (unreachable.delete(moved.key.id)) query.again(moved)
        }
        query.answered(
          contact,
          settings.answering(
            peers.map(({ peer }) => contactOf(peer)),
            now
          ),
          now
        )
        const useful = peers.length > 0 || answer.record !== undefined || answer.providerPeers.length > 0
        settings.answered(contact, from, ms, useful)
        if (wanted.onAnswer?.(answer, from, peers) === true) query.stop()
        told()
        wanted.onProgress?.(peers, query.progress())
      }

      for (;;) {
        const now = yield* monotonicMs
        const { ask: asked, wakeAt } = query.next(now)
        for (const contact of asked) yield* Effect.forkIn(ask(contact), scope)
        if (wakeAt === undefined) break
        // Whole milliseconds: less than a timer can wait would come to waiting for nothing, again and again.
        const outcome = yield* outcomes.next(Math.max(1, Math.ceil(wakeAt - now)))
        if (outcome !== undefined) took(outcome, yield* monotonicMs)
      }
      const finished = Finished.of(query)
      if (finished === undefined) return yield* Effect.die("a query has ended without a reason")
      settings.finished(finished, wanted.need === undefined)
      const late = query.late()
      if (late.length > 0) settings.late(late)
      return { finished, closest: finished.progress.closest.map(at), holders: finished.holders.map(at) }
    })
  )
