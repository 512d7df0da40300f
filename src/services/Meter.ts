/**
 * Meter: told what a node does and how long it took, so that it can be counted.
 * Plain functions, called where things happen: they allocate little and never
 * throw. Nothing is called for a frame; bytes are counted once a batch, in
 * plain fields that a scrape reads.
 *
 * Without a layer for it nothing is counted, and the calls cost nothing.
 * `NodeMetrics.layerMeter` is the one that counts for Prometheus and OTLP.
 */
import * as Context from "effect/Context"
import type { Multiaddr } from "../data/Multiaddr.ts"
import type { Role } from "./ConnectionSecurity.ts"
import type { AttemptReason, DialErrorReason, SwarmEvent } from "./Swarm.ts"

/** Bytes on raw connections, handshakes and encryption included, since the start. Who moves them adds to them. */
export interface Traffic {
  received: number
  sent: number
}

/** `undefined` as an outcome means that it went well; otherwise the tag of the reason. Times are in milliseconds. */
export interface Meter {
  readonly traffic: Traffic
  /** Each event of the swarm, in its turn. Subscribers of `Swarm.events` may miss some; this does not. */
  readonly swarm: (event: SwarmEvent) => void
  /** A peer was dialled: `tried` addresses of it. */
  readonly dialed: (failed: DialErrorReason["_tag"] | undefined, tried: number, ms: number) => void
  /** One address was dialled, to a usable connection or not. */
  readonly attempted: (address: Multiaddr, failed: AttemptReason | undefined, ms: number) => void
  /** The handshake of a security, once it was agreed on. */
  readonly secured: (protocol: string, role: Role, failed: string | undefined, ms: number) => void
  /** The start of a muxer, once it was agreed on. */
  readonly multiplexed: (muxer: string, role: Role, failed: string | undefined, ms: number) => void
  /** A raw connection was secured and multiplexed. */
  readonly upgraded: (at: Multiaddr, security: string, muxer: string, early: boolean, ms: number) => void
  /** A stream has a protocol, or failed to get one; `protocol` is one that this node speaks or asked for, or empty. */
  readonly negotiated: (
    direction: "inbound" | "outbound",
    protocol: string,
    failed: string | undefined,
    ms: number
  ) => void
  readonly identified: (failed: string | undefined, ms: number) => void
  readonly pinged: (failed: string | undefined, ms: number) => void
}

const nothing = () => {}

/** Counts nothing. */
export const none: Meter = {
  traffic: { received: 0, sent: 0 },
  swarm: nothing,
  dialed: nothing,
  attempted: nothing,
  secured: nothing,
  multiplexed: nothing,
  upgraded: nothing,
  negotiated: nothing,
  identified: nothing,
  pinged: nothing
}

export const Meter: Context.Reference<Meter> = Context.Reference<Meter>("effect-libp2p/Meter", {
  defaultValue: () => none
})
