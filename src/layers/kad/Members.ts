/**
 * Who is in the table of a DHT. A peer that speaks the protocol and belongs to
 * the realm is asked for this node itself, and comes into the table when it has
 * answered. It leaves when it answers no more.
 *
 * ```
 * run of the actor
 *  ├─ one fiber a check of a peer, few at once
 *  └─ fibers that tell the peer store whose connections are worth something
 * ```
 *
 * Part of the actor, which alone calls it: all that it changes is the actor's.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Kad from "../../data/messages/Kad.ts"
import type { PeerId } from "../../data/PeerId.ts"
import type { ActorRef } from "../../services/Actors.ts"
import type { RoutedPeer } from "../../services/PeerRouting.ts"
import { type PeerStore, type Tag, tolerant } from "../../services/PeerStore.ts"
import type { Swarm } from "../../services/Swarm.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import type { AddressBook } from "./AddressBook.ts"
import { Checks } from "./core/Checks.ts"
import * as Diversity from "./core/Diversity.ts"
import * as Key from "./core/Key.ts"
import type { Change, RoutingTable } from "./core/RoutingTable.ts"
import type { Silence } from "./core/Silence.ts"
import type { Answered, Failed, Identified, Message } from "./Message.ts"
import * as Realm from "./Realm.ts"
import * as Rpc from "./Rpc.ts"

export interface Options {
  /** `wan` or `lan`. */
  readonly realm: string
  readonly protocol: string
  readonly addresses: Realm.Addresses
  /** This node. */
  readonly self: PeerId
  readonly table: RoutingTable
  readonly silence: Silence
  readonly book: AddressBook
  readonly rpc: Rpc.Rpc
  readonly swarm: Swarm["Service"]
  readonly peerStore: PeerStore["Service"]
  readonly actor: ActorRef<Message>
  /** Of the run of the actor. */
  readonly scope: Scope.Scope
  readonly chance: Key.Chance
  /** The first peer has come. */
  readonly begun: () => void
}

export interface Members {
  /** Takes the peers of an earlier run. */
  readonly remember: (peers: ReadonlyArray<RoutedPeer>) => Effect.Effect<void>
  readonly identified: (message: Identified) => Effect.Effect<void>
  readonly answered: (message: Answered) => Effect.Effect<void>
  readonly failed: (message: Failed) => Effect.Effect<void>
  /** Peers took so long that a lookup ended without them: nobody has found out whether they are there. */
  readonly late: (contacts: ReadonlyArray<Key.Contact>) => Effect.Effect<void>
  /** A peer was checked, whatever came of it. */
  readonly checked: (contact: Key.Contact) => Effect.Effect<void>
  /** Checks those that were not heard of for long, and now and then says anew whose connections are worth something. */
  readonly checkStale: Effect.Effect<void>
  /** Peers that are checked now. */
  readonly checking: () => number
}

/** Peers that are asked at once whether they are there, and that wait for it. */
const checkLimits = { atOnce: 16, waiting: 256 }
/** For who is asked something else already to answer that. */
const answerWithin = "1 second"
/**
 * What a connection with a peer of the table is worth to the connection manager.
 * It wears off, since stores outlive tables: of those of an earlier run, or of a
 * process before, nobody knows who was in them. Who stays in the table is marked anew.
 */
const tag: Tag = { value: 5, decay: { shape: "linear", over: "2 hours" } }
const markEveryMs = 1_200_000

