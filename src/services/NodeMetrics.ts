/**
 * NodeMetrics: what a node does, in numbers, for Prometheus and OTLP. See
 * docs/observability.md for what there is.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

export class NodeMetrics extends Context.Service<
  NodeMetrics,
  {
    /**
     * Reads what is counted elsewhere in the node (open connections, use of
     * limits, mailboxes, …) into Effect's metric registry. Exporters that take
     * their own snapshots see what the last call read.
     */
    readonly collect: Effect.Effect<void>
    /** Collects, and gives the whole registry in the text format of Prometheus. */
    readonly prometheus: Effect.Effect<string>
  }
>()("effect-libp2p/NodeMetrics") {}
