/**
 * The addresses of this node as others see them, and which of them to believe.
 * Pure: it knows no clock, no connections, no network.
 *
 * An observer may lie, and lying costs nothing but peer ids; addresses in many
 * networks cost more. So an address is believed when observers in several
 * networks (groups) agree:
 * - a peer has one vote for each port that this node listens on, its latest;
 * - a group counts once for an address, however many of its peers see it;
 * - a group holds few votes, and the group that holds most gives way when the
 *   table is full: peers of one network push out each other and nobody else.
 *
 * Only what was seen of a connection that came to, or left from, a port that is
 * listened on counts: nobody can dial the port of any other connection. The
 * address is taken as it was seen, port included, since a NAT may map the port
 * to another.
 *
 * A vote is kept while its observer is connected and for a time after: a node
 * behind a NAT may never have peers of four networks at once.
 *
 * Specification: identify/README.md, "observedAddr".
 */
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { ObservedAddress } from "../../services/Identify.ts"

export interface Options {
  /** Networks that must agree. */
  readonly minObservers: number
  /** How long a vote is kept after its observer was last known to be connected. */
  readonly timeToLiveMs: number
  /** Votes held in all, and of one group. */
  readonly maxVotes?: number | undefined
  readonly maxVotesOfGroup?: number | undefined
}

/** What a peer sees at the other end of a connection with this node. */
export interface Observation {
  /** The peer's id, in text. */
  readonly observer: string
  /** The id of the connection. */
  readonly connection: number
  /** The ends of the connection as this node sees them. */
  readonly remote: Multiaddr.Multiaddr
  readonly local: Multiaddr.Multiaddr
  /** This node's end as the peer sees it. */
  readonly observed: Multiaddr.Multiaddr
}

/** Addresses that are announced for one port that is listened on, at most. */
const maxConfirmedOfPort = 3

interface Candidate {
  readonly address: Multiaddr.Multiaddr
  readonly port: string
  /** Votes by group. */
  readonly groups: Map<string, number>
}

interface Vote {
  readonly key: string
  readonly connection: number
  readonly group: string
  readonly candidate: Candidate
  at: number
}

/** What an address is besides its host: `ip4/tcp/4001`, and whatever follows the port. */
const portOf = (address: Multiaddr.Multiaddr): string | undefined => {
  const [ip, transport, ...rest] = address.components
  if (ip?.name !== "ip4" && ip?.name !== "ip6") return undefined
  if (transport?.name !== "tcp" && transport?.name !== "udp") return undefined
  if (transport.value === undefined || transport.value === "0") return undefined
  const after = rest.map(({ name, value }) => (value === undefined ? `/${name}` : `/${name}/${value}`))
  return `${ip.name}/${transport.name}/${transport.value}${after.join("")}`
}

/** The protocols of an address, without their values. */
const shapeOf = (address: Multiaddr.Multiaddr): string => address.components.map(({ name }) => name).join("/")

/** The network of an address: its /16, or its /32 in IPv6. */
export const groupOf = (address: Multiaddr.Multiaddr): string | undefined => {
  const ip = Multiaddr.ipBytes(address)
  return ip?.subarray(0, ip.length === 4 ? 2 : 4).join(".")
}

const nat64 = [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]

/** Multicast and reserved ranges, and the addresses by which NAT64 shows IPv4 hosts to one network. */
const isOfNobody = (ip: Uint8Array): boolean => {
  const first = ip[0] ?? 0
  return ip.length === 4 ? first === 0 || first >= 224 : first === 0xff || nat64.every((byte, i) => ip[i] === byte)
}

/** Why an observation says nothing of use; `undefined` when it may. */
export const refusal = ({ local, observed, remote }: Omit<Observation, "observer" | "connection">) => {
  const seen = Multiaddr.withoutPeer(observed)
  const ip = seen === undefined ? undefined : Multiaddr.ipBytes(seen)
  if (seen === undefined || ip === undefined) return "it has no IP address"
  if (portOf(seen) === undefined || shapeOf(seen) !== shapeOf(local)) return "it is of another transport"
  if (Multiaddr.isUnspecified(seen) || isOfNobody(ip)) return "it is the address of no host"
  if (Multiaddr.isLoopback(seen)) return "it is a loopback address"
  if (groupOf(remote) === undefined || Multiaddr.isLoopback(remote)) return "its observer is in no network"
  if (Multiaddr.isPrivate(seen) !== Multiaddr.isPrivate(remote)) {
    return "one of the address and its observer is in a private network, the other is not"
  }
  return undefined
}

