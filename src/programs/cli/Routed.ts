/** Nodes that take part in a network: one made for a question, one that stays, or one that runs and is asked over HTTP. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Path from "node:path"
import * as BootstrapList from "../../layers/discovery/BootstrapList.ts"
import * as KadRecordStore from "../../layers/kad/KadRecordStore.ts"
import * as KadRouting from "../../layers/kad/KadRouting.ts"
import * as Libp2p from "../../layers/Libp2p.ts"
import * as IdentityFromFile from "../../layers/identity/FromFile.ts"
import * as MemoryRecordStore from "../../layers/records/MemoryRecordStore.ts"
import * as DelegatedRouting from "../../layers/routing/DelegatedRouting.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { Kad } from "../../services/Kad.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import { Swarm } from "../../services/Swarm.ts"
import { urlOf } from "./Endpoints.ts"
import { UsageError } from "./Failure.ts"
import * as Listen from "./Listen.ts"
import { Output, table } from "./Output.ts"
import * as OwnIdentity from "./OwnIdentity.ts"
import * as Peer from "./Peer.ts"
import * as Places from "./Places.ts"
import type { Settings } from "./Settings.ts"

const usage = (detail: string) => new UsageError({ detail })

/** The addresses of those to enter by, each with the id of its peer. */
const listed = (settings: Settings): ReadonlyArray<string> =>
  settings.bootstrap.flatMap((entry) => (entry === "public" ? BootstrapList.ipfs : [entry.toString()]))

/** Who to enter by. */
export const entrances = (settings: Settings): Effect.Effect<ReadonlyArray<RoutedPeer>, UsageError> => {
  if (settings.psk !== undefined && settings.bootstrap.includes("public")) {
    return Effect.fail(
      usage(
        "--bootstrap public is the public IPFS network, and nobody there is in the private network of --psk: name a node of that"
      )
    )
  }
  return Effect.forEach(listed(settings), (text) =>
    Effect.flatMap(Peer.parseAddress(text), (address) => {
      const peer = Multiaddr.peerId(address)
      return peer === undefined
        ? Effect.fail(usage(`--bootstrap: ${text} does not say which peer is there: it must end in /p2p/<peer id>`))
        : Effect.succeed({ peer, addresses: [address] })
    })
  )
}

/** SQLite is loaded only if it is asked for: Node says on stderr that its module may still change. */
const providedFile = ({ provided: path }: Settings) =>
  path === "memory"
    ? undefined
    : Effect.flatMap(
        Effect.promise(() => import("../../layers/kad/ProvidedFile.ts")),
        (ProvidedFile) => ProvidedFile.make({ path: Path.resolve(path) })
      )

/** The DHTs that a node takes part in, and the records that they hold. */
const layerRouting = <E, R>(options: KadRouting.Options<E, R>) =>
  KadRecordStore.layer().pipe(Layer.provideMerge(KadRouting.layer(options)))

/**
 * The same for a node that stays: its way in is a bootstrap list, with peers
 * that it has learnt to be stable, which it keeps beside its key.
 */
export const layerDht = (settings: Settings, mode: KadRouting.Options["mode"]) =>
  Layer.unwrap(
    Effect.gen(function* () {
      yield* entrances(settings)
      const network = yield* Peer.networkKey(settings)
      // Peers of one network are not dialled by a node that is in another.
      const name = network === undefined ? "bootstrap.json" : `bootstrap-${network.fingerprint}.json`
      const path = Path.join(Path.dirname(Path.resolve(settings.identity)), name)
      return layerRouting({
        mode,
        optimisticProvide: settings.optimisticProvide,
        records: MemoryRecordStore.make(),
        provided: providedFile(settings)
      }).pipe(Layer.provide(BootstrapList.layerFile({ list: listed(settings), path })))
    })
  )

/** Waits until somebody of the network is known, and says why when there is nobody. */
const enter = (settings: Settings) =>
  Effect.gen(function* () {
    const peers = yield* entrances(settings)
    if (peers.length === 0) {
      return yield* usage(
        "there is no network to ask: give --bootstrap with the address of a node that is part of it, or --of with the metrics address of a running node"
      )
    }
    const swarm = yield* Swarm
    const kad = yield* Kad
    const dials = yield* Effect.forEach(peers, (peer) => Effect.result(swarm.dial(peer)), { concurrency: 16 })
    const failures = dials.flatMap((dial) => (dial._tag === "Failure" ? [dial.failure.message] : []))
    if (failures.length === dials.length) {
      return yield* usage(`the network cannot be entered: ${failures.join("; ")}`)
    }
    yield* kad.entered.pipe(
      Effect.timeoutOrElse({
        duration: settings.timeout,
        orElse: () =>
          Effect.fail(
            usage(
              `${peers.map(({ peer }) => peer.toString()).join(", ")} can be reached, and is no server of a DHT: was it started with --dht server?`
            )
          )
      })
    )
  })

const layerClient = (settings: Settings) =>
  Layer.unwrap(
    Effect.map(entrances(settings), (bootstrap) =>
      layerRouting({ mode: "client", bootstrap, records: MemoryRecordStore.make() })
    )
  ).pipe(Layer.provideMerge(Peer.layerClient(settings)))

/** Runs under a node that is made for it; records too. */
export const provideNew =
  (settings: Settings) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) => {
    Peer.warn(settings)
    return Effect.provide(Effect.andThen(enter(settings), effect), layerClient(settings))
  }

/** Runs under a new node, or asks the one whose endpoint is at `of`. */
export const provide =
  (settings: Settings, of: string | undefined) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      if (of === undefined) return yield* provideNew(settings)(effect)
      const url = urlOf(of, "/")
      if (url === undefined) return yield* usage(`--of: "${of}" is not a URL such as http://127.0.0.1:9464`)
      return yield* Effect.provide(
        effect,
        DelegatedRouting.layerFetch({ url: url.href, name: `the node at ${url.host}` })
      )
    })

const runListening = <A, E, R>(settings: Settings, effect: Effect.Effect<A, E, R>) => {
  Peer.warn(settings)
  const listen = Effect.gen(function* () {
    const output = yield* Output
    const peer = (yield* Swarm).peerId.toString()
    const addresses = (yield* Listen.listen(settings)).map(String)
    yield* output.event(
      { event: "listening", peer, addresses },
      `${table(Listen.rows(peer, settings.identity, addresses))}\n`
    )
  })
  const layer = layerDht(settings, settings.dht === "off" ? "auto" : settings.dht).pipe(
    Layer.provideMerge(Peer.layerNode(settings)),
    Layer.provideMerge(IdentityFromFile.layer({ path: settings.identity, checkMode: Places.checkMode })),
    Layer.provideMerge(Libp2p.layerNode)
  )
  return Effect.scoped(Effect.provide(Effect.andThen(Effect.andThen(listen, enter(settings)), effect), layer))
}

/** Runs under a node that others can reach, with a key of this user that no other node has, until it is stopped. */
export const provideListening =
  (given: Settings) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.scoped(Effect.flatMap(OwnIdentity.claim(given), (settings) => runListening(settings, effect)))
