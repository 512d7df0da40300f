/**
 * FaultControls: what is wrong with the network, decided while a program runs.
 * The layers of layers/faults ask it; a test or an administrator's endpoint sets
 * it. {@link Faults} is a schema, so that it can be read from a request.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const probability = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const milliseconds = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 3_600_000 }))

/**
 * How late bytes are, in milliseconds: always the same; anything between two
 * bounds; or at least `base`, plus an exponential `tail` with that mean.
 */
export const Delay = Schema.Union([
  milliseconds,
  Schema.Struct({ min: milliseconds, max: milliseconds }),
  Schema.Struct({ base: milliseconds, tail: milliseconds })
])
export type Delay = typeof Delay.Type

/** What is wrong with the traffic to and from a host. What is not named is right. */
export const Faults = Schema.Struct({
  /** Added in each direction; a new connection takes twice as much longer to open. Order is kept. */
  delayMs: Schema.optional(Delay),
  /** The most that passes in each direction of each connection, per second. */
  bytesPerSecond: Schema.optional(Schema.Finite.check(Schema.isBetween({ minimum: 1, maximum: 1e12 }))),
  /** The probability that a bit is flipped in a batch of bytes, or in a datagram. */
  corrupt: Schema.optional(probability),
  /**
   * Nothing passes and nobody is told. Connections keep what is under way until
   * it ends, as TCP does; datagrams are gone; new connections time out.
   */
  blackHole: Schema.optional(Schema.Boolean),
  /** New connections are refused, in both directions. */
  refuse: Schema.optional(Schema.Boolean),
  /** The probability that a datagram is lost. */
  dropDatagrams: Schema.optional(probability)
})
export type Faults = typeof Faults.Type

/** What the faults have done so far. */
export interface FaultCounts {
  /** Connections refused or timed out. */
  readonly refused: number
  /** Connections reset by `cut`. */
  readonly cut: number
  /** Batches and datagrams with a flipped bit. */
  readonly corrupted: number
  readonly droppedDatagrams: number
}

/** A connection, as the controls see it. */
export interface FaultLink {
  /** The remote host: an address, without the port. */
  readonly host: string
  /** The faults of the host are others now. */
  readonly changed: (faults: Faults) => void
  readonly cut: () => void
}

export class FaultControls extends Context.Service<
  FaultControls,
  {
    /** Sets the faults of one remote host, or of all that have none of their own. They take the place of those before. */
    readonly set: (faults: Faults, host?: string) => Effect.Effect<void>
    /** Ends the faults of one host, so that those of all count for it; without a host, all faults of all hosts. */
    readonly clear: (host?: string) => Effect.Effect<void>
    /** Resets the connections with a host, or all, now; gives their number. */
    readonly cut: (host?: string) => Effect.Effect<number>
    /** The faults that are set; those for all hosts are under `"*"`. */
    readonly current: Effect.Effect<ReadonlyMap<string, Faults>>
    readonly counts: Effect.Effect<FaultCounts>
    /** For layers: the faults of a host, now. */
    readonly of: (host: string) => Faults
    /** For layers: makes a connection known until the returned function is called. */
    readonly attach: (link: FaultLink) => () => void
    /** For layers: counts what a fault did. */
    readonly count: (what: keyof FaultCounts) => void
  }
>()("effect-libp2p/FaultControls") {}
