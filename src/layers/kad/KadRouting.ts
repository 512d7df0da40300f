/**
 * KadRouting: peers and content are found by Kademlia, on the public network and
 * on the local one side by side, as others have it.
 *
 * ```
 * const Routing = KadRouting.layer({ mode: "auto", bootstrap })
 * const Node = Program.pipe(Layer.provide(Routing), Layer.provideMerge(Libp2p.layerDefault({ listen })))
 * ```
 *
 * A network of one's own has a prefix of its own:
 * `KadRouting.layer({ protocolPrefix: "/acme", lan: false, addresses: "any", mode: "server" })`.
 *
 * Specification: kad-dht/README.md.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bytes from "../../data/Bytes.ts"
import * as ContentKey from "../../data/ContentKey.ts"
import * as PeerId from "../../data/PeerId.ts"
import type { Actors } from "../../services/Actors.ts"
import { Bootstrap } from "../../services/Bootstrap.ts"
import { ContentRouting, type Provided } from "../../services/ContentRouting.ts"
import { Discovery } from "../../services/Discovery.ts"
import { Identify } from "../../services/Identify.ts"
import { Identity } from "../../services/Identity.ts"
import { Kad, type KadAnswer, type KadCrawled, type KadPeers } from "../../services/Kad.ts"
import {
  NobodyToAsk,
  PeerRouting,
  type RoutedPeer,
  RoutingError,
  type RoutingErrorReason,
  type RoutingOptions,
  RoutingFailed,
  type RoutingProgress,
  RoutingUnsupported
} from "../../services/PeerRouting.ts"
import { Machine } from "../../services/Machine.ts"
import { PeerStore, tolerant } from "../../services/PeerStore.ts"
import type { Protocols } from "../../services/Protocols.ts"
import type { RecordStore } from "../../services/RecordStore.ts"
import { Swarm } from "../../services/Swarm.ts"
import { Introductions } from "../internal/Introductions.ts"
import type * as Announcement from "./Announcement.ts"
import * as Announcer from "./Announcer.ts"
import * as Both from "./Both.ts"
import * as Crawl from "./Crawl.ts"
import * as Diversity from "./core/Diversity.ts"
import type * as Holdings from "./core/Holdings.ts"
import * as Key from "./core/Key.ts"
import type * as Mode from "./core/Mode.ts"
import * as Providers from "./core/Providers.ts"
import * as Query from "./core/Query.ts"
import * as Entrances from "./Entrances.ts"
import * as Holding from "./Holding.ts"
import type { Dht } from "./Dht.ts"
import * as Kademlia from "./Kad.ts"
import type { Wanted } from "./Lookup.ts"
import type { ProvidedStore } from "./ProvidedFile.ts"
import * as Questions from "./Questions.ts"
import type * as Realm from "./Realm.ts"
import type * as Server from "./Server.ts"

export interface Options<E = never, R = never> {
  /**
   * A server answers others, a client only asks. Default `auto`: on the local
   * network a server from the start; on the public one while this node listens
   * on a public address of an interface of its own, or strangers of several
   * networks have come to it within the hour. Behind a NAT with a port forwarded
   * to this node, `server` says so: nobody would come to a client to find out.
   */
  readonly mode?: Mode.Wanted | undefined
  /** Takes part in the public network. Default true. */
  readonly wan?: boolean | undefined
  /** Takes part in the local network. Default true. */
  readonly lan?: boolean | undefined
  /** What the protocols begin with; another one is another network. Default `/ipfs`. */
  readonly protocolPrefix?: string | undefined
  /** Which addresses count in the `wan` network. Default `public`; a network of one's own may take `any`. */
  readonly addresses?: Realm.Addresses | undefined
  /** Peers of a bucket, and of an answer. Default 20. */
  readonly k?: number | undefined
  /** Requests of a lookup at once. Default 10. */
  readonly alpha?: number | undefined
  /** How many of the closest must have answered when one thing is looked for. Default 3. */
  readonly beta?: number | undefined
  /** Paths of a lookup that share no peer: liars on one lead that one astray only. Default 1. */
  readonly paths?: number | undefined
  /**
   * Looks out for peers that crowd around a place, to take what is put there and
   * keep it from others. Where the closest are too close to be so by chance, all
   * of the region around them are asked, and hold what is put: docs/kad.md says
   * what that withstands. Default true.
   */
  readonly crowdDefence?: boolean | undefined
  /** For a request, from the dial to the answer. Default 10 seconds. */
  readonly requestDeadline?: Duration.Input | undefined
  /** How often buckets are refreshed. Default 10 minutes. */
  readonly refreshEvery?: Duration.Input | undefined
  /** Peers of one network in the table of the public DHT. Default: as go-libp2p; none for another prefix. */
  readonly diversity?: Diversity.Limits | undefined
  /** Where records of others are held, such as `MemoryRecordStore.make()`. Without it, none are. */
  readonly records?: Effect.Effect<RecordStore["Service"], E, R> | undefined
  /** How much of it, and what share of that a peer may take, and a network. */
  readonly holding?: Holdings.Limits | undefined
  /** What others may announce here. Default: as many announcements in each DHT as fit in an eighth of the memory, at most a million. */
  readonly providers?: Providers.Limits | undefined
  /** Where what this node provides is kept, such as `ProvidedFile.make({ path })`. Without it, that ends with the node. */
  readonly provided?: Effect.Effect<ProvidedStore, E, R | Scope.Scope> | undefined
  /** How often what this node provides is announced again. Default 22 hours. */
  readonly reprovideEvery?: Duration.Input | undefined
  /**
   * Announces new keys in the optimistic way where the size of the network is
   * known well enough: those who are to hold a key are told while they are
   * looked for, and `provide` succeeds when most of them were. Default false.
   */
  readonly optimisticProvide?: boolean | undefined
  /** Keys that this node may provide. Default 1,000,000. */
  readonly maxProvided?: number | undefined
  /** How fast others may ask, and how long is waited for them. */
  readonly server?: Server.Options | undefined
  /** Peers to enter the network by, asked for whenever the table is empty. A Bootstrap and a Discovery, if there are any, are asked too. */
  readonly bootstrap?: ReadonlyArray<RoutedPeer> | Effect.Effect<ReadonlyArray<RoutedPeer>> | undefined
  /**
   * What `Kad.tables` gave in an earlier run: these peers are in the tables from
   * the start, and leave when they do not answer. A node that begins with them
   * need not join; it makes itself known within `refreshEvery`.
   */
  readonly remembered?: Effect.Effect<ReadonlyArray<KadPeers>> | undefined
}

