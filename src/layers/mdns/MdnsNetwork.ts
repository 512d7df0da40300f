/**
 * The local network by multicast DNS: who is there, with nothing configured.
 *
 * ```
 * scope of the layer
 *  ├─ task: tells the actor when the node begins or ends to listen
 *  └─ actor mdns                alone changes what is known; starts again when it fails
 *      ├─ a socket a link, with a fiber that receives
 *      ├─ one timer             for what is due next
 *      └─ one timer             to look at the interfaces
 * ```
 *
 * ```
 * const Node = MdnsDiscovery.layer.pipe(
 *   Layer.provideMerge(MdnsNetwork.layer()),
 *   Layer.provideMerge(Libp2p.layerDefault({ listen }))
 * )
 * ```
 *
 * Specification: libp2p/specs, discovery/mdns.md; RFC 6762.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { SecureRandom } from "effect/crypto/SecureRandom"
import type { NetworkKey } from "../../data/NetworkKey.ts"
import { type ActorRef, Actors, type Behaviour } from "../../services/Actors.ts"
import {
  InvalidServiceName,
  type LocalChange,
  LocalNetwork,
  type LocalPeer,
  type LocalQuestion,
  type LocalStatus
} from "../../services/LocalNetwork.ts"
import { type Datagram, Net } from "../../services/Net.ts"
import { Swarm } from "../../services/Swarm.ts"
import { Beacon } from "./core/Beacon.ts"
import { Sealed } from "./core/Codec.ts"
import { defaultPort, type Event, Lan } from "./core/Lan.ts"
import { linksOf } from "./core/Links.ts"
import * as Names from "./core/Names.ts"
import type { Present } from "./core/Hearsay.ts"
import type { Limits } from "./core/Table.ts"
import * as OpenQuestions from "./OpenQuestions.ts"
import * as Sockets from "./Sockets.ts"

export { defaultPort } from "./core/Lan.ts"
export { InvalidServiceName } from "../../services/LocalNetwork.ts"

export interface Options {
  /** Only peers of this service find each other: lower-case letters, digits and hyphens, at most 20. Default: all peers. */
  readonly service?: string | undefined
  /** The fingerprint of a private network's key, `NetworkKey.fingerprint`: only its peers find each other. Default: that of the node's own, if it is in one. */
  readonly network?: string | undefined
  /** It looks at the peers of all services, and is not seen itself. Default false. */
  readonly watches?: boolean | undefined
  /** Default: all interfaces. `loopback` is for tests, and for nodes of one machine. */
  readonly interfaces?: "all" | "loopback" | undefined
  /** Default 5353, as others have it; another is for tests. */
  readonly port?: number | undefined
  /** How often the interfaces are looked at. Default 10 seconds. */
  readonly lookEvery?: Duration.Input | undefined
  /** How many peers are known at once, and of how many one link and one host tell. */
  readonly limits?: Partial<Limits> | undefined
}

/** Changes that a slow reader may fall behind. */
const capacity = 1024
/** Packets and questions that may wait for the actor; a flood loses the rest. */
const mailbox = 1024
/** A wall clock that goes by so much differently from the other one was set, or the machine slept. */
const jumpMs = 10_000
/** One goodbye may be lost, and whoever misses it takes this node for being there for two minutes more. The end waits so long. */
const goodbyeAgain = Duration.millis(50)
/** What is held and is not read in this time is not told: who asks waits for little longer. */
const readWithin = Duration.seconds(1)
/** How long a question waits for answers. */
export const defaultWait = Duration.seconds(2)

type Message =
  | { readonly _tag: "Packet"; readonly link: string; readonly datagram: Datagram }
  | { readonly _tag: "Look" | "Tick" | "Refresh" }
  | { readonly _tag: "Ask" | "Unask"; readonly question: string }
  | { readonly _tag: "Answer"; readonly link: string; readonly question: string; readonly content: Uint8Array }

type Wanted = Extract<Event, { readonly _tag: "Wanted" }>
type Content = Effect.Effect<Uint8Array | undefined>

const shown = (peer: Present, now: number): LocalPeer => ({
  peer: peer.peer,
  addresses: peer.addresses,
  services: peer.services,
  firstMsAgo: now - peer.firstAt,
  lastMsAgo: now - peer.lastAt,
  forgottenInMs: Math.max(0, peer.expiresAt - now)
})

