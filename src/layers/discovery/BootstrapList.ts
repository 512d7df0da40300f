/**
 * The way into a network: a list of peers, tried a few at a time until enough
 * are connected, and again when too few are left.
 *
 * ```
 * scope of the layer
 *  ├─ task of each connection      tells the actor when it opens, was long open, and ends
 *  ├─ actor bootstrap              alone decides whom to dial
 *  │   ├─ a fiber for each dial    at most `atOnce`
 *  │   └─ one timer                for when one may be tried again
 *  └─ keeper                       writes what was learnt to the file, if there is one
 * ```
 *
 * The list is what the user gives, the public list of IPFS if that is asked
 * for, and peers that were connected for long. Nothing is dialled that is not
 * on it.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Context from "effect/Context"
import type * as Path from "effect/Path"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Stream from "effect/Stream"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { type ActorRef, Actors, type Behaviour, type Reply } from "../../services/Actors.ts"
import { Bootstrap } from "../../services/Bootstrap.ts"
import { type DiscoveredPeer, Discovery } from "../../services/Discovery.ts"
import { PeerStore, tolerant } from "../../services/PeerStore.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import { type Connection, Swarm } from "../../services/Swarm.ts"
import * as BootstrapFile from "./BootstrapFile.ts"
import { Candidates, defaults, type Learnt } from "./core/Candidates.ts"

export { Bootstrap } from "../../services/Bootstrap.ts"
export { BootstrapFileError } from "./BootstrapFile.ts"

export interface Options {
  /** Addresses with the id of their peer, such as `/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…`. */
  readonly list?: ReadonlyArray<string> | undefined
  /**
   * Also the public list of IPFS, {@link ipfs}, unless the node is in a private network. Default false: nothing on the
   * internet is dialled unasked.
   */
  readonly ipfs?: boolean | undefined
  /** Connections that the node has when it has entered. Default 4. */
  readonly wanted?: number | undefined
  /** It enters again when it has fewer connections than this. Default 2. */
  readonly least?: number | undefined
  /** Peers that are dialled at once. Default 3. */
  readonly atOnce?: number | undefined
  /** For one peer to answer. Default 20 seconds. */
  readonly patience?: Duration.Input | undefined
  /** How long one that failed is left alone: at first, and at most. Defaults 30 seconds and an hour. */
  readonly retry?: { readonly first?: Duration.Input; readonly longest?: Duration.Input } | undefined
  /** A peer is learnt to be stable when it was connected for so long. Default an hour. */
  readonly stableAfter?: Duration.Input | undefined
  /** Peers learnt that are kept. Default 64. */
  readonly learnt?: number | undefined
}

/** The peers by which nodes enter the public IPFS network, as Kubo and Helia ship them. */
export const ipfs: ReadonlyArray<string> = [
  "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
  "/dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
  "/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb",
  "/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
  "/dnsaddr/va1.bootstrap.libp2p.io/p2p/12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8",
  "/ip4/104.131.131.82/tcp/4001/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ"
]

/** An entry of the list cannot be dialled. */
export class InvalidBootstrapAddress extends Schema.TaggedError<InvalidBootstrapAddress>()("InvalidBootstrapAddress", {
  address: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `bootstrap list: ${JSON.stringify(this.address)}: ${this.detail}`
  }
}

/** Peers told of that a slow reader may fall behind. */
const capacity = 256
/** The actor looks at least so often, whatever it was told. */
const heartbeatMs = 60_000
/** What was learnt within this time is written at once. */
const saveAfter = Duration.seconds(10)
/** For the last write, when the node ends. */
const lastSave = Duration.seconds(1)

type Message = { readonly _tag: "Look" } | { readonly _tag: "Reenter"; readonly reply: Reply<number> }

const parse = (text: string): Result.Result<RoutedPeer, InvalidBootstrapAddress> => {
  const address = Multiaddr.fromString(text)
  if (Result.isFailure(address)) {
    return Result.fail(new InvalidBootstrapAddress({ address: text, detail: address.failure.detail }))
  }
  const peer = Multiaddr.peerId(address.success)
  return peer === undefined
    ? Result.fail(
        new InvalidBootstrapAddress({ address: text, detail: "it must end with /p2p/ and the id of its peer" })
      )
    : Result.succeed({ peer, addresses: [address.success] })
}

/** Where learnt peers are kept. */
interface Keep {
  readonly load: Effect.Effect<ReadonlyArray<Learnt>, BootstrapFile.BootstrapFileError>
  readonly save: (peers: ReadonlyArray<Learnt>) => Effect.Effect<void, BootstrapFile.BootstrapFileError>
}

