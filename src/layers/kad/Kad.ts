/**
 * One DHT of a node, the public or the local one.
 *
 * ```
 * scope of the layer
 *  ├─ requests (Rpc): streams that are kept
 *  └─ kad <realm> (actor): alone changes the routing table, the mode and what is announced by others
 *      ├─ handler of the protocol, in server mode (Serving)
 *      ├─ fibers that hear of identified peers, and that tell it to look after things
 *      ├─ one fiber a check of a peer, few at once (Members)
 *      ├─ the fibers that enter the network anew, when the table is empty, and look outside of it now and then
 *      └─ refresh (actor): looks up what is due in the table
 * lookups: fibers of those who ask; they read the table and tell the actor whom they met
 * ```
 *
 * The actor starts again however often it fails, with an empty table, which it
 * fills from the connections that are open.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import type * as EffectScope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import { type ActorRef, Actors } from "../../services/Actors.ts"
import { Identify } from "../../services/Identify.ts"
import { Identity } from "../../services/Identity.ts"
import type { KadMode } from "../../services/Kad.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import { PeerStore, tolerant } from "../../services/PeerStore.ts"
import { Protocols } from "../../services/Protocols.ts"
import { type Connection, Swarm } from "../../services/Swarm.ts"
import * as Deadlines from "../internal/Deadlines.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import * as Pauses from "../internal/Pauses.ts"
import { AddressBook } from "./AddressBook.ts"
import * as Bootstrap from "./Bootstrap.ts"
import * as Density from "./core/Density.ts"
import * as Diversity from "./core/Diversity.ts"
import * as Key from "./core/Key.ts"
import { NetworkSize } from "./core/NetworkSize.ts"
import * as Providers from "./core/Providers.ts"
import { RoutingTable } from "./core/RoutingTable.ts"
import type { Scope } from "./core/Shares.ts"
import { Silence } from "./core/Silence.ts"
import type { Dht, Settings } from "./Dht.ts"
import * as Lookup from "./Lookup.ts"
import * as Members from "./Members.ts"
import type { Message } from "./Message.ts"
import * as Question from "./Question.ts"
import { Readings } from "./Readings.ts"
import * as Refresh from "./Refresh.ts"
import * as Rpc from "./Rpc.ts"
import * as Server from "./Server.ts"
import * as Serving from "./Serving.ts"
import * as Status from "./Status.ts"

/** How often the actor looks after the mode, peers that were not heard of, and an empty table. */
const lookEvery = "30 seconds"
/** Addresses of so many peers are remembered: those of the table, and those that wait for a place in it. */
const maxAddresses = 4096
/** For the actor to do what it is told. */
const patience = "10 seconds"

/** What it knows of others; another for each run of the actor. */
interface State {
  table: RoutingTable
  providers: Providers.Providers
  /** Whom lookups do without for a while. */
  silence: Silence
  networkSize: NetworkSize
  mode: KadMode
}