const start = Effect.fnUntraced(function* (options: Options = {}, codec?: Sealed) {
  const actors = yield* Actors
  const net = yield* Net
  const swarm = yield* Swarm
  const random = yield* Random.Random
  if (options.service !== undefined && !Names.isServiceName(options.service)) {
    return yield* new InvalidServiceName({ name: options.service })
  }
  const service = Names.serviceOf(options.service, options.network ?? swarm.network)
  const port = options.port ?? defaultPort
  const clock = yield* Clock.Clock
  const nowMs = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const which = options.interfaces ?? "all"
  const lookEvery = options.lookEvery ?? "10 seconds"
  const told = yield* PubSub.sliding<LocalChange>({ capacity })
  const asked = OpenQuestions.make({
    begin: (question) => send({ _tag: "Ask", question }),
    end: (question) => send({ _tag: "Unask", question })
  })
  /** Questions that this node answers, and where what it tells is kept; they outlive a restart of the actor. */
  const held = new Map<string, Content | undefined>([[Names.ofPeer(swarm.peerId.bytes, service), undefined]])
  /** Connections with each peer. */
  const connected = new Map<string, number>()
  /** Of the present run of the actor. */
  let lan: Lan | undefined
  let links: ReadonlyArray<string> = []

  const tell = (event: Exclude<Event, Wanted>, now: number): void => {
    const { addresses, peer } = event.peer
    if (event._tag === "Answered") asked.answered(event.question, { peer, addresses, content: event.content })
    else PubSub.publishUnsafe(told, { _tag: event._tag, peer: shown(event.peer, now) })
  }

  const behaviour = Effect.fnUntraced(function* (self: ActorRef<Message>) {
    const scope = yield* Effect.scope
    const within = yield* Scope.make()
    const mine = new Lan({
      peer: swarm.peerId,
      service,
      port,
      watches: options.watches,
      random: () => random.nextDoubleUnsafe(),
      holds: (question) => held.has(question),
      limits: options.limits,
      isProven: (id) => connected.has(id),
      codec
    })
    for (const question of asked.texts()) mine.probe(question, nowMs())
    lan = mine
    const sockets = yield* Sockets.make({
      net,
      port,
      receive: (link, datagram) => void self.tellUnsafe({ _tag: "Packet", link, datagram })
    }).pipe(Scope.provide(within))
    const flush = Effect.suspend(() => {
      const packets = mine.takePackets(nowMs())
      return packets.length === 0
        ? Effect.void
        : Effect.forEach(packets, ({ bytes, link, to }) => sockets.send(link, bytes, to), { discard: true })
    })
    const goodbye = Effect.suspend(() => (mine.stop() ? Effect.as(flush, true) : Effect.succeed(false)))
    yield* Effect.addFinalizer(() =>
      Effect.flatMap(goodbye, (isSaid) =>
        isSaid ? Effect.andThen(Effect.sleep(goodbyeAgain), goodbye) : Effect.void
      ).pipe(Effect.andThen(Scope.close(within, Exit.void)))
    )

    let timer: { readonly at: number; readonly fiber: Fiber.Fiber<unknown> } | undefined
    let clocksApart: number | undefined
    /** There are links, and none of them can be used. */
    let isDeaf = false

    /** Sets the timer if something is due before it rings. One that rings early finds nothing to do, and is set anew. */
    const wake = (now: number) => {
      const at = mine.nextAt
      if (at === Number.POSITIVE_INFINITY || (timer !== undefined && timer.at <= at)) return Effect.void
      timer?.fiber.interruptUnsafe()
      const ring = Effect.suspend(() => {
        timer = undefined
        return Effect.ignore(self.tell({ _tag: "Tick" }))
      })
      return Effect.map(
        Effect.forkIn(Effect.andThen(Effect.sleep(Math.max(1, Math.ceil(at - now))), ring), scope),
        (fiber) => {
          timer = { at, fiber }
        }
      )
    }

    const look = Effect.gen(function* () {
      const found = linksOf(yield* net.interfaces, which)
      const open = yield* sockets.set(found)
      links = open.map(({ id }) => id)
      const isNews = found.length > 0 && open.length === 0 && !isDeaf
      isDeaf = found.length > 0 && open.length === 0
      if (isNews)
        yield* Effect.logWarning(`nobody is found on the local network: UDP port ${port} cannot be listened on`)
      const listening = yield* swarm.listenAddresses
      const now = nowMs()
      mine.setLinks(open, listening, now)
      const apart = clock.currentTimeMillisUnsafe() - now
      if (clocksApart !== undefined && Math.abs(apart - clocksApart) > jumpMs) mine.restart(now)
      clocksApart = apart
    })

    /** What is held is read where it is kept when somebody asks, and nothing waits for that. */
    const give = (content: Content, { link, question }: Wanted): Effect.Effect<void> =>
      content.pipe(
        Effect.timeoutOrElse({ duration: readWithin, orElse: () => Effect.succeed(undefined) }),
        Effect.map((read) => {
          if (read !== undefined) self.tellUnsafe({ _tag: "Answer", link, question, content: read })
        }),
        Effect.forkIn(scope, { startImmediately: true }),
        Effect.asVoid
      )

    const handle = (message: Exclude<Message, { readonly _tag: "Look" }>, now: number): void => {
      switch (message._tag) {
        case "Packet": {
          const { from, bytes } = message.datagram
          return mine.receive(message.link, from, bytes, now)
        }
        case "Tick":
          return
        case "Refresh":
          return mine.restart(now)
        case "Ask":
          return mine.probe(message.question, now)
        case "Unask":
          return mine.endProbe(message.question)
        case "Answer":
          return mine.answer(message.link, message.question, message.content)
      }
    }

    const after = Effect.suspend(() => {
      const now = nowMs()
      mine.tick(now)
      const gives: Array<Effect.Effect<void>> = []
      for (const event of mine.takeEvents()) {
        if (event._tag !== "Wanted") {
          tell(event, now)
          continue
        }
        const content = held.get(event.question)
        if (content !== undefined) gives.push(give(content, event))
        else if (held.has(event.question)) mine.answer(event.link, event.question, undefined)
      }
      const sent = Effect.andThen(flush, wake(now))
      return gives.length === 0 ? sent : Effect.andThen(Effect.all(gives, { discard: true }), sent)
    })

    const actor: Behaviour<Message, never> = {
      // Every packet of everybody on the network comes here, and most ask for nothing: they are plain code.
      receive: (message) =>
        Effect.suspend(() => {
          if (codec !== undefined) codec.aheadMs = clock.currentTimeMillisUnsafe() - nowMs()
          if (message._tag === "Look") return Effect.andThen(look, after)
          handle(message, nowMs())
          return after
        }),
      detail: () => `${mine.size} peers, ${links.length === 0 ? "no link" : links.join(", ")}`
    }
    self.tellUnsafe({ _tag: "Look" })
    yield* Effect.forkScoped(
      Effect.forever(Effect.andThen(Effect.sleep(lookEvery), Effect.ignore(self.tell({ _tag: "Look" }))))
    )
    return actor
  })

  const ref = yield* actors.spawn<Message, never, Scope.Scope>({
    name: "mdns",
    mailbox,
    restart: { times: 10, within: "1 minute" },
    make: behaviour
  })
  const send = (message: Message) => Effect.ignore(ref.tell(message))

  yield* Effect.forkScoped(
    Stream.runForEach(swarm.events, ({ _tag }) =>
      _tag === "Listening" || _tag === "ListenClosed" ? send({ _tag: "Look" }) : Effect.void
    ),
    { startImmediately: true }
  )

  yield* swarm.forEachConnection(({ awaitClosed, remotePeer }) => {
    const id = remotePeer.toString()
    const count = (more: number) =>
      Effect.sync(() => {
        const now = (connected.get(id) ?? 0) + more
        if (now > 0) connected.set(id, now)
        else connected.delete(id)
      })
    return Effect.asVoid(
      Effect.acquireUseRelease(
        count(1),
        () => awaitClosed,
        () => count(-1)
      )
    )
  })

  const textOf = (question: LocalQuestion): string => {
    switch (question._tag) {
      case "Peer":
        return Names.ofPeer(question.peer.bytes, service)
      case "Key":
        return Names.ofKey(question.key, service)
      case "Record":
        return Names.ofRecord(question.key, service)
    }
  }

  const status: Effect.Effect<LocalStatus> = Effect.sync(() => ({
    service,
    links,
    counters: lan?.counters ?? { sent: 0, received: 0, refused: 0, renamed: 0 }
  }))

  return LocalNetwork.of({
    peers: Effect.sync(() => {
      const now = nowMs()
      return (lan?.peers ?? []).map((peer) => shown(peer, now))
    }),
    changes: Stream.fromPubSub(told),
    refresh: send({ _tag: "Refresh" }),
    ask: (question, wait = defaultWait) => asked.ask(textOf(question), wait),
    hold: (what, content) => Effect.sync(() => held.set(textOf(what), content)),
    release: (what) => Effect.sync(() => held.delete(textOf(what))),
    status
  })
})

