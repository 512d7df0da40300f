/** `effect-libp2p node`: a node that runs until it is stopped, and says what happens to it. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import process from "node:process"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { version } from "../../data/Version.ts"
import * as IdentityFromFile from "../../layers/identity/FromFile.ts"
import * as Libp2p from "../../layers/Libp2p.ts"
import { Actors, formatTree } from "../../services/Actors.ts"
import { Identify } from "../../services/Identify.ts"
import { Swarm, type SwarmEvent } from "../../services/Swarm.ts"
import { UsageError } from "./Failure.ts"
import * as Listen from "./Listen.ts"
import * as LocalNet from "./LocalNet.ts"
import { Output, plain, StopCode, table, writeError } from "./Output.ts"
import * as Observe from "./Observe.ts"
import * as OwnIdentity from "./OwnIdentity.ts"
import * as Peer from "./Peer.ts"
import * as Places from "./Places.ts"
import * as Routed from "./Routed.ts"
import type { Settings } from "./Settings.ts"

/** The actor tree on stderr, at each SIGUSR2. */
const treeOnSignal = Effect.gen(function* () {
  if (process.platform === "win32") return
  const actors = yield* Actors
  const show = () => {
    writeError(formatTree(Effect.runSync(actors.tree)))
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("SIGUSR2", show)),
    () => Effect.sync(() => process.off("SIGUSR2", show))
  )
})

const now = () => new Date().toTimeString().slice(0, 8)

const onEvent = Effect.fnUntraced(function* (event: SwarmEvent, entrances: ReadonlySet<string>) {
  const output = yield* Output
  const identify = yield* Identify
  switch (event._tag) {
    case "Connected": {
      const { connection } = event
      const peer = connection.remotePeer.toString()
      const address = Peer.fullAddress(connection)
      yield* output.event(
        { event: "connected", peer, address, direction: connection.direction },
        `${now()}  connected     ${peer}  ${connection.direction}, ${connection.remoteAddress.toString()}`
      )
      // Ends with the connection, and is bounded by the deadline of identify.
      yield* identify.identified(connection).pipe(
        Effect.flatMap((info) =>
          output.event(
            Peer.identifiedEvent(connection, info),
            `${now()}  identified    ${peer}  ${plain(info.agentVersion ?? "of unknown make")}, ${info.protocols.length} protocols`
          )
        ),
        Effect.catch((error) =>
          error.reason._tag === "IdentifyDisconnected"
            ? Effect.void
            : output.event(
                { event: "unidentified", peer, address, reason: error.message },
                `${now()}  unidentified  ${peer}  ${plain(error.message)}`
              )
        ),
        Effect.forkScoped
      )
      return
    }
    case "Disconnected": {
      const { connection, end } = event
      const peer = connection.remotePeer.toString()
      return yield* output.event(
        { event: "disconnected", peer, address: Peer.fullAddress(connection), reason: end.detail, by: end.by },
        `${now()}  disconnected  ${peer}  ${plain(end.detail)}`
      )
    }
    case "InboundFailed":
      return yield* Effect.logDebug(`${event.remoteAddress.toString()} did not become a connection`, event.reason)
    case "HandlerFailed":
      return yield* Effect.logDebug(`${event.protocol} with ${event.remotePeer.toString()} failed`)
    case "DialFailed": {
      const { message, peer } = event.error
      // Of those to enter by, and only for as long as nobody is reached: without them the node is alone, and would not say so.
      const { connections } = yield* Swarm
      if (!entrances.has(peer) || (yield* connections()).length > 0) return yield* Effect.logDebug(message)
      return yield* output.event(
        { event: "unreachable", peer, reason: message },
        `${now()}  unreachable   ${peer}  ${plain(message)}; tried again from time to time`
      )
    }
    case "Listening":
      return
  }
})

/** How to reach the node: from this machine, and from others. */
const hints = (
  addresses: ReadonlyArray<Multiaddr.Multiaddr>,
  psk: string | undefined
): ReadonlyArray<readonly [string, ReadonlyArray<string>]> => {
  const key = psk === undefined ? "" : ` --psk ${psk}`
  const command = `${Places.invocation()} ping${key}`
  const here = addresses.find(Multiaddr.isLoopback) ?? addresses[0]
  const elsewhere = addresses.find((address) => !Multiaddr.isLoopback(address))
  return [
    ...(here === undefined ? [] : [["From a second terminal here:", [`  ${command} ${here.toString()}`]] as const]),
    ...(elsewhere === undefined || elsewhere === here
      ? []
      : [["From another machine:", [`  npx effect-libp2p ping${key} ${elsewhere.toString()}`]] as const])
  ]
}