/** The services that the layer builds on. */
export type Needs = Actors | Identify | Identity | PeerStore | Protocols | Swarm

const failed = (what: string) => (reason: RoutingErrorReason) =>
  new RoutingError({ router: Questions.router, what, reason })

const notAnnounced = ({ reason }: Announcement.NotAnnounced): RoutingErrorReason => {
  switch (reason) {
    case "nobody":
      return new NobodyToAsk({ detail: "no peer is known that could hold the announcement" })
    case "no address":
      return new RoutingFailed({ detail: "this node has no address that others of this network could reach" })
    case "refused":
      return new RoutingFailed({ detail: "no peer took the announcement" })
  }
}

const make = Effect.fnUntraced(function* <E, R>(options: Options<E, R>) {
  const { peerId } = yield* Identity
  const identify = yield* Identify
  const peerStore = yield* PeerStore
  const swarm = yield* Swarm
  const random = yield* Random.Random
  const machine = yield* Machine
  const discovery = yield* Effect.serviceOption(Discovery)
  const bootstrap = yield* Effect.serviceOption(Bootstrap)
  const store = options.records === undefined ? undefined : yield* options.records
  const holding =
    store === undefined ? undefined : yield* Holding.make(store, Key.fromBytes(peerId.bytes), options.holding)
  const records = holding?.records
  const provided = options.provided === undefined ? undefined : yield* options.provided
  const use = tolerant("the DHT")
  const prefix = options.protocolPrefix ?? "/ipfs"
  const k = options.k ?? 20
  const mode = options.mode ?? "auto"
  const given = options.bootstrap ?? []
  const dhts: Array<Dht> = []
  const announcers: Array<Announcer.Announcer<Dht>> = []

  const entrances = yield* Entrances.make({
    reenter: bootstrap._tag === "Some" ? bootstrap.value.reenter : undefined,
    given: Effect.isEffect(given) ? given : Effect.succeed(given),
    discovery: discovery._tag === "Some" ? discovery.value : undefined,
    peerStore,
    swarm,
    wanted: () => dhts.some((dht) => dht.size() < k)
  })
  const start = (realm: string, protocol: string, addresses: Realm.Addresses, diversity: Diversity.Limits) =>
    Effect.map(
      Kademlia.make({
        realm,
        protocol,
        addresses,
        mode,
        k,
        alpha: options.alpha ?? 10,
        beta: options.beta ?? Query.beta,
        paths: options.paths ?? 1,
        crowds: options.crowdDefence ?? true,
        requestDeadline: Duration.fromInputUnsafe(options.requestDeadline ?? "10 seconds"),
        refreshEvery: Duration.fromInputUnsafe(options.refreshEvery ?? "10 minutes"),
        diversity,
        providers: {
          ...options.providers,
          maxRecords: options.providers?.maxRecords ?? Providers.recordsFor(machine.memory)
        },
        provides: (key) => announcers.some((announcer) => announcer.has(key)),
        holding,
        server: options.server,
        bootstrap: entrances(protocol),
        remembered: Effect.map(options.remembered ?? Effect.succeed([]), (tables) =>
          tables.flatMap((table) => (table.realm === realm ? table.peers : []))
        )
      }),
      (dht) => void dhts.push(dht)
    )
  if (options.wan ?? true) {
    const diversity = options.diversity ?? (prefix === "/ipfs" ? Diversity.defaults : Diversity.unlimited)
    yield* start("wan", `${prefix}/kad/1.0.0`, options.addresses ?? "public", diversity)
  }
  if (options.lan ?? true) yield* start("lan", `${prefix}/lan/kad/1.0.0`, "private", Diversity.unlimited)

  for (const dht of dhts) {
    announcers.push(
      yield* Announcer.make(dht, () => random.nextDoubleUnsafe(), {
        everyMs: Duration.toMillis(options.reprovideEvery ?? "22 hours"),
        maxKeys: options.maxProvided ?? 1_000_000,
        store: provided,
        optimistic: options.optimisticProvide ?? false
      })
    )
  }

  // ---- peers

  /** Where a peer is that is connected, by the way that it was reached or that it says of itself. */
  const connected = (peer: PeerId.PeerId) =>
    Effect.gen(function* () {
      const open = yield* swarm.connections(peer)
      if (open.length === 0) return undefined
      const reached = open.flatMap(({ direction, remoteAddress }) => (direction === "outbound" ? [remoteAddress] : []))
      const known = (yield* use.read(peerStore.addresses(peer))) ?? []
      const addresses = [...new Map([...reached, ...known].map((one) => [one.toString(), one])).values()]
      return addresses.length === 0 ? undefined : { peer, addresses }
    })

  const lookedUp = (peer: PeerId.PeerId, question: RoutingOptions | undefined) =>
    Effect.gen(function* () {
      const found = yield* Both.first(dhts.map((dht) => Questions.findPeer(dht, peer, question)))
      // It was dialled on the way, most likely: where it was reached is better than what others say.
      return (yield* connected(peer)) ?? found
    })

  const peers = PeerRouting.of({
    router: Questions.router,
    findPeer: (peer, question) =>
      Effect.gen(function* () {
        if (PeerId.equals(peer, peerId)) return { peer, addresses: yield* identify.announced }
        return (yield* connected(peer)) ?? (yield* lookedUp(peer, question))
      }).pipe(Effect.mapError(failed(`peer ${peer.toString()}`))),
    closestPeers: (key, question) =>
      Stream.suspend(() => {
        const join = Both.joinProgress(key, k)
        return Both.streamed<RoutingProgress>((emit) =>
          dhts.map((dht) => Questions.closestPeers(dht, key, question, (step) => emit(join(dht.settings.realm, step))))
        )
      }).pipe(Stream.mapError(failed(`peers closest to ${ContentKey.nameOf(key)}`)))
  })

  // ---- content

  /** Announced for the first time: by how many at once, and whether it is announced from then on. */
  const beginning = new Map<string, { asked: number; kept: boolean }>()

  const forget = (key: Uint8Array) => Effect.forEach(announcers, ({ remove }) => remove(key), { discard: true })

  const provide = (key: Uint8Array, asked: RoutingOptions | undefined): Effect.Effect<Provided, RoutingErrorReason> =>
    Effect.gen(function* () {
      const checked = ContentKey.fromMultihash(key)
      if (Result.isFailure(checked))
        return yield* Effect.fail(new RoutingUnsupported({ detail: checked.failure.message }))
      const id = Bytes.toHex(key)
      const question = beginning.get(id) ?? { asked: 0, kept: announcers.some((announcer) => announcer.has(key)) }
      beginning.set(id, question)
      question.asked++
      const end = Effect.suspend(() => {
        question.asked--
        if (question.asked > 0) return Effect.void
        beginning.delete(id)
        return question.kept ? Effect.void : forget(key)
      })
      return yield* Effect.gen(function* () {
        for (const announcer of announcers) {
          if (!(yield* announcer.add(key))) {
            return yield* Effect.fail(new RoutingFailed({ detail: "this node provides as many keys as it may" }))
          }
        }
        // A peer may be told in both DHTs.
        const told = new Set<string>()
        const announced = yield* Both.all(
          announcers.map(({ announce, dht }) => {
            let answered = 0
            const report = Questions.reporting(dht, (step) => asked?.onProgress?.(step))
            const onProgress: Wanted["onProgress"] = (learnt, progress) => {
              answered = progress.answered
              report(learnt, progress)
            }
            return announce(key, onProgress, (peer) => void told.add(peer.toString())).pipe(
              Effect.mapError(notAnnounced),
              Questions.within(Questions.deadlineOf(asked), () => answered)
            )
          })
        )
        question.kept = true
        return {
          holders: told.size,
          pending: announced.reduce((sum, { pending }) => sum + pending, 0)
        }
      }).pipe(Effect.ensuring(end))
    })

  const content = ContentRouting.of({
    router: Questions.router,
    provide: (key, question) => Effect.mapError(provide(key, question), failed(`providing ${ContentKey.nameOf(key)}`)),
    unprovide: forget,
    provided: Effect.sync(() => [
      ...new Map(announcers.flatMap(({ keys }) => keys()).map((key) => [Bytes.toHex(key), key])).values()
    ]),
    findProviders: (key, question) =>
      Stream.suspend(() => {
        const told = new Introductions(Questions.maxProviders)
        let asking = dhts.length
        return Both.streamed<RoutedPeer>((emit) => {
          const heard = (provider: RoutedPeer) => {
            if (told.isNew(provider)) emit(provider)
          }
          const end = Effect.sync(() => {
            asking--
            if (asking === 0) for (const provider of told.takeRest()) emit(provider)
          })
          return dhts.map((dht) => Effect.ensuring(Questions.findProviders(dht, key, question, heard), end))
        })
      }).pipe(Stream.mapError(failed(`providers of ${ContentKey.nameOf(key)}`)))
  })

  // ---- values

  const kad = Kad.of({
    status: Effect.forEach(dhts, ({ status }) => status),
    entered: dhts.length === 0 ? Effect.never : Effect.raceAll(dhts.map(({ entered }) => entered)),
    tables: Effect.sync(() => dhts.map((dht) => ({ realm: dht.settings.realm, peers: dht.contacts() }))),
    refresh: Effect.forEach(dhts, ({ refresh }) => refresh, { concurrency: "unbounded", discard: true }),
    crawl: (maxPeers = 100_000) =>
      Both.streamed<KadCrawled>((emit) => dhts.map((dht) => Crawl.crawl(dht, maxPeers, emit))).pipe(
        Stream.mapError(failed("a crawl"))
      ),
    records,
    values: (key, question) =>
      Both.streamed<KadAnswer>((emit) => dhts.map((dht) => Questions.values(dht, key, question, emit))).pipe(
        Stream.mapError(failed(`the record of ${ContentKey.nameOf(key)}`))
      ),
    putValue: (key, value, question) =>
      Both.all(dhts.map((dht) => Questions.putValue(dht, key, value, question))).pipe(
        Effect.mapBoth({
          onSuccess: (taken) => new Set(taken.flat().map(String)).size,
          onFailure: failed(`holding the record of ${ContentKey.nameOf(key)}`)
        })
      ),
    putValueAt: (key, value, { peers, realm }) => {
      const dht = dhts.find(({ settings }) => settings.realm === realm)
      if (dht === undefined) return Effect.succeed(0)
      return Effect.map(Questions.putValueAt(dht, key, value, peers), ({ length }) => length)
    }
  })

  return Context.make(PeerRouting, peers).pipe(Context.add(ContentRouting, content), Context.add(Kad, kad))
})

/** Finds peers and content by Kademlia. */
export const layer = <E = never, R = never>(
  options: Options<E, R> = {}
): Layer.Layer<PeerRouting | ContentRouting | Kad, E, R | Needs> => Layer.effectContext(make(options))