const start = Effect.fnUntraced(function* (options: Options | undefined, keep: Keep | undefined) {
  const actors = yield* Actors
  const peerStore = yield* PeerStore
  const swarm = yield* Swarm
  const use = tolerant("the bootstrap list")
  const wanted = options?.wanted ?? 4
  const least = options?.least ?? 2
  const atOnce = options?.atOnce ?? 3
  const patience = Duration.toMillis(options?.patience ?? "20 seconds")
  const stableMs = Duration.toMillis(options?.stableAfter ?? "1 hour")
  const candidates = new Candidates({
    ...defaults,
    learnt: options?.learnt ?? defaults.learnt,
    pauses: {
      firstMs: Duration.toMillis(options?.retry?.first ?? defaults.pauses.firstMs),
      longestMs: Duration.toMillis(options?.retry?.longest ?? defaults.pauses.longestMs)
    }
  })
  const self = swarm.peerId.toString()
  // Nobody on it has the key of a private network, and all would learn of this node.
  const isPublic = options?.ipfs === true && swarm.network === undefined
  if (options?.ipfs === true && !isPublic) {
    yield* Effect.logWarning(
      `the public bootstrap list is left out: this node is in the private network ${swarm.network}`
    )
  }
  for (const text of [...(options?.list ?? []), ...(isPublic ? ipfs : [])]) {
    const routed = yield* Effect.fromResult(parse(text))
    // A list that all nodes of a deployment share has this one on it, too.
    if (routed.peer.toString() !== self) candidates.give(routed)
  }
  if (keep !== undefined) for (const one of yield* keep.load) candidates.learn(one)

  const told = yield* PubSub.sliding<DiscoveredPeer>({ capacity })
  const tell = ({ addresses, peer }: RoutedPeer) => PubSub.publishUnsafe(told, { peer, addresses, by: "bootstrap" })

  const behaviour = Effect.fnUntraced(function* (self: ActorRef<Message>) {
    const scope = yield* Effect.scope
    const dialling = new Set<string>()
    let askers: ReadonlyArray<Reply<number>> = []
    /** By those who ask now: each is tried once for them. */
    const tried = new Set<string>()
    /** Until there are as many connections as wanted. */
    let entering = true
    let timer: Fiber.Fiber<unknown> | undefined

    const lookAfter = (ms: number) =>
      Effect.gen(function* () {
        if (timer !== undefined) yield* Fiber.interrupt(timer)
        timer = yield* Effect.sleep(Math.max(1, ms)).pipe(
          Effect.andThen(
            Effect.suspend(() => {
              // It has done its work: the look that follows must not wait for its end.
              timer = undefined
              return Effect.ignore(self.tell({ _tag: "Look" }))
            })
          ),
          Effect.forkIn(scope)
        )
      })

    const dial = ({ addresses, peer }: RoutedPeer) =>
      Effect.gen(function* () {
        const id = peer.toString()
        const connection = yield* swarm.dial({ peer, addresses }).pipe(
          Effect.catch((error) => Effect.as(Effect.logDebug(`bootstrap: ${error.message}`), undefined)),
          Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.succeed(undefined) })
        )
        const now = yield* Clock.currentTimeMillis
        if (connection === undefined) candidates.failed(id, now, yield* Random.next)
        else {
          candidates.succeeded(id, now)
          tell({ peer, addresses: [connection.remoteAddress] })
        }
      }).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            dialling.delete(peer.toString())
            self.tellUnsafe({ _tag: "Look" })
          })
        )
      )

    const look = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const connected = new Set((yield* swarm.connections()).map(({ remotePeer }) => remotePeer.toString()))
      const ofList = candidates.all().filter(({ peer }) => connected.has(peer.toString()))
      if (connected.size < least) entering = true
      if (connected.size >= wanted) entering = false
      const isBusy = (id: string) => dialling.has(id) || connected.has(id) || tried.has(id)
      const missing = Math.max(entering ? wanted - connected.size : 0, askers.length > 0 ? wanted - ofList.length : 0)
      const chosen = missing > 0 ? candidates.choose(atOnce - dialling.size, now, isBusy) : []
      for (const candidate of chosen) {
        const id = candidate.peer.toString()
        dialling.add(id)
        if (askers.length > 0) tried.add(id)
        yield* Effect.forkIn(dial(candidate), scope)
      }
      if (askers.length > 0 && dialling.size === 0) {
        for (const one of ofList) tell(one)
        const answered = askers
        askers = []
        tried.clear()
        yield* Effect.forEach(answered, (asker) => Deferred.succeed(asker, ofList.length), { discard: true })
      }
      const next = entering && dialling.size < atOnce ? candidates.nextIn(now, isBusy) : undefined
      yield* lookAfter(Math.min(heartbeatMs, next === undefined || next === 0 ? heartbeatMs : next))
    })

    const actor: Behaviour<Message, never> = {
      receive: (message) => {
        if (message._tag === "Reenter") askers = [...askers, message.reply]
        return look
      },
      detail: () => `${candidates.all().length} peers, ${dialling.size} dialled${entering ? ", entering" : ""}`
    }
    self.tellUnsafe({ _tag: "Look" })
    return actor
  })

  const ref = yield* actors.spawn<Message, never, Scope.Scope>({
    name: "bootstrap",
    restart: { times: 10, within: "1 minute" },
    make: behaviour
  })

  // ---- what is learnt

  const changes = yield* PubSub.sliding<void>({ capacity: 1 })
  const subscription = yield* PubSub.subscribe(changes)

  /** The addresses by which the peer can be dialled again: those of the store that are more than hearsay. */
  const addressesOf = (connection: Connection) =>
    Effect.map(use.read(peerStore.get(connection.remotePeer)), (info) => {
      const known = (info?.addresses ?? []).filter(({ confidence }) => confidence !== "claimed")
      const dialled = connection.direction === "outbound" ? [connection.remoteAddress] : []
      return [...dialled, ...known.map(({ address }) => address)]
    })

  const learn = Effect.fnUntraced(function* (connection: Connection) {
    if (connection.kind._tag !== "Direct") return
    const addresses = yield* addressesOf(connection)
    if (addresses.length === 0) return
    const seenAt = yield* Clock.currentTimeMillis
    candidates.learn({ peer: connection.remotePeer, addresses, seenAt })
    yield* PubSub.publish(changes, undefined)
  })

  const lookSoon = Effect.sync(() => void ref.tellUnsafe({ _tag: "Look" }))
  yield* swarm.forEachConnection((connection) =>
    lookSoon.pipe(
      Effect.andThen(Effect.sleep(stableMs)),
      // Again while it lasts: what is seen longest ago makes room for others.
      Effect.andThen(Effect.forever(Effect.andThen(learn(connection), Effect.sleep(stableMs)))),
      Effect.ensuring(lookSoon)
    )
  )

  if (keep !== undefined) {
    let isSaved = true
    let isTold = false
    /** A disk that hangs is left behind with its write: it holds up nobody. */
    const save = Effect.suspend(() => keep.save(candidates.learnt())).pipe(
      Effect.forkDetach,
      Effect.flatMap(Fiber.join),
      Effect.map(() => {
        isSaved = true
        isTold = false
      }),
      Effect.catch((error) =>
        Effect.suspend(() => {
          const isNews = !isTold
          isTold = true
          return isNews ? Effect.logWarning(error.message) : Effect.void
        })
      )
    )
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() =>
        isSaved ? Effect.void : Effect.ignore(Effect.timeoutOption(Effect.interruptible(save), lastSave))
      )
    )
    yield* PubSub.take(subscription).pipe(
      Effect.andThen(
        Effect.suspend(() => {
          isSaved = false
          return Effect.sleep(saveAfter)
        })
      ),
      Effect.andThen(save),
      Effect.forever,
      Effect.forkScoped
    )
  }

  return Bootstrap.of({
    discovered: Stream.fromPubSub(told),
    reenter: Effect.suspend(() =>
      ref.ask<number>(
        (reply) => ({ _tag: "Reenter", reply }),
        // Each is tried at most once, `atOnce` at a time.
        patience * (1 + candidates.all().length) + 10_000
      )
    ).pipe(
      // It has stopped, with its node.
      Effect.orElseSucceed(() => 0)
    ),
    peers: Effect.sync(() => candidates.all())
  })
})

