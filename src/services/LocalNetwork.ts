/**
 * LocalNetwork: who is on the local network, as far as they were heard, and
 * questions to all of them at once. Layer: mDNS.
 *
 * All that is heard is hearsay: anybody on the network can say it. A connection
 * is proof.
 *
 * ```
 * const network = yield* LocalNetwork.LocalNetwork
 * yield* Stream.runForEach(network.changes, ({ _tag, peer }) => Console.log(_tag, peer.peer))
 * ```
 *
 * Specification: libp2p/specs, discovery/mdns.md.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { PeerId } from "../data/PeerId.ts"
import type { RoutedPeer } from "./PeerRouting.ts"

/** The name of a service cannot be a part of a DNS name. */
export class InvalidServiceName extends Schema.TaggedError<InvalidServiceName>()("InvalidServiceName", {
  name: Schema.String
}) {
  override get message(): string {
    return `${JSON.stringify(this.name)} cannot be the name of a service: lower-case letters, digits and hyphens, at most 20, such as "chat"`
  }
}

/** A peer that was heard. Its addresses are those that lead to the local network. */
export interface LocalPeer extends RoutedPeer {
  /** The services that it is of, such as `_p2p._udp.local`. */
  readonly services: ReadonlyArray<string>
  /** How long ago it was heard first, and last. */
  readonly firstMsAgo: number
  readonly lastMsAgo: number
  /** It is forgotten in so long, unless it is heard again. */
  readonly forgottenInMs: number
}

export interface LocalChange {
  /** It was heard, has other addresses or services, or has gone or was not heard for long. */
  readonly _tag: "Appeared" | "Changed" | "Left"
  readonly peer: LocalPeer
}

/** What a peer can be asked for by others: the content of a key, or a record under a key. */
export type LocalHolding =
  | { readonly _tag: "Key"; readonly key: Uint8Array }
  | { readonly _tag: "Record"; readonly key: Uint8Array }

/** What a question is about: a peer, or what peers hold. */
export type LocalQuestion = LocalHolding | { readonly _tag: "Peer"; readonly peer: PeerId }

/** Who has what was asked for, and that itself if it was small enough to be told. */
export interface LocalAnswer extends RoutedPeer {
  readonly content: Uint8Array | undefined
}

/** Counts since the start. */
export interface LocalCounters {
  /** Packets. */
  readonly sent: number
  readonly received: number
  /** Packets that could not be read, or came from another port than they must; where messages are sealed, also all that are not. */
  readonly refused: number
  /** Times that another peer had the name of this one. */
  readonly renamed: number
}

export interface LocalStatus {
  /** The service that this node is of, such as `_p2p._udp.local`. */
  readonly service: string
  /** The links that it is heard on, such as `eth0/4`: interface and IP version. */
  readonly links: ReadonlyArray<string>
  readonly counters: LocalCounters
}

export class LocalNetwork extends Context.Service<
  LocalNetwork,
  {
    /** Who is there now. This node is not among them. */
    readonly peers: Effect.Effect<ReadonlyArray<LocalPeer>>
    /** What changes from now on. A slow reader misses the oldest. */
    readonly changes: Stream.Stream<LocalChange>
    /** Asks once more who is there. It is asked often enough without it. */
    readonly refresh: Effect.Effect<void>
    /**
     * Asks all for a peer, or for what they hold, and gives those who answer,
     * each once, as they do; twice, if another host has said something else in
     * its name. Ends after `wait` (default 2 seconds): nobody
     * says that they do not have it. All who ask for the same at once share one
     * question. Empty, too, when too much is asked already.
     */
    readonly ask: (question: LocalQuestion, wait?: Duration.Input) => Stream.Stream<LocalAnswer>
    /**
     * Answers those who ask for it, until {@link release}; with `content`, if it fits into a packet. That is run each
     * time that somebody asks, so that it is kept in one place only; if it gives `undefined`, there is no answer.
     */
    readonly hold: (what: LocalHolding, content?: Effect.Effect<Uint8Array | undefined>) => Effect.Effect<void>
    readonly release: (what: LocalHolding) => Effect.Effect<void>
    readonly status: Effect.Effect<LocalStatus>
  }
>()("effect-libp2p/LocalNetwork") {}