export class ObservedAddresses {
  readonly #minObservers: number
  readonly #timeToLiveMs: number
  readonly #maxVotes: number
  readonly #maxVotesOfGroup: number
  /** By peer and port, those learnt longest ago first. */
  readonly #votes = new Map<string, Vote>()
  readonly #ofGroup = new Map<string, Set<Vote>>()
  readonly #candidates = new Map<string, Candidate>()
  /** Grows when what is believed may have changed. */
  #version = 0
  /** What is believed, as worked out at a version: every peer that asks who this node is wants to know. */
  #believed: { readonly version: number; readonly addresses: ReadonlyArray<Multiaddr.Multiaddr> } = {
    version: 0,
    addresses: []
  }

  constructor(options: Options) {
    this.#minObservers = Math.max(1, options.minObservers)
    this.#timeToLiveMs = options.timeToLiveMs
    this.#maxVotes = options.maxVotes ?? 512
    this.#maxVotesOfGroup = options.maxVotesOfGroup ?? 4
  }

  /** Votes held. */
  get size(): number {
    return this.#votes.size
  }

  /**
   * Counts an observation, in place of what the peer saw at that port before.
   * `listening` is where the node listens; `now` is in milliseconds. True when
   * what is believed may have changed.
   */
  observe(observation: Observation, listening: ReadonlyArray<Multiaddr.Multiaddr>, now: number): boolean {
    const port = portOf(observation.local)
    const address = Multiaddr.withoutPeer(observation.observed)
    const group = groupOf(observation.remote)
    if (port === undefined || address === undefined || group === undefined) return false
    if (refusal(observation) !== undefined) return false
    if (!listening.some((one) => portOf(one) === port)) return false
    // Nothing is learnt from it, but the peer no longer sees what it saw before.
    const known = listening.some((one) => Multiaddr.equals(one, address))
    const before = this.#version
    const key = `${port} ${observation.observer}`
    const earlier = this.#votes.get(key)
    if (earlier !== undefined) {
      if (!known && earlier.group === group && Multiaddr.equals(earlier.candidate.address, address)) {
        this.#renew({ ...earlier, connection: observation.connection, at: now }, earlier)
        return false
      }
      this.#remove(earlier)
    }
    if (known) return this.#version !== before
    this.#makeRoom(group)
    const candidate = this.#candidateOf(port, address)
    this.#touch(candidate)
    candidate.groups.set(group, (candidate.groups.get(group) ?? 0) + 1)
    this.#touch(candidate)
    this.#insert({ key, connection: observation.connection, group, candidate, at: now })
    return this.#version !== before
  }

  /**
   * Forgets the votes that have expired, and those for ports that are listened
   * on no more; those whose connection is open stay young. True when what is
   * believed may have changed.
   */
  refresh(
    now: number,
    isOpen: (connection: number) => boolean,
    listening: ReadonlyArray<Multiaddr.Multiaddr>
  ): boolean {
    const before = this.#version
    const ports = new Set(listening.map(portOf))
    for (const vote of this.#votes.values()) {
      if (isOpen(vote.connection)) vote.at = now
      if (now - vote.at > this.#timeToLiveMs || !ports.has(vote.candidate.port)) this.#remove(vote)
    }
    return this.#version !== before
  }

  /** Every candidate, the most seen first. */
  list(): ReadonlyArray<ObservedAddress> {
    const perPort = new Map<string, number>()
    return [...this.#candidates.values()]
      .toSorted(
        (a, b) =>
          b.groups.size - a.groups.size ||
          // A stable choice among equals, whatever the order in which they came.
          (a.address.toString() < b.address.toString() ? -1 : 1)
      )
      .map(({ address, groups, port }) => {
        const rank = perPort.get(port) ?? 0
        perPort.set(port, rank + 1)
        const confirmed = groups.size >= this.#minObservers && rank < maxConfirmedOfPort
        return { address, observers: groups.size, confirmed }
      })
  }

  /** What is believed. */
  confirmed(): ReadonlyArray<Multiaddr.Multiaddr> {
    if (this.#believed.version !== this.#version) {
      const addresses = this.list().flatMap(({ address, confirmed }) => (confirmed ? [address] : []))
      this.#believed = { version: this.#version, addresses }
    }
    return this.#believed.addresses
  }

  #candidateOf(port: string, address: Multiaddr.Multiaddr): Candidate {
    const key = `${port} ${address.toString()}`
    let candidate = this.#candidates.get(key)
    if (candidate === undefined) this.#candidates.set(key, (candidate = { address, port, groups: new Map() }))
    return candidate
  }

  /** What is believed depends on the counts of those that are over the threshold, and on nothing else. */
  #touch(candidate: Candidate): void {
    if (candidate.groups.size >= this.#minObservers) this.#version++
  }

  #insert(vote: Vote): void {
    this.#votes.set(vote.key, vote)
    const ofGroup = this.#ofGroup.get(vote.group)
    if (ofGroup === undefined) this.#ofGroup.set(vote.group, new Set([vote]))
    else ofGroup.add(vote)
  }

  #drop(vote: Vote): void {
    this.#votes.delete(vote.key)
    const ofGroup = this.#ofGroup.get(vote.group)
    ofGroup?.delete(vote)
    if (ofGroup?.size === 0) this.#ofGroup.delete(vote.group)
  }

  /** The same vote, made again: it is now the youngest. */
  #renew(vote: Vote, earlier: Vote): void {
    this.#drop(earlier)
    this.#insert(vote)
  }

  #remove(vote: Vote): void {
    const { candidate, group } = vote
    this.#drop(vote)
    this.#touch(candidate)
    const left = (candidate.groups.get(group) ?? 0) - 1
    if (left > 0) candidate.groups.set(group, left)
    else candidate.groups.delete(group)
    this.#touch(candidate)
    if (candidate.groups.size === 0) this.#candidates.delete(`${candidate.port} ${candidate.address.toString()}`)
  }

  /** The oldest vote of a full group goes; of a full table, the oldest of the group that holds most. */
  #makeRoom(group: string): void {
    let fullest = this.#ofGroup.get(group)
    if ((fullest?.size ?? 0) < this.#maxVotesOfGroup) {
      if (this.#votes.size < this.#maxVotes) return
      for (const one of this.#ofGroup.values()) if (fullest === undefined || one.size > fullest.size) fullest = one
    }
    for (const oldest of fullest ?? []) {
      this.#remove(oldest)
      return
    }
  }
}