/** Whom it finds with nothing configured. */
const localNetwork = ({ lan, psk, service }: Settings): string => {
  const whom = [
    ...(service === undefined ? [] : [`of the service ${service}`]),
    ...(psk === undefined ? [] : ["of this private network"])
  ]
  const key = psk === undefined ? "" : ` --psk ${psk}`
  const heard =
    psk === undefined
      ? ""
      : lan === "both"
        ? ". Told to them sealed, and in the clear too: everyone there can read it"
        : ". Only they can read what is told there"
  return `nodes ${[...whom, "on it"].join(" ")} are found and connected; "${Places.invocation()} lan${key}" shows them${heard}`
}

/** Tells what happens from before anybody is dialled, as soon as the node has `said` where it is. */
const layerEvents = (settings: Settings, said: Deferred.Deferred<void>): Observe.Listener =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { events } = yield* Swarm
      const entrances = new Set((yield* Routed.entrances(settings)).map(({ peer }) => peer.toString()))
      const tell = (event: SwarmEvent) => Effect.andThen(Deferred.await(said), onEvent(event, entrances))
      yield* Effect.forkScoped(Stream.runForEach(events, tell), { startImmediately: true })
    })
  )

const serve = (settings: Settings, isNew: boolean, said: Deferred.Deferred<void>) =>
  Effect.gen(function* () {
    const output = yield* Output
    const swarm = yield* Swarm
    const { url } = yield* Observe.Endpoint
    const stopCode = yield* StopCode
    yield* treeOnSignal

    const addresses = yield* Listen.listen(settings)
    const texts = addresses.map(String)
    yield* Ref.set(stopCode, 0)
    yield* output.event({
      event: "listening",
      peer: swarm.peerId.toString(),
      addresses: texts,
      ...(swarm.network === undefined ? {} : { network: swarm.network }),
      ...(url === undefined ? {} : { metrics: `${url}/metrics` })
    })
    yield* output.text(
      [
        `effect-libp2p ${version}`,
        "",
        table([
          ...Listen.rows(
            swarm.peerId.toString(),
            isNew ? `${settings.identity} (new)` : settings.identity,
            texts,
            swarm.network
          ),
          ...(settings.lan === "off" ? [] : [["local network", [localNetwork(settings)]] as const]),
          ...(url === undefined ? [] : [["metrics", [`${url}/metrics`, `${url}/limits`, `${url}/health`]] as const])
        ]),
        "",
        ...hints(addresses, settings.psk).flatMap(([title, lines]) => [title, ...lines]),
        ...(url === undefined || settings.dht === "off"
          ? []
          : ["Whom it knows of its network:", `  ${Places.invocation()} dht --of ${new URL(url).host}`]),
        "",
        "Ctrl-C stops the node.",
        ""
      ].join("\n")
    )
    yield* Deferred.succeed(said, undefined)
    return yield* Effect.onInterrupt(Effect.never, () =>
      Effect.flatMap(swarm.connections(), (open) =>
        output.text(`${now()}  stopping      ${open.length} open connection${open.length === 1 ? "" : "s"}`)
      )
    )
  })

export const run = (given: Settings) =>
  Effect.gen(function* () {
    if (given.lan === "both" && given.psk === undefined) {
      return yield* new UsageError({
        detail:
          "--lan both is for a node in a private network, which tells the others where it is sealed, and in the clear too: give its key with --psk FILE. In no private network it is --lan on."
      })
    }
    const settings = yield* OwnIdentity.claim(given)
    const fs = yield* FileSystem.FileSystem
    const isNew = !(yield* Effect.orElseSucceed(fs.exists(settings.identity), () => true))
    Peer.warn(settings)
    const said = yield* Deferred.make<void>()
    const layer = LocalNet.layerNode(settings).pipe(
      Layer.provideMerge(Observe.layerNode(settings, layerEvents(settings, said))),
      Layer.provideMerge(IdentityFromFile.layer({ path: settings.identity, checkMode: Places.checkMode })),
      Layer.provideMerge(Libp2p.layerNode)
    )
    return yield* Effect.provide(Effect.scoped(serve(settings, isNew, said)), layer)
  }).pipe(Effect.scoped)
