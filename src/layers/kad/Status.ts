/** What one DHT shows of itself. */
import * as Effect from "effect/Effect"
import type { KadHeld, KadMode, KadStatus } from "../../services/Kad.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import type { Providers } from "./core/Providers.ts"
import type { RoutingTable } from "./core/RoutingTable.ts"
import type { Dht, Settings } from "./Dht.ts"
import type { Holding } from "./Holding.ts"
import type { Rpc } from "./Rpc.ts"
import type { Server } from "./Server.ts"

export interface Options extends Pick<Dht, "networkSize"> {
  readonly settings: Pick<Settings, "holding" | "protocol" | "realm">
  readonly state: () => { readonly mode: KadMode; readonly table: RoutingTable; readonly providers: Providers }
  readonly rpc: Pick<Rpc, "counters">
  readonly server: Pick<Server, "counters">
  readonly counts: Pick<KadStatus["counters"], "crowded" | "lookups" | "refreshed" | "refreshesFailed">
}

const heldBy = ({ counts }: Holding): KadHeld => {
  const { dropped, held, refused } = counts()
  return { held, refused, dropped }
}

export const make = (options: Options): Effect.Effect<KadStatus> =>
  Effect.gen(function* () {
    const { protocol, realm, holding } = options.settings
    const { mode, providers, table } = options.state()
    const { buckets, size } = table.snapshot(yield* monotonicMs)
    const requests = options.rpc.counters()
    const questions = options.server.counters()
    return {
      realm,
      protocol,
      mode,
      peers: size,
      buckets: buckets.map(({ bucket, peers, refreshedMsAgo, replacements }) => ({
        bucket,
        peers: peers.length,
        replacements,
        oldestMs: peers.length === 0 ? undefined : Math.round(Math.max(...peers.map(({ ageMs }) => ageMs))),
        refreshedMsAgo: refreshedMsAgo === undefined ? undefined : Math.round(refreshedMsAgo)
      })),
      networkSize: yield* options.networkSize,
      providers: providers.held.records,
      announcements: { held: providers.held.records, ...providers.counts },
      records: holding === undefined ? undefined : heldBy(holding),
      counters: {
        ...options.counts,
        requests: requests.sent,
        requestsFailed: requests.failed,
        questions: Object.values(questions.asked).reduce((sum, one) => sum + one, 0),
        questionsRefused: questions.refused,
        questionsDelayed: questions.delayed
      }
    }
  })
