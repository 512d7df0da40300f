/** `effect-libp2p ping`: is a node there, and how far away? */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import { Ping } from "../../services/Ping.ts"
import { Swarm } from "../../services/Swarm.ts"
import { Output, StopCode } from "./Output.ts"
import * as Peer from "./Peer.ts"
import type { Settings } from "./Settings.ts"

export interface Options {
  readonly address: string
  readonly count: number | undefined
  readonly interval: Duration.Duration
}

const round = (ms: number): number => Math.round(ms * 1000) / 1000

const median = (sorted: ReadonlyArray<number>): number => {
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}

/** Round trips kept for the median of a ping that runs for days: the latest ones. */
const maxKept = 10_000

const pings = (settings: Settings, { address, count, interval }: Options) =>
  Effect.gen(function* () {
    const output = yield* Output
    const ping = yield* Ping
    const stopCode = yield* StopCode
    const swarm = yield* Swarm
    const connection = yield* swarm.dial(yield* Peer.parseAddress(address))
    const peer = connection.remotePeer.toString()
    yield* output.text(`PING ${Peer.fullAddress(connection)}`)

    const kept: Array<number> = []
    let received = 0
    let failed = 0
    let min = Number.POSITIVE_INFINITY
    let max = 0
    const answered = (ms: number) => {
      received++
      min = Math.min(min, ms)
      max = Math.max(max, ms)
      if (kept.length === maxKept) kept.shift()
      kept.push(ms)
      return Effect.andThen(
        Ref.set(stopCode, 0),
        output.event(
          { event: "ping", seq: received, ms: round(ms) },
          `answer from ${peer}: seq=${received} time=${ms.toFixed(3)} ms`
        )
      )
    }
    const summary = Effect.suspend(() => {
      const sent = received + failed
      const times =
        received === 0
          ? { minMs: null, medianMs: null, maxMs: null }
          : { minMs: round(min), medianMs: round(median(kept.toSorted((a, b) => a - b))), maxMs: round(max) }
      return output.event(
        { event: "summary", sent, received, ...times },
        [
          "",
          `--- ${peer} ---`,
          `${sent} sent, ${received} answered`,
          ...(received === 0 ? [] : [`round trip min/median/max = ${times.minMs}/${times.medianMs}/${times.maxMs} ms`])
        ].join("\n")
      )
    })
    yield* ping.ping(connection.remotePeer, { count, interval, deadline: settings.timeout }).pipe(
      Stream.runForEach(answered),
      Effect.tapError(() =>
        Effect.sync(() => {
          failed++
        })
      ),
      Effect.ensuring(summary)
    )
  })

export const run = (settings: Settings, options: Options) => {
  Peer.warn(settings)
  return Effect.provide(pings(settings, options), Peer.layerClient(settings))
}
