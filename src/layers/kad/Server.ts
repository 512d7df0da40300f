/**
 * Answers other nodes. One stream may bring several questions, one after the
 * other. A question that cannot be answered resets the stream, as others do it:
 * the protocol has no word for a refusal.
 *
 * What is said of others is what this node knows itself; of providers, only
 * what each said of itself. Addresses pass the filter of the realm both ways.
 *
 * Specification: kad-dht/README.md, "RPC messages".
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Bytes from "../../data/Bytes.ts"
import * as ContentKey from "../../data/ContentKey.ts"
import * as LengthPrefix from "../../data/LengthPrefix.ts"
import * as Kad from "../../data/messages/Kad.ts"
import type { Multiaddr } from "../../data/Multiaddr.ts"
import * as PeerId from "../../data/PeerId.ts"
import type { StreamError } from "../../services/ByteStream.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import * as ProtocolStream from "../../services/ProtocolStream.ts"
import * as Diversity from "./core/Diversity.ts"
import type { Bringer } from "./core/Holdings.ts"
import type { Scope } from "./core/Shares.ts"
import type { Holding } from "./Holding.ts"
import type { Deadlines } from "../internal/Deadlines.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import { type Rate, Rates } from "./Rates.ts"
import type { Readings } from "./Readings.ts"
import * as Realm from "./Realm.ts"
import * as Wire from "./Wire.ts"

/** What is answered from. */
export interface Knowledge {
  readonly self: PeerId.PeerId
  /** Peers of an answer. */
  readonly k: number
  readonly addresses: Realm.Addresses
  /** What was read from messages lately. */
  readonly readings: Readings
  /** Those of the table that are closest to a key, the closest first, with where they are. */
  readonly nearest: (key: Uint8Array, count: number) => ReadonlyArray<RoutedPeer>
  /** Where any peer is, as far as the node knows; this node too. */
  readonly addressesOf: (peer: PeerId.PeerId) => Effect.Effect<ReadonlyArray<Multiaddr>>
  /** What is held for others; `undefined` where nothing is. */
  readonly holding: Holding | undefined
  readonly providersOf: (key: Uint8Array) => Effect.Effect<ReadonlyArray<RoutedPeer>>
  /** A peer says that it has the content. Gives whose share was full, if it was not taken. */
  readonly addProvider: (key: Uint8Array, provider: RoutedPeer, from: Bringer) => Effect.Effect<Scope | undefined>
}

export interface Options {
  /** Questions of one peer, over all its streams. Default 256 at once, 64 a second. */
  readonly rate?: Rate | undefined
  /** A stream on which nothing is asked for so long ends. Default 60,000 ms. */
  readonly idleMs?: number | undefined
  /** For a peer to take an answer. Default 10,000 ms. */
  readonly answerMs?: number | undefined
}

/** Streams of a connection; a peer that reuses them needs few. */
export const maxStreamsPerConnection = 8

/** A question that is not answered; why, for the log. */
export interface Refused {
  readonly _tag: "Refused"
  readonly detail: string
}

const refuse = (detail: string): Effect.Effect<never, Refused> => Effect.fail({ _tag: "Refused", detail })

/** Refuses for what is wrong with the question, or with doing as it asks. */
const refuseError = Effect.catch((error: { readonly message: string }) => refuse(error.message))

export interface Counters {
  /** By the type of the question. */
  readonly asked: Readonly<Record<Kad.Type, number>>
  readonly refused: number
  /** Questions that had to wait, of peers that ask too fast. */
  readonly delayed: number
}

export interface Server {
  /** The handler of the protocol. */
  readonly serve: (stream: ProtocolStream.ProtocolStream) => Effect.Effect<void>
  readonly counters: () => Counters
}

/**
 * Who is at the other end, and its network. A peer behind a relay is in the
 * network of all such; one on a local network is in none but its own.
 */
const bringer = ({ remoteAddress, remotePeer }: ProtocolStream.ProtocolStream): Bringer => {
  const peer = remotePeer.toString()
  const [group] = Diversity.groups([remoteAddress])
  return { peer, group: group ?? (Realm.isRelayed(remoteAddress) ? "relayed" : peer) }
}

