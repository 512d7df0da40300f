/**
 * One DHT of a node, the public or the local one.
 *
 * ```
 * scope of the layer
 *  ├─ requests (Rpc): streams that are kept
 *  └─ kad <realm> (actor): alone changes the routing table, the mode and what is announced by others
 *      ├─ handler of the protocol, in server mode
 *      ├─ fibers that hear of identified peers, and that tell it to look after things
 *      ├─ one fiber a check of a peer, few at once
 *      ├─ the fibers that enter the network anew, when the table is empty, and look outside of it now and then
 *      └─ refresh (actor): looks up what is due in the table
 * lookups: fibers of those who ask; they read the table and tell the actor whom they met
 * ```
 *
 * A peer comes into the table when it has answered: one that speaks the
 * protocol and belongs to the realm is asked for this node itself. It leaves
 * when it answers no more. The actor starts again however often it fails, with
 * an empty table, which it fills from the connections that are open.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Kad from "../../data/messages/Kad.ts"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import { type ActorRef, Actors, type Reply } from "../../services/Actors.ts"
import { Identify, type IdentifyInfo } from "../../services/Identify.ts"
import { Identity } from "../../services/Identity.ts"
import type { KadMode, KadStatus } from "../../services/Kad.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import { PeerStore, tolerant } from "../../services/PeerStore.ts"
import { Protocols } from "../../services/Protocols.ts"
import type { RecordStore } from "../../services/RecordStore.ts"
import { type Connection, Swarm } from "../../services/Swarm.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import * as Pauses from "../internal/Pauses.ts"
import { AddressBook } from "./AddressBook.ts"
import * as Bootstrap from "./Bootstrap.ts"
import * as Diversity from "./core/Diversity.ts"
import * as Key from "./core/Key.ts"
import * as Mode from "./core/Mode.ts"
import { NetworkSize } from "./core/NetworkSize.ts"
import * as Providers from "./core/Providers.ts"
import type { Finished } from "./core/Query.ts"
import { type Change, RoutingTable } from "./core/RoutingTable.ts"
import * as Lookup from "./Lookup.ts"
import * as Realm from "./Realm.ts"
import * as Refresh from "./Refresh.ts"
import * as Rpc from "./Rpc.ts"
import * as Server from "./Server.ts"

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
  readonly records: RecordStore["Service"] | undefined
  readonly server: Server.Options | undefined
  /** Peers to enter the network by. */
  readonly bootstrap: Effect.Effect<ReadonlyArray<RoutedPeer>>
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
/** Peers that are asked at once whether they are there. */
const maxChecks = 16
/** Peers that wait to be asked: some may take their time, and hold up the others. */
const maxWaiting = 256
/** Addresses of so many peers are remembered: those of the table, and those that wait for a place in it. */
const maxAddresses = 4096
/** For the actor to do what it is told. */
const patience = "10 seconds"
/** What a connection with a peer of the table is worth to the connection manager. */
const tag = { value: 5 }

type Message =
  /** A peer has said who it is. */
  | { readonly _tag: "Identified"; readonly connection: Connection; readonly info: IdentifyInfo }
  /** A peer has answered a question of a lookup, or of a check. */
  | {
      readonly _tag: "Answered"
      readonly contact: Key.Contact
      readonly at: RoutedPeer
      readonly latencyMs: number
      readonly useful: boolean
    }
  | { readonly _tag: "Failed"; readonly contact: Key.Contact; readonly failure: Rpc.Failure }
  | { readonly _tag: "CheckDone"; readonly contact: Key.Contact }
  | { readonly _tag: "Finished"; readonly finished: Finished; readonly whole: boolean }
  | { readonly _tag: "Provides"; readonly key: Uint8Array; readonly provider: RoutedPeer; readonly reply: Reply<void> }
  | { readonly _tag: "Look" }
  /** Answered when all that was told before is done. */
  | { readonly _tag: "Settle"; readonly reply: Reply<void> }

/** What it knows of others; another for each run of the actor. */
interface State {
  table: RoutingTable
  providers: Providers.Providers
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
    providers: new Providers.Providers(settings.providers),
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

  const server = Server.make(
    {
      self: peerId,
      k,
      addresses: which,
      nearest: (key, count) => nearest(Key.fromBytes(key), count),
      addressesOf,
      records: settings.records,
      providersOf,
      addProvider: (key, provider) =>
        Effect.ignore(dht.ask<void>((reply) => ({ _tag: "Provides", key, provider, reply }), patience))
    },
    settings.server
  )