type Needs = Actors | PeerStore | Swarm

/** The list as a value, for `Discovery.layerAll`. */
export const make = (
  options?: Options
): Effect.Effect<Bootstrap["Service"], InvalidBootstrapAddress, Needs | Scope.Scope> =>
  Effect.catchTag(start(options, undefined), "BootstrapFileError", Effect.die)

/** The same, with the peers learnt kept in a file, from one start to the next. */
export const makeFile = (
  options: Options & { readonly path: string }
): Effect.Effect<
  Bootstrap["Service"],
  InvalidBootstrapAddress | BootstrapFile.BootstrapFileError,
  Needs | FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom | Scope.Scope
> =>
  Effect.flatMap(Effect.context<FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom>(), (context) =>
    start(options, {
      load: Effect.provideContext(BootstrapFile.load(options.path), context),
      save: (peers) => Effect.provideContext(BootstrapFile.save(options.path, peers), context)
    })
  )

const both = (bootstrap: Bootstrap["Service"]): Context.Context<Bootstrap | Discovery> =>
  Context.make(Bootstrap, bootstrap).pipe(Context.add(Discovery, { discovered: bootstrap.discovered }))

/**
 * Enters by a list of peers.
 *
 * ```
 * BootstrapList.layer({ list: ["/dns4/boot.example/tcp/4001/p2p/12D3KooW…"] })
 * ```
 */
export const layer = (options?: Options): Layer.Layer<Bootstrap | Discovery, InvalidBootstrapAddress, Needs> =>
  Layer.effectContext(Effect.map(make(options), both))

/** The same, with the peers learnt kept in a file, from one start to the next. */
export const layerFile = (
  options: Options & { readonly path: string }
): Layer.Layer<
  Bootstrap | Discovery,
  InvalidBootstrapAddress | BootstrapFile.BootstrapFileError,
  Needs | FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom
> => Layer.effectContext(Effect.map(makeFile(options), both))