export const make = (options: Options): Members => {
  const {
    actor,
    addresses: which,
    begun,
    book,
    chance,
    peerStore,
    protocol,
    realm,
    rpc,
    scope,
    self,
    silence,
    swarm,
    table
  } = options
  const use = tolerant("the DHT")
  const checks = new Checks(checkLimits)
  const placeOf = ({ peer }: Key.Contact): RoutedPeer => ({ peer, addresses: book.of(peer) })
  const tell = (message: Message) => Effect.sync(() => void actor.tellUnsafe(message))

  /** Who came into the table is worth a connection, who left it is not. */
  const changed = ({ added, removed }: Change) =>
    Effect.suspend(() => {
      const marks = [
        ...added.map(({ peer }) => peerStore.setTag(peer, `kad ${realm}`, tag)),
        ...removed.map(({ peer }) => peerStore.setTag(peer, `kad ${realm}`, undefined))
      ]
      if (marks.length === 0) return Effect.void
      // The disk is not waited for.
      return Effect.asVoid(Effect.forkIn(Effect.forEach(marks, use.write, { discard: true }), scope))
    })

  let markedAt: number | undefined
  /** Those that have stayed; who is doubtful is not among them. */
  const markAgain = (now: number) =>
    Effect.suspend(() => {
      markedAt ??= now
      if (now - markedAt < markEveryMs) return Effect.void
      markedAt = now
      return changed({ added: table.nearest(table.self, table.size), removed: [] })
    })

  /** Asks a peer for this node itself, which tells whether it is there and answers. */
  const check = (contact: Key.Contact, again = false) =>
    Effect.suspend(() => {
      if (!checks.begin(contact)) return Effect.void
      const at = placeOf(contact)
      const asking = Effect.gen(function* () {
        // A lookup that has dialled it asks it, and tells of its answer: half of all connections are made so.
        if (rpc.isAsking(contact.peer)) yield* Effect.sleep(answerWithin)
        if (table.has(contact.key) && !again) return
        const began = yield* monotonicMs
        yield* rpc.request(at, Kad.make("FindNode", { key: self.bytes })).pipe(
          Effect.matchEffect({
            onSuccess: () =>
              Effect.flatMap(monotonicMs, (now) =>
                tell({ _tag: "Answered", contact, at, latencyMs: now - began, useful: true })
              ),
            onFailure: (failure) => tell({ _tag: "Failed", contact, failure })
          })
        )
      })
      // Interrupted, the run has ended, and nobody is to be told: the end would wait for room in the mailbox.
      const done = Effect.ignore(actor.tell({ _tag: "CheckDone", contact }))
      return Effect.asVoid(Effect.forkIn(Effect.andThen(Effect.exit(asking), done), scope))
    })

  return {
    remember: (peers) =>
      Effect.flatMap(monotonicMs, (now) => {
        for (const { addresses, peer } of peers) book.learn(peer, addresses)
        const placed = peers.flatMap(({ addresses, peer }) =>
          addresses.length === 0 ? [] : [{ contact: Key.contact(peer), groups: Diversity.groups(addresses) }]
        )
        return changed(table.remember(placed, now, chance))
      }),

    identified: ({ connection, info }) =>
      Effect.gen(function* () {
        const contact = Key.contact(info.peer)
        const now = yield* monotonicMs
        silence.end(contact)
        if (!info.protocols.includes(protocol)) return yield* changed(table.remove(contact, now))
        const remote = connection.remoteAddress
        if (!Realm.belongs(which, remote, info.listenAddresses)) return
        // It was reached there, whatever it says of itself.
        const proven = connection.direction === "outbound" ? [remote] : []
        const all = [...Realm.filter(which, proven, remote), ...Realm.filter(which, info.listenAddresses, remote)]
        if (all.length === 0) return
        book.learn(info.peer, [...new Map(all.map((address) => [address.toString(), address])).values()])
        if (table.has(contact.key)) table.seen(contact, now)
        else if (table.wants(contact.key)) yield* check(contact)
      }),

    answered: ({ at, contact, latencyMs, useful }) =>
      Effect.gen(function* () {
        const now = yield* monotonicMs
        silence.end(contact)
        const wasEmpty = table.size === 0
        const open = yield* swarm.connections(contact.peer)
        const known = book.of(contact.peer)
        if (known.length === 0) {
          const reached = open.flatMap(({ direction, remoteAddress }) =>
            direction === "outbound" ? Realm.filter(which, [remoteAddress], remoteAddress) : []
          )
          // It came by itself, or by another network: where it is in this one is others' word only.
          if (open.length > 0 && reached.length === 0 && !table.has(contact.key)) return
          book.learn(contact.peer, reached.length > 0 ? reached : at.addresses)
        } else {
          // What others say of it does not count beside what it says of itself.
          book.learn(contact.peer, known)
        }
        // The addresses that it names are its choice; those of its connections are not.
        const groups = Diversity.groups([...open.map(({ remoteAddress }) => remoteAddress), ...book.of(contact.peer)])
        yield* changed(table.offer(contact, { groups, latencyMs, useful }, now))
        if (wasEmpty && table.size > 0) begun()
      }),

    failed: ({ contact, failure }) =>
      Effect.gen(function* () {
        if (Rpc.isOwn(failure)) return
        // With no connection at all, it is this node that cannot be reached.
        if ((yield* swarm.connections()).length === 0) return
        const now = yield* monotonicMs
        silence.add(contact, now)
        if (table.has(contact.key)) yield* changed(table.checked(contact, "dead", now))
      }),

    late: (contacts) =>
      Effect.flatMap(monotonicMs, (now) =>
        Effect.forEach(
          contacts,
          (contact) => {
            silence.add(contact, now)
            return table.has(contact.key) ? check(contact, true) : Effect.void
          },
          { discard: true }
        )
      ),

    checked: (contact) =>
      Effect.suspend(() => {
        const next = checks.done(contact, ({ key }) => table.wants(key))
        return next === undefined ? Effect.void : check(next)
      }),

    checkStale: Effect.flatMap(monotonicMs, (now) =>
      Effect.andThen(
        markAgain(now),
        Effect.forEach(table.toCheck(now, checks.room), (contact) => check(contact, true), { discard: true })
      )
    ),

    checking: () => checks.size
  }
}
