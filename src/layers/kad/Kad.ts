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
import * as Random from "effect/Random"
import type * as EffectScope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import { type ActorRef, Actors } from "../../services/Actors.ts"
import { Identify } from "../../services/Identify.ts"
import { Identity } from "../../services/Identity.ts"
import type { KadMode, KadStatus } from "../../services/Kad.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import { PeerStore, tolerant } from "../../services/PeerStore.ts"
import { Protocols } from "../../services/Protocols.ts"
import { type Connection, Swarm } from "../../services/Swarm.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import * as Pauses from "../internal/Pauses.ts"
import { AddressBook } from "./AddressBook.ts"
import * as Bootstrap from "./Bootstrap.ts"
import type * as Diversity from "./core/Diversity.ts"
import * as Key from "./core/Key.ts"
import type * as Mode from "./core/Mode.ts"
import { type Estimate, NetworkSize } from "./core/NetworkSize.ts"
import * as Providers from "./core/Providers.ts"
import { RoutingTable } from "./core/RoutingTable.ts"
import type { Scope } from "./core/Shares.ts"
import { Silence } from "./core/Silence.ts"
import type { Holding } from "./Holding.ts"
import * as Lookup from "./Lookup.ts"
import * as Members from "./Members.ts"
import type { Message } from "./Message.ts"
import type * as Realm from "./Realm.ts"
import * as Refresh from "./Refresh.ts"
import * as Rpc from "./Rpc.ts"
import * as Server from "./Server.ts"
import * as Serving from "./Serving.ts"

export interface Settings {
  /** `wan` or `lan`. */
  readonly realm: string
  readonly protocol: string
  readonly addresses: Realm.Addresses
  readonly mode: Mode.Wanted
  readonly k: number
  readonly alpha: number
  /** How many of the closest must have answered when one thing is looked for. */
  readonly beta: number
  readonly paths: number
  /** For a request, from the dial to the answer. */
  readonly requestDeadline: Duration.Duration
  /** How often the buckets are refreshed. */
  readonly refreshEvery: Duration.Duration
  readonly diversity: Diversity.Limits
  /** What others may announce here. */
  readonly providers: Providers.Limits
  /** Whether this node has the content of a key, and says so. */
  readonly provides: (key: Uint8Array) => boolean
  /** What is held for others. */
  readonly holding: Holding | undefined
  readonly server: Server.Options | undefined
  /** Peers to enter the network by. */
  readonly bootstrap: Effect.Effect<ReadonlyArray<RoutedPeer>>
  /** The peers of its table in an earlier run. */
  readonly remembered: Effect.Effect<ReadonlyArray<RoutedPeer>>
}

/** A DHT at work. */
export interface Dht {
  readonly settings: Settings
  readonly self: PeerId
  readonly rpc: Rpc.Rpc
  /** Peers in the table. */
  readonly size: () => number
  /** The peers in the table. */
  readonly contacts: () => ReadonlyArray<RoutedPeer>
  /** Peers of the network, as far as lookups tell. */
  readonly networkSize: Effect.Effect<number | undefined>
  /** The same, with how sure it is. */
  readonly sizeEstimate: Effect.Effect<Estimate | undefined>
  /** What others have announced here, and this node. */
  readonly providersOf: (key: Uint8Array) => Effect.Effect<ReadonlyArray<RoutedPeer>>
  readonly lookup: (wanted: Lookup.Wanted) => Effect.Effect<Lookup.Found>
  /** Where a peer is, as far as this node knows. */
  readonly addressesOf: (peer: PeerId) => Effect.Effect<ReadonlyArray<Multiaddr>>
  /** Where a peer of this DHT was last met. */
  readonly known: (peer: PeerId) => ReadonlyArray<Multiaddr>
  readonly refresh: Effect.Effect<void>
  readonly status: Effect.Effect<KadStatus>
}

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
  const counts = { lookups: 0, refreshed: 0, refreshesFailed: 0 }

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
          begun: () => refresh.begin()
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

  const status: Effect.Effect<KadStatus> = Effect.gen(function* () {
    const { buckets, size } = state.table.snapshot(yield* monotonicMs)
    const requests = rpc.counters()
    const questions = server.counters()
    return {
      realm,
      protocol,
      mode: state.mode,
      peers: size,
      buckets: buckets.map(({ bucket, peers, refreshedMsAgo, replacements }) => ({
        bucket,
        peers: peers.length,
        replacements,
        oldestMs: peers.length === 0 ? undefined : Math.max(...peers.map(({ ageMs }) => ageMs)),
        refreshedMsAgo
      })),
      networkSize: yield* networkSize,
      providers: state.providers.held.records,
      announcements: { held: state.providers.held.records, ...state.providers.counts },
      records: settings.holding?.counts(),
      counters: {
        ...counts,
        requests: requests.sent,
        requestsFailed: requests.failed,
        questions: Object.values(questions.asked).reduce((sum, one) => sum + one, 0),
        questionsRefused: questions.refused,
        questionsDelayed: questions.delayed
      }
    }
  })

  yield* settle(dht)
  const made: Dht = {
    settings,
    self: peerId,
    rpc,
    size: () => state.table.size,
    contacts: () => nearest(self.key, state.table.size),
    networkSize,
    sizeEstimate,
    providersOf,
    lookup,
    addressesOf,
    known: (peer) => book.of(peer),
    refresh: Effect.suspend(() => refreshNow),
    status
  }
  return made
})