export const make = Effect.fnUntraced(function* (settings: Settings) {
  const { addresses: which, k, protocol, realm } = settings
  const actors = yield* Actors
  const identify = yield* Identify
  const { peerId } = yield* Identity
  const peerStore = yield* PeerStore
  const protocols = yield* Protocols
  const random = yield* Random.Random
  const swarm = yield* Swarm
  const use = tolerant("the DHT")
  const self = Key.contact(peerId)
  const book = new AddressBook(maxAddresses)
  const chance = () => random.nextDoubleUnsafe()
  const counts = { lookups: 0, crowded: 0, refreshed: 0, refreshesFailed: 0 }
  const limits = Density.limits(k)
  const readings = new Readings()
  const deadlines = yield* Deadlines.make

  const emptyTable = () =>
    new RoutingTable(self.key, {
      k,
      diversity: settings.diversity,
      refreshEveryMs: Duration.toMillis(settings.refreshEvery)
    })
  const emptyState = (): State => ({
    table: emptyTable(),
    providers: new Providers.Providers(self.key, settings.providers),
    silence: new Silence(),
    networkSize: new NetworkSize({ k }),
    mode: "client"
  })
  let state = emptyState()
  /** Open from when a peer has come into the empty table; closed by who finds it empty again. */
  const peopled = yield* Latch.make(false)

  const rpc = yield* Rpc.make(swarm, { protocol, deadlineMs: Duration.toMillis(settings.requestDeadline) })

  // ---- what is known

  const placeOf = ({ peer }: Key.Contact): RoutedPeer => ({ peer, addresses: book.of(peer) })
  const nearest = (target: Key.Key, count: number) => state.table.nearest(target, count).map(placeOf)

  const addressesOf = (peer: PeerId): Effect.Effect<ReadonlyArray<Multiaddr>> =>
    Effect.suspend(() => {
      if (peer.toString() === peerId.toString()) return identify.announced
      const known = book.of(peer)
      return known.length > 0
        ? Effect.succeed(known)
        : Effect.map(use.read(peerStore.addresses(peer)), (all) => all ?? [])
    })

  const providersOf = (key: Uint8Array): Effect.Effect<ReadonlyArray<RoutedPeer>> =>
    Effect.gen(function* () {
      const held = state.providers.get(key, yield* monotonicMs).map(({ addresses, peer }) => ({
        peer,
        addresses: addresses.length > 0 ? addresses : book.of(peer)
      }))
      return settings.provides(key) ? [{ peer: peerId, addresses: yield* identify.announced }, ...held] : held
    })

  /** What an earlier run knew. Once: when the actor starts again, it is old. */
  let remembered = settings.remembered

  const server = Server.make(
    {
      self: peerId,
      k,
      addresses: which,
      readings,
      nearest: (key, count) => nearest(Key.fromBytes(key), count),
      addressesOf,
      holding: settings.holding,
      providersOf,
      addProvider: (key, provider, from) =>
        Effect.orElseSucceed(
          dht.ask<Scope | undefined>((reply) => ({ _tag: "Provides", key, provider, from, reply }), patience),
          () => undefined
        )
    },
    deadlines,
    settings.server
  )

  // ---- the actor

  const pause = Pauses.make()
  let refreshNow: Effect.Effect<void> = Effect.void
  /** Waits until the actor has done what it was told before. */
  const settle = (actor: ActorRef<Message>) =>
    Effect.ignore(actor.ask<void>((reply) => ({ _tag: "Settle", reply }), patience))

  const lookup = (wanted: Lookup.Wanted): Effect.Effect<Lookup.Found> =>
    Effect.suspend(() => {
      counts.lookups++
      return Lookup.run(
        {
          self,
          k,
          alpha: settings.alpha,
          paths: settings.paths,
          addresses: which,
          rpc,
          readings,
          deadlines,
          seeds: (target) => nearest(target, k),
          known: (peer) => book.of(peer),
          answered: (contact, at, latencyMs, useful) =>
            void dht.tellUnsafe({ _tag: "Answered", contact, at, latencyMs, useful }),
          failed: (contact, failure) => void dht.tellUnsafe({ _tag: "Failed", contact, failure }),
          late: (contacts) => void dht.tellUnsafe({ _tag: "Late", contacts }),
          answering: (contacts, now) => state.silence.without(contacts, now),
          finished: (finished, whole) => void dht.tellUnsafe({ _tag: "Finished", finished, whole })
        },
        wanted
      )
    })

  const dht: ActorRef<Message> = yield* actors.spawn<Message, never, EffectScope.Scope>({
    name: `kad ${realm}`,
    mailbox: 1024,
    restart: { times: Number.POSITIVE_INFINITY, within: "1 minute" },
    make: (actor) =>
      Effect.gen(function* () {
        const runScope = yield* Effect.scope
        state = emptyState()
        const { networkSize, providers, silence, table } = state
        yield* pause
        const tell = (message: Message) => Effect.sync(() => void actor.tellUnsafe(message))
        const members = Members.make({
          realm,
          protocol,
          addresses: which,
          self: peerId,
          table,
          silence,
          book,
          rpc,
          swarm,
          peerStore,
          actor,
          scope: runScope,
          chance,
          begun: () => {
            peopled.openUnsafe()
            refresh.begin()
          }
        })
        const serving = Serving.make({
          protocol,
          addresses: which,
          wanted: settings.mode,
          protocols,
          swarm,
          server,
          scope: runScope,
          changed: (mode) => void (state.mode = mode)
        })

        const look = Effect.gen(function* () {
          yield* serving.decide
          yield* members.checkStale
          if (table.size === 0) bootstrap.enter()
        })

        const receive = (message: Message): Effect.Effect<void> => {
          switch (message._tag) {
            case "Identified":
              return Effect.andThen(serving.met(message.connection), members.identified(message))
            case "Answered":
              return members.answered(message)
            case "Failed":
              return members.failed(message)
            case "Late":
              return members.late(message.contacts)
            case "CheckDone":
              return members.checked(message.contact)
            case "Finished":
              return Effect.map(monotonicMs, (now) => {
                table.refreshed(message.finished, now)
                if (message.whole) networkSize.add(message.finished, now)
              })
            case "Provides": {
              const { from, key, provider, reply } = message
              return Effect.flatMap(monotonicMs, (now) => {
                const full = providers.add(key, provider.peer, provider.addresses, now, from.group)
                return Effect.asVoid(Deferred.succeed(reply, full))
              })
            }
            case "Look":
              return look
            case "Settle":
              return Effect.asVoid(Deferred.succeed(message.reply, undefined))
          }
        }

        yield* members.remember(yield* remembered)
        if (table.size > 0) peopled.openUnsafe()
        remembered = Effect.succeed([])

        // -- children

        const met = (connection: Connection) =>
          Effect.matchEffect(identify.identified(connection), {
            onSuccess: (info) => tell({ _tag: "Identified", connection, info }),
            onFailure: () => Effect.void
          })
        yield* Effect.forkIn(
          Stream.runForEach(identify.events, ({ connection, info }) => tell({ _tag: "Identified", connection, info })),
          runScope,
          { startImmediately: true }
        )
        // Those that were identified before.
        yield* Effect.forkIn(
          Effect.flatMap(swarm.connections(), (open) =>
            Effect.forEach(open, met, { concurrency: "unbounded", discard: true })
          ),
          runScope
        )
        yield* Effect.forkIn(Effect.forever(Effect.andThen(tell({ _tag: "Look" }), Effect.sleep(lookEvery))), runScope)
        const bootstrap = yield* Bootstrap.make({
          swarm,
          peers: settings.bootstrap,
          outsideEveryMs: Duration.toMillis(settings.refreshEvery),
          chance,
          met
        })
        const refresh = yield* Refresh.make({
          actors,
          self,
          k,
          table: () => table,
          now: Effect.andThen(settle(actor), monotonicMs),
          lookup,
          chance,
          count: (refreshed) => void (refreshed ? counts.refreshed++ : counts.refreshesFailed++)
        })
        refreshNow = refresh.now
        // Before anybody is told what this node speaks.
        yield* serving.decide
        return {
          receive,
          detail: () => `${state.mode}, ${table.size} peers, ${members.checking()} checked`
        }
      })
  })

  // ---- what it shows

  const sizeEstimate = Effect.map(monotonicMs, (now) => state.networkSize.estimate(now))
  const networkSize = Effect.map(sizeEstimate, (estimate) => estimate?.size)
  const density: Dht["density"] = Effect.map(monotonicMs, (now) => {
    const { networkSize, table } = state
    const sizeAt = networkSize.cautious(now, table.neighbours())
    return (target) => {
      const size = settings.crowds ? sizeAt(target) : undefined
      return size === undefined ? undefined : new Density.Density(target, size, limits)
    }
  })

  // ---- what is asked

  /** By the connection: the addresses that a peer names are its choice. */
  const groupOf = ({ addresses, peer }: RoutedPeer) =>
    Effect.map(swarm.connections(peer), (open) => {
      const [group] = Diversity.groups([...open.map(({ remoteAddress }) => remoteAddress), ...addresses])
      return group
    })
  const known = (peer: PeerId) => book.of(peer)
  const asker: Question.Asker = {
    settings,
    rpc,
    readings,
    lookup,
    known,
    density,
    chance,
    groupOf,
    crowded: () => void counts.crowded++
  }

  yield* settle(dht)
  const made: Dht = {
    settings,
    self: peerId,
    rpc,
    readings,
    size: () => state.table.size,
    entered: Effect.suspend(() => {
      if (state.table.size > 0) return Effect.void
      peopled.closeUnsafe()
      // Whoever waits goes on by itself, not inside the actor.
      return Effect.andThen(peopled.await, Effect.yieldNow)
    }),
    contacts: () => nearest(self.key, state.table.size),
    networkSize,
    sizeEstimate,
    density,
    providersOf,
    lookup,
    question: (wanted) => Question.run(asker, wanted),
    addressesOf,
    known,
    refresh: Effect.suspend(() => refreshNow),
    status: Status.make({ settings, state: () => state, rpc, server, counts, networkSize })
  }
  return made
})
