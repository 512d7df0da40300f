/**
 * `effect-libp2p find`, `closest`, `providers` and `provide`: questions to a
 * network, by a node made for them, or by a node that runs.
 */
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Bytes from "../../data/Bytes.ts"
import * as ContentKey from "../../data/ContentKey.ts"
import * as PeerId from "../../data/PeerId.ts"
import { ContentRouting } from "../../services/ContentRouting.ts"
import { PeerRouting, type RoutedPeer, type RoutingProgress } from "../../services/PeerRouting.ts"
import { UsageError } from "./Failure.ts"
import { Output, StopCode, table } from "./Output.ts"
import { watching } from "./QuestionProgress.ts"
import * as Routed from "./Routed.ts"
import type { Settings } from "./Settings.ts"

export interface Options {
  /** The endpoint of a running node, which is asked in place of one made for the question. */
  readonly of: string | undefined
}

const usage = (detail: string) => Effect.fail(new UsageError({ detail }))

const parsePeer = (text: string): Effect.Effect<PeerId.PeerId, UsageError> => {
  const peer = PeerId.fromString(text)
  return Result.isSuccess(peer)
    ? Effect.succeed(peer.success)
    : usage(`"${text}" is not a peer id: ${peer.failure.detail}`)
}

const parseContent = (text: string): Effect.Effect<Uint8Array, UsageError> => {
  const key = ContentKey.fromString(text)
  return Result.isSuccess(key)
    ? Effect.succeed(key.success)
    : usage(`"${text}" is not a CID: ${key.failure.detail}. A CID looks like bafkrei… or Qm…`)
}

/** A peer id, a CID, or any text; a node that is asked over HTTP has no way to be asked for text. */
const parseKey = (text: string, { of }: Options): Effect.Effect<Uint8Array, UsageError> => {
  const peer = PeerId.fromString(text)
  if (Result.isSuccess(peer)) return Effect.succeed(peer.success.bytes)
  const content = ContentKey.fromString(text)
  if (Result.isSuccess(content)) return Effect.succeed(content.success)
  if (text === "") return usage("the key is empty: give a peer id, a CID, or any text")
  return of === undefined
    ? Effect.succeed(Bytes.fromUtf8(text))
    : usage(`"${text}" is neither a peer id nor a CID, and --of takes no other key: ask with --bootstrap`)
}

const peerJson = ({ addresses, peer }: RoutedPeer) => ({ peer: peer.toString(), addresses: addresses.map(String) })

const sums = (steps: ReadonlyArray<RoutingProgress>) => ({
  asked: steps.reduce((sum, { asked }) => sum + asked, 0),
  answered: steps.reduce((sum, { answered }) => sum + answered, 0),
  failed: steps.reduce((sum, { failed }) => sum + failed, 0),
  hops: Math.max(0, ...steps.map(({ hops }) => hops))
})

const asked = (steps: ReadonlyArray<RoutingProgress>): string => {
  const { answered, asked, failed, hops } = sums(steps)
  return `${asked} asked, ${answered} answered, ${failed} failed, ${hops} hop${hops === 1 ? "" : "s"}`
}

/** The peer and its addresses, in columns. */
const lines = (peers: ReadonlyArray<RoutedPeer>): string =>
  peers
    .map(({ addresses, peer }) =>
      [peer.toString(), ...addresses.map((address) => `  ${address.toString()}`)].join("\n")
    )
    .join("\n")

export const find = (settings: Settings, text: string, { of }: Options) =>
  Effect.gen(function* () {
    const peer = yield* parsePeer(text)
    yield* Effect.gen(function* () {
      const output = yield* Output
      const routing = yield* PeerRouting
      yield* watching(({ latest, onProgress }) =>
        Effect.flatMap(routing.findPeer(peer, { onProgress }), (found) =>
          output.event(
            { event: "found", ...peerJson(found), ...sums(latest()) },
            table([
              ["peer id", [found.peer.toString()]],
              ["addresses", found.addresses.length === 0 ? ["(none known)"] : found.addresses.map(String)],
              ["found by", [`${routing.router}: ${asked(latest())}`]]
            ])
          )
        )
      )
    }).pipe(Routed.provide(settings, of))
  })

export const closest = (settings: Settings, text: string, options: Options) =>
  Effect.gen(function* () {
    const key = yield* parseKey(text, options)
    yield* Effect.gen(function* () {
      const output = yield* Output
      const routing = yield* PeerRouting
      yield* watching(({ latest, onProgress }) =>
        Effect.flatMap(Stream.runLast(routing.closestPeers(key, { onProgress })), (last) => {
          const peers = last._tag === "Some" ? last.value.closest : []
          const steps = latest().length === 0 && last._tag === "Some" ? [last.value] : latest()
          return output.event(
            { event: "closest", key: text, peers: peers.map(peerJson), ...sums(steps) },
            `${lines(peers)}\n${peers.length} peer${peers.length === 1 ? "" : "s"}, the closest first; ${asked(steps)}`
          )
        })
      )
    }).pipe(Routed.provide(settings, options.of))
  })

export const providers = (
  settings: Settings,
  text: string,
  { count, of }: Options & { readonly count: number | undefined }
) =>
  Effect.gen(function* () {
    const key = yield* parseContent(text)
    yield* Effect.gen(function* () {
      const output = yield* Output
      const routing = yield* ContentRouting
      let found = 0
      yield* watching(({ onProgress }) =>
        routing.findProviders(key, { onProgress }).pipe(
          Stream.take(count ?? Number.MAX_SAFE_INTEGER),
          Stream.runForEach((provider) => {
            found++
            return output.event({ event: "provider", cid: text, ...peerJson(provider) }, lines([provider]))
          })
        )
      )
      if (found === 0)
        return yield* usage(`no provider of ${text} was found: nobody in this network has announced it lately`)
    }).pipe(Routed.provide(settings, of))
  })

/** Announces, and stays: a provider that is gone has nothing. */
export const provide = (settings: Settings, texts: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const keys = yield* Effect.forEach(texts, (text) => Effect.map(parseContent(text), (key) => ({ key, text })))
    return yield* Effect.gen(function* () {
      const output = yield* Output
      const routing = yield* ContentRouting
      const stopCode = yield* StopCode
      yield* Effect.forEach(
        keys,
        ({ key, text }) =>
          watching(({ onProgress }) =>
            Effect.flatMap(routing.provide(key, { onProgress }), ({ holders, pending = 0 }) =>
              output.event(
                { event: "provided", cid: text, holders, pending },
                `${text} is announced to ${holders} peer${holders === 1 ? "" : "s"}, who tell of it for 48 hours if they took it${
                  pending === 0 ? "" : `; ${pending} more ${pending === 1 ? "is" : "are"} being told`
                }`
              )
            )
          ),
        { discard: true }
      )
      yield* Ref.set(stopCode, 0)
      yield* output.text("Announced again as long as this node runs. Ctrl-C stops it.")
      return yield* Effect.never
    }).pipe(Routed.provideListening(settings))
  })
