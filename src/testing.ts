/**
 * `effect-libp2p/testing`: whole networks in virtual time, under faults.
 *
 * ```
 * import { simulate } from "effect-libp2p/testing"
 * ```
 *
 * docs/simulation.md teaches it from the beginning.
 */
export * as Faults from "./layers/simulation/Faults.ts"
export * as FaultyNet from "./layers/faults/FaultyNet.ts"
export * as FaultyTransport from "./layers/faults/FaultyTransport.ts"
export * as Presets from "./layers/simulation/net/Presets.ts"
export * as SimDisk from "./layers/simulation/SimDisk.ts"
export * as SimNet from "./layers/simulation/net/SimNetwork.ts"
export * as Trace from "./layers/simulation/Trace.ts"
export { World } from "./layers/simulation/World.ts"
export { NodeDown, type NodeInfo, type NodeServices, SimNode } from "./layers/simulation/SimNode.ts"
export { wholeNode } from "./layers/simulation/Nodes.ts"
export {
  NotLive,
  run,
  simulate,
  type SimulateOptions,
  type Simulation,
  SimulationFailed,
  type SimulationReport,
  start
} from "./layers/simulation/Simulate.ts"