/** Stops before the answer would be too long: a surplus of providers is left out, those last in the list. */
const within = (size: number, peers: ReadonlyArray<Kad.Peer>): ReadonlyArray<Kad.Peer> => {
  let left = size
  return peers.filter((peer) => {
    left -= 16 + peer.id.length + peer.addrs.reduce((sum, address) => sum + address.length + 4, 0)
    return left >= 0
  })
}

/** Room for what is no list of providers. */
const rest = 131_072

export const make = (knowledge: Knowledge, deadlines: Deadlines, options?: Options): Server => {
  const { addresses: which, holding, k, readings, self } = knowledge
  const rates = new Rates(options?.rate ?? { burst: 256, perSecond: 64 })
  const idleMs = options?.idleMs ?? 60_000
  const answerMs = options?.answerMs ?? 10_000
  const asked = { PutValue: 0, GetValue: 0, AddProvider: 0, GetProviders: 0, FindNode: 0, Ping: 0 }
  const counts = { refused: 0, delayed: 0 }

  // ---- what is told

  const told = (stream: ProtocolStream.ProtocolStream, { addresses, peer }: RoutedPeer): RoutedPeer => ({
    peer,
    addresses: Realm.filter(which, addresses, stream.remoteAddress)
  })

  /** The closest peers with an address, but neither who asks nor this node. */
  const closest = (stream: ProtocolStream.ProtocolStream, key: Uint8Array): Array<Kad.Peer> => {
    const peers: Array<Kad.Peer> = []
    for (const one of knowledge.nearest(key, k + 2)) {
      if (PeerId.equals(one.peer, stream.remotePeer) || PeerId.equals(one.peer, self)) continue
      const known = told(stream, one)
      if (known.addresses.length > 0) peers.push(Wire.toWire(known, false))
      if (peers.length === k) break
    }
    return peers
  }

  // ---- questions

  const findNode = Effect.fnUntraced(function* (stream: ProtocolStream.ProtocolStream, { key }: Kad.Kad) {
    const peers = closest(stream, key)
    // Whoever is looked for is told of, even if it is in no table: that is how clients are found. But who looks up
    // itself, as all do who join, wants its neighbours, and not to hear where it is in the place of one of them.
    const peer = PeerId.parse(key)
    if (peer !== undefined && !PeerId.equals(peer, stream.remotePeer)) {
      const known = told(stream, { peer, addresses: yield* knowledge.addressesOf(peer) })
      if (known.addresses.length > 0) {
        const others = peers.filter(({ id }) => !Bytes.equals(id, key))
        return Kad.make("FindNode", { closerPeers: [Wire.toWire(known, false), ...others].slice(0, k) })
      }
    }
    return Kad.make("FindNode", { closerPeers: peers })
  })

  const getValue = Effect.fnUntraced(function* (stream: ProtocolStream.ProtocolStream, { key }: Kad.Kad) {
    const closerPeers = closest(stream, key)
    if (holding === undefined) return Kad.make("GetValue", { key, closerPeers })
    // Not held, expired, or not valid any more: the same to who asks.
    const held = yield* Effect.option(holding.records.get(key))
    if (held._tag === "None") return Kad.make("GetValue", { key, closerPeers })
    const timeReceived = DateTime.formatIso(DateTime.makeUnsafe(yield* Clock.currentTimeMillis))
    return Kad.make("GetValue", { key, closerPeers, record: { key, value: held.value.value, timeReceived } })
  })

  const putValue = Effect.fnUntraced(function* (stream: ProtocolStream.ProtocolStream, { key, record }: Kad.Kad) {
    if (holding === undefined) return yield* refuse("this node holds no records")
    if (record === undefined) return yield* refuse("there is no record in it")
    if (!Bytes.equals(record.key, key)) return yield* refuse("the record is for another key")
    yield* holding.hold(key, record.value, bringer(stream)).pipe(refuseError)
    return Kad.make("PutValue", { key, record })
  })

  /** Any bytes that are no longer than a multihash: programs on rust-libp2p announce names, and go-libp2p takes those. */
  const contentKey = ({ key }: Kad.Kad): Effect.Effect<Uint8Array, Refused> =>
    key.length > ContentKey.maxSize
      ? refuse(`a key of ${key.length} bytes, over the limit of ${ContentKey.maxSize}`)
      : Effect.succeed(key.slice())

  const addProvider = Effect.fnUntraced(function* (stream: ProtocolStream.ProtocolStream, message: Kad.Kad) {
    const key = yield* contentKey(message)
    const said = Wire.fromWire(readings, message.providerPeers, Kad.maxProviderPeers).find(({ peer }) =>
      PeerId.equals(peer, stream.remotePeer)
    )
    if (said === undefined) return yield* refuse("it announces others than itself")
    if (said.addresses.length === 0) return yield* refuse("it announces itself without an address")
    // Those that this realm does not tell of are not kept; that it provides is.
    const full = yield* knowledge.addProvider(key, told(stream, said), bringer(stream))
    if (full !== undefined) return yield* refuse(`the share of its ${full} in what is held for others is full`)
    return undefined
  })

  const getProviders = Effect.fnUntraced(function* (stream: ProtocolStream.ProtocolStream, message: Kad.Kad) {
    const key = yield* contentKey(message)
    const closerPeers = closest(stream, key)
    const providers = (yield* knowledge.providersOf(key)).map((peer) => Wire.toWire(told(stream, peer), false))
    const providerPeers = within(Kad.maxSize - rest, providers.slice(0, Kad.maxProviderPeers))
    return Kad.make("GetProviders", { key, closerPeers, providerPeers })
  })

  /** The answer to a question; `undefined` where none is given. */
  const answer = (
    stream: ProtocolStream.ProtocolStream,
    message: Kad.Kad
  ): Effect.Effect<Kad.Kad | undefined, Refused> => {
    asked[message.type]++
    // What is echoed holds nothing but what the type has.
    if (message.type === "Ping") return Effect.succeed(Kad.make("Ping"))
    if (message.key.length === 0) return refuse("it has no key")
    switch (message.type) {
      case "FindNode":
        return findNode(stream, message)
      case "GetValue":
        return getValue(stream, message)
      case "PutValue":
        return putValue(stream, message)
      case "AddProvider":
        return addProvider(stream, message)
      case "GetProviders":
        return getProviders(stream, message)
    }
  }

  // ---- streams

  const serve = (stream: ProtocolStream.ProtocolStream): Effect.Effect<void> => {
    const peer = stream.remotePeer.toString()
    const { read } = ProtocolStream.byteMessages(stream, { maxSize: Kad.maxRequestSize })
    const nextQuestion = deadlines.within(read, idleMs, () => Effect.succeed(null))
    const write = (message: Kad.Kad): Effect.Effect<void, StreamError | Refused> =>
      deadlines.within(stream.write(LengthPrefix.encode(Kad.encode(message))), answerMs, () =>
        refuse(`it did not take the answer within ${answerMs} ms`)
      )

    return Effect.gen(function* () {
      if (!Realm.mayAsk(which, stream.remoteAddress)) return yield* refuse("it is not in the local network")
      for (;;) {
        const bytes = yield* nextQuestion
        if (bytes === null) return
        const waitMs = rates.take(peer, yield* monotonicMs)
        if (waitMs > 0) {
          counts.delayed++
          yield* Effect.sleep(waitMs)
        }
        const message = yield* Effect.fromResult(Kad.decode(bytes, Kad.maxRequestSize)).pipe(refuseError)
        const reply = yield* answer(stream, message)
        if (reply !== undefined) yield* write(reply)
      }
    }).pipe(
      // Peers do as they please, and what this node refuses is its own business: no warning.
      Effect.catch((error) => {
        const why = error._tag === "Refused" ? error.detail : error.message
        counts.refused++
        return Effect.andThen(stream.reset(why), Effect.logDebug(`${stream.protocol}: ${peer} is refused: ${why}`))
      })
    )
  }

  return { serve, counters: () => ({ asked: { ...asked }, ...counts }) }
}