  // ---- the actor

  const modeOptions: Mode.Options = { wanted: settings.mode, network: which === "public" ? "wan" : "lan" }
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
          finished: (finished, whole) => void dht.tellUnsafe({ _tag: "Finished", finished, whole })
        },
        wanted
      )
    })

  const dht: ActorRef<Message> = yield* actors.spawn<Message, never, Scope.Scope>({
    name: `kad ${realm}`,
    mailbox: 1024,
    restart: { times: Number.POSITIVE_INFINITY, within: "1 minute" },
    make: (actor) =>
      Effect.gen(function* () {
        const runScope = yield* Effect.scope
        state = emptyState()
        const { networkSize, providers, table } = state
        const checking = new Set<string>()
        /** To be asked when there is room, those that came first first. */
        const waiting = new Map<string, Key.Contact>()
        let serving: Scope.Closeable | undefined
        let mode = Mode.start(modeOptions)
        yield* pause

        // -- who is in the table

        const tell = (message: Message) => Effect.sync(() => void actor.tellUnsafe(message))

        /** Who came into the table is worth a connection, who left it is not. */
        const changed = ({ added, removed }: Change) =>
          Effect.suspend(() => {
            const marks = [
              ...added.map(({ peer }) => peerStore.setTag(peer, `kad ${realm}`, tag)),
              ...removed.map(({ peer }) => peerStore.setTag(peer, `kad ${realm}`, undefined))
            ]
            if (marks.length === 0) return Effect.void
            // The disk is not waited for.
            return Effect.asVoid(Effect.forkIn(Effect.forEach(marks, use.write, { discard: true }), runScope))
          })

        /** Asks a peer for this node itself, which tells whether it is there and answers. */
        const check = (contact: Key.Contact, at: RoutedPeer) => {
          const { id } = contact.key
          if (checking.has(id)) return Effect.void
          if (checking.size >= maxChecks) {
            if (waiting.size < maxWaiting) waiting.set(id, contact)
            return Effect.void
          }
          waiting.delete(id)
          checking.add(id)
          const asking = Effect.gen(function* () {
            const began = yield* monotonicMs
            yield* rpc.request(at, Kad.make("FindNode", { key: peerId.bytes })).pipe(
              Effect.matchEffect({
                onSuccess: () =>
                  Effect.flatMap(monotonicMs, (now) =>
                    tell({ _tag: "Answered", contact, at, latencyMs: now - began, useful: true })
                  ),
                onFailure: (failure) => tell({ _tag: "Failed", contact, failure })
              })
            )
          })
          // Interrupted, the run has ended, and nobody is to be told: the end would wait for room in the mailbox.
          const done = Effect.ignore(actor.tell({ _tag: "CheckDone", contact }))
          return Effect.asVoid(Effect.forkIn(Effect.andThen(Effect.exit(asking), done), runScope))
        }

        const checked = (contact: Key.Contact) =>
          Effect.suspend(() => {
            checking.delete(contact.key.id)
            for (const [id, next] of waiting) {
              waiting.delete(id)
              if (!table.has(next.key)) return check(next, placeOf(next))
            }
            return Effect.void
          })

        const identified = (connection: Connection, info: IdentifyInfo) =>
          Effect.gen(function* () {
            const contact = Key.contact(info.peer)
            const now = yield* monotonicMs
            if (!info.protocols.includes(protocol)) return yield* changed(table.remove(contact, now))
            if (!Realm.belongs(which, connection.remoteAddress, info.listenAddresses)) return
            const addresses = Realm.filter(which, info.listenAddresses, connection.remoteAddress)
            // It was reached there, whatever it says of itself.
            const proven = connection.direction === "outbound" ? [connection.remoteAddress] : []
            const all = [...Realm.filter(which, proven, connection.remoteAddress), ...addresses]
            if (all.length === 0) return
            book.learn(info.peer, distinct(all))
            if (table.has(contact.key)) table.seen(contact, now)
            else yield* check(contact, placeOf(contact))
          })

        const answered = ({ at, contact, latencyMs, useful }: Extract<Message, { _tag: "Answered" }>) =>
          Effect.gen(function* () {
            const now = yield* monotonicMs
            const wasEmpty = table.size === 0
            const open = yield* swarm.connections(contact.peer)
            const known = book.of(contact.peer)
            if (known.length === 0) {
              const reached = open.flatMap(({ direction, remoteAddress }) =>
                direction === "outbound" ? Realm.filter(which, [remoteAddress], remoteAddress) : []
              )
              // It came by itself, or by another network: where it is in this one is others' word only.
              if (open.length > 0 && reached.length === 0 && !table.has(contact.key)) return
              book.learn(contact.peer, reached.length > 0 ? reached : at.addresses)
            } else {
              // What others say of it does not count beside what it says of itself.
              book.learn(contact.peer, known)
            }
            // The addresses that it names are its choice; those of its connections are not.
            const groups = Diversity.groups([
              ...open.map(({ remoteAddress }) => remoteAddress),
              ...book.of(contact.peer)
            ])
            const change = table.offer(contact, { groups, latencyMs, useful }, now)
            yield* changed(change)
            if (wasEmpty && table.size > 0) refresh.begin()
          })

        const failed = (contact: Key.Contact, failure: Rpc.Failure) =>
          Effect.gen(function* () {
            if (Rpc.isOwn(failure) || !table.has(contact.key)) return
            // With no connection at all, it is this node that cannot be reached.
            if ((yield* swarm.connections()).length === 0) return
            yield* changed(table.checked(contact, "dead", yield* monotonicMs))
          })

        // -- the mode

        const serve = Effect.gen(function* () {
          const scope = yield* Scope.fork(runScope)
          yield* protocols
            .handle(protocol, server.serve, { maxStreamsPerConnection: Server.maxStreamsPerConnection, service: "kad" })
            .pipe(
              Scope.provide(scope),
              Effect.matchEffect({
                onSuccess: () =>
                  Effect.sync(() => {
                    serving = scope
                    state.mode = "server"
                  }),
                onFailure: (error) =>
                  Effect.andThen(Effect.logError("the DHT answers nobody", error), Scope.close(scope, Exit.void))
              })
            )
        })

        const decide = Effect.gen(function* () {
          const confirmed = (yield* identify.observed).filter(({ confirmed }) => confirmed)
          const facts: Mode.Facts = {
            reachability: "unknown",
            confirmedAddresses: Realm.filter(
              which,
              confirmed.map(({ address }) => address),
              undefined
            ).length
          }
          mode = Mode.next(mode, facts, yield* monotonicMs, modeOptions)
          const wanted = mode.mode
          if (wanted === state.mode) return
          if (wanted === "server") return yield* serve
          state.mode = "client"
          // Identify tells the others.
          if (serving !== undefined) yield* Scope.close(serving, Exit.void)
          serving = undefined
        })

        // -- time

        const look = Effect.gen(function* () {
          yield* decide
          const now = yield* monotonicMs
          const stale = table.toCheck(now, maxChecks - checking.size)
          yield* Effect.forEach(stale, (contact) => check(contact, placeOf(contact)), { discard: true })
          if (table.size === 0) bootstrap.enter()
        })

        const receive = (message: Message): Effect.Effect<void> => {
          switch (message._tag) {
            case "Identified":
              return identified(message.connection, message.info)
            case "Answered":
              return answered(message)
            case "Failed":
              return failed(message.contact, message.failure)
            case "CheckDone":
              return checked(message.contact)
            case "Finished":
              return Effect.map(monotonicMs, (now) => {
                table.refreshed(message.finished, now)
                if (message.whole) networkSize.add(message.finished, now)
              })
            case "Provides": {
              const { key, provider, reply } = message
              return Effect.flatMap(monotonicMs, (now) => {
                providers.add(key, provider.peer, provider.addresses, now)
                return Effect.asVoid(Deferred.succeed(reply, undefined))
              })
            }
            case "Look":
              return look
            case "Settle":
              return Effect.asVoid(Deferred.succeed(message.reply, undefined))
          }
        }

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
        yield* decide
        return {
          receive,
          detail: () => `${state.mode}, ${table.size} peers, ${checking.size} checked`
        }
      })
  })

  // ---- what it shows

  const networkSize = Effect.map(monotonicMs, (now) => state.networkSize.estimate(now)?.size)

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
    providersOf,
    lookup,
    addressesOf,
    known: (peer) => book.of(peer),
    refresh: Effect.suspend(() => refreshNow),
    status
  }
  return made
})

/** Each address once, in their order. */
const distinct = (addresses: ReadonlyArray<Multiaddr>): ReadonlyArray<Multiaddr> => [
  ...new Map(addresses.map((address) => [address.toString(), address])).values()
]