/** The local network as a value, for as long as the scope is open. */
export const make = (
  options?: Options
): Effect.Effect<LocalNetwork["Service"], InvalidServiceName, Actors | Net | Swarm | Scope.Scope> => start(options)

/**
 * Hears and is heard on the local network for as long as the layer is in use.
 *
 * ```
 * MdnsNetwork.layer({ service: "chat" })
 * ```
 */
export const layer = (options?: Options): Layer.Layer<LocalNetwork, InvalidServiceName, Actors | Net | Swarm> =>
  Layer.effect(LocalNetwork, make(options))

export interface SealedOptions extends Options {
  /** What the peers share: the key of their private network, or one made for this. */
  readonly key: NetworkKey
  /** Also in the clear, for those that cannot read what is sealed. They see who is there, and so does everybody. Default false. */
  readonly alsoPlain?: boolean | undefined
}

/**
 * The same for those who have a key, and nobody else: what is sent says nothing
 * to others, and what others send is not heard. See docs/local-network.md.
 *
 * ```
 * MdnsNetwork.layerSealed({ key })
 * ```
 */
export const layerSealed = ({
  alsoPlain,
  key,
  ...options
}: SealedOptions): Layer.Layer<LocalNetwork, InvalidServiceName, Actors | Net | SecureRandom | Swarm> =>
  Layer.effect(
    LocalNetwork,
    Effect.gen(function* () {
      const random = yield* SecureRandom
      // One for the life of the layer, also when its actor starts again: nothing may be sealed twice with one nonce.
      const beacon = new Beacon({ key: key.bytes, seed: yield* random.randomBytes(32) })
      return yield* start(options, new Sealed(beacon, alsoPlain === true))
    })
  )
