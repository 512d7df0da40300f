/**
 * What a node that runs answers about its network, over HTTP: its DHTs, and
 * the delegated routing API, by which `--of` and any other client ask it.
 *
 * Specification: https://specs.ipfs.tech/routing/http-routing-v1/
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as ContentKey from "../../data/ContentKey.ts"
import * as PeerId from "../../data/PeerId.ts"
import { ContentRouting } from "../../services/ContentRouting.ts"
import { Kad } from "../../services/Kad.ts"
import { describe, PeerRouting, type RoutedPeer, type RoutingError } from "../../services/PeerRouting.ts"
import { Swarm } from "../../services/Swarm.ts"
import { type Answer, json, type Route } from "./HttpEndpoint.ts"

/** For an answer, and for the lookup in it, which ends first. */
const withinMs = 60_000
const deadline = "50 seconds"
/** Providers of one answer. */
const maxProviders = 100

const record = ({ addresses, peer }: RoutedPeer) => ({
  Schema: "peer",
  ID: peer.toString(),
  Addrs: addresses.map(String),
  Protocols: []
})

const refuse = (status: number, detail: string): Answer => json({ error: detail }, status)

/** Nobody knew is an answer; that nobody could be asked is not. Who asked knows what it was about. */
const failed = ({ reason }: RoutingError): Answer =>
  reason._tag === "NotFound" ? json({ Peers: null }, 404) : refuse(503, describe(reason))

const peers = (text: string) => {
  const peer = PeerId.fromString(text)
  if (Result.isFailure(peer)) return Effect.succeed(refuse(422, peer.failure.message))
  return Effect.gen(function* () {
    const routing = yield* PeerRouting
    return json({ Peers: [record(yield* routing.findPeer(peer.success, { deadline }))] })
  }).pipe(Effect.catch((error) => Effect.succeed(failed(error))))
}

/** What is answered to who asks for the providers of a CID. */
export const providers = (text: string) => {
  const key = ContentKey.fromString(text)
  if (Result.isFailure(key)) return Effect.succeed(refuse(422, key.failure.message))
  return Effect.gen(function* () {
    const routing = yield* ContentRouting
    const found: Array<RoutedPeer> = []
    yield* routing.findProviders(key.success, { deadline }).pipe(
      Stream.take(maxProviders),
      Stream.runForEach((provider) => Effect.sync(() => void found.push(provider))),
      // Those that were found before it failed, or ran out of time, are an answer.
      Effect.catch((error) => (found.length === 0 ? Effect.fail(error) : Effect.void))
    )
    return found.length === 0 ? json({ Providers: null }, 404) : json({ Providers: found.map(record) })
  }).pipe(Effect.catch((error) => Effect.succeed(failed(error))))
}

const closest = (text: string) => {
  const peer = PeerId.fromString(text)
  const content = ContentKey.fromString(text)
  const key = Result.isSuccess(peer) ? peer.success.bytes : Result.isSuccess(content) ? content.success : undefined
  if (key === undefined) return Effect.succeed(refuse(422, `"${text.slice(0, 120)}" is neither a peer id nor a CID`))
  return Effect.gen(function* () {
    const routing = yield* PeerRouting
    const last = yield* Stream.runLast(routing.closestPeers(key, { deadline }))
    return json({ Peers: Option.match(last, { onNone: () => [], onSome: ({ closest }) => closest.map(record) }) })
  }).pipe(Effect.catch((error) => Effect.succeed(failed(error))))
}

const dht = Effect.gen(function* () {
  const kad = yield* Kad
  const { peerId } = yield* Swarm
  return json({ peer: peerId.toString(), dhts: yield* kad.status })
})

export type Needs = ContentRouting | Kad | PeerRouting | Swarm

export const routes: Readonly<Record<string, Route<Needs>>> = {
  "/dht": dht,
  "/routing/v1/peers/": { withinMs, answer: peers },
  "/routing/v1/providers/": { withinMs, answer: providers },
  "/routing/v1/dht/closest/peers/": { withinMs, answer: closest }
}
