/**
 * The scenarios of the DHT. All nodes enter at once by the first few, and have
 * some time to find each other; then they are asked, and what they find is held
 * against what is there.
 *
 * - `find`: values, providers, peers and the closest to a key, in calm.
 * - `churn`: all but the first come, stay for a while and go for good.
 * - `partition`: cut in two for a time; both halves go on, and meet again.
 * - `eclipse`: a fifth of the nodes lie.
 * - `sybil`: half of the liars have made themselves the closest to what is looked for;
 *   some of the others look out for such a crowd.
 */
import * as Effect from "effect/Effect"
import { start as simulate, type SimulateOptions } from "../../layers/simulation/Simulate.ts"
import { churn } from "./DhtChurn.ts"
import { eclipse, isGuarded, isLiar, isSybil, lieOf, pathsOf, sybil } from "./DhtEclipse.ts"
import type { Figures } from "./DhtFigures.ts"
import { find, isGateway } from "./DhtFind.ts"
import * as Dht from "./DhtNode.ts"
import { partition } from "./DhtPartition.ts"
import * as Sybils from "./DhtSybils.ts"
import { large } from "./DhtTables.ts"

export type Trial = "find" | "churn" | "partition" | "eclipse" | "sybil"

type Layer = ReturnType<typeof Dht.layerOf>

/** So many do not encrypt. */
const vast = 5000
/** Connections that each of many keeps. */
const connections = 32
/** How often many refresh the tables that were prepared, which are fresh: else that would be most of what they do. */
const refreshEvery = "1 day"
/** Peers of a bucket where some lie: few, so that a lookup has a way to go in a small network too. */
const fewClosest = 8

export const securityOf = (trial: Trial, nodes: number): "noise" | "plaintext" =>
  trial === "find" && nodes >= vast ? "plaintext" : "noise"

/** True for so many that real keys would be most of the work. */
export const hasCheapCrypto = (nodes: number): boolean => nodes >= large

/** What the nodes of a trial are. */
const layerOf = (trial: Trial, nodes: number): Layer => {
  switch (trial) {
    case "find":
      return nodes < large
        ? Dht.layerOf()
        : Dht.layerOf({
            prepared: true,
            refreshEvery,
            connections: ({ index }) => (isGateway(index, nodes) ? undefined : connections),
            security: securityOf(trial, nodes)
          })
    case "partition":
      return Dht.layerOf()
    case "churn":
      return Dht.layerOf({ k: fewClosest })
    case "eclipse":
      return Dht.layerOf({
        k: fewClosest,
        lies: ({ index }) => lieOf(index),
        paths: ({ index }) => pathsOf(index),
        prepared: nodes >= large
      })
    case "sybil":
      return Dht.layerOf({
        k: fewClosest,
        lies: ({ index }) => (isLiar(index) ? "fellows" : undefined),
        paths: ({ index }) => pathsOf(index),
        isGuarded: ({ index }) => isGuarded(index),
        prepared: true
      })
  }
}

const trials = { sybil, find, churn, partition, eclipse }

/** Runs a trial, and tells what it measured. */
export const start = (
  trial: Trial,
  options: Omit<SimulateOptions<Dht.Services, unknown>, "layer">,
  durationMs: number,
  measured?: (figures: Figures) => void
) => {
  const layer = layerOf(trial, options.nodes)
  const cheapCrypto = options.cheapCrypto ?? hasCheapCrypto(options.nodes)
  const suits = trial === "sybil" ? Sybils.suits(isSybil) : undefined
  return simulate({ ...options, layer, cheapCrypto, suits }, (network) =>
    Effect.map(trials[trial](network, durationMs, layer), (figures) => measured?.(figures))
  )
}
