/**
 * What a node holds for others, by whom it holds it for: peers, and the
 * networks that these are in. Nobody has more than a share. When all is full,
 * the heaviest network gives way, of it the heaviest peer, and of that what is
 * furthest from this node, which others are to hold. So a flood pushes out
 * itself: who holds less than the flooder's networks do loses nothing, however
 * much comes.
 *
 * Who is the heaviest with what comes has to give of its own, and only for what
 * is closer to this node; otherwise it is refused.
 *
 * All of it is plain code; expiry is who calls it's, by `remove`.
 */
import { Heaviest } from "./Heaviest.ts"

/** Something that is held, or is to be. */
export interface Claim {
  readonly id: string
  /** Whom it is held for, and the network that the peer is in. */
  readonly peer: string
  readonly group: string
  /** A whole number above 0. */
  readonly weight: number
  /** Bits that its key shares with this node. */
  readonly closeness: number
}

export interface Limits {
  /** Weights of all together, of a network, and of a peer. */
  readonly total: number
  readonly group: number
  readonly peer: number
}

/** Whose share is full. */
export type Scope = "peer" | "group" | "node"

export interface Decision {
  /** Why it is not taken. */
  readonly refused: Scope | undefined
  /** What is to be dropped, and is not counted any more; also before a refusal. */
  readonly dropped: ReadonlyArray<string>
}

interface Peer {
  readonly group: string
  /** By closeness; those that came first, first. */
  readonly claims: Map<number, Set<Claim>>
}

/** A network, with its peers by what they hold. */
type Group = Heaviest

export class Shares {
  readonly limits: Limits
  readonly #claims = new Map<string, Claim>()
  /** By network and peer: a peer that comes from two networks has a share in each. */
  readonly #peers = new Map<string, Peer>()
  readonly #groups = new Map<string, Group>()
  readonly #heaviest = new Heaviest()
  /** Of each peer, whatever networks it comes from. */
  readonly #byPeer = new Map<string, number>()
  #total = 0

  constructor(limits: Limits) {
    this.limits = limits
  }

  get total(): number {
    return this.#total
  }

  /** What is held, and whom for. */
  get(id: string): Claim | undefined {
    return this.#claims.get(id)
  }

  /** What a peer, and what a network, holds. */
  ofPeer(peer: string): number {
    return this.#byPeer.get(peer) ?? 0
  }

  ofGroup(group: string): number {
    return this.#heaviest.of(group)
  }

  /** Takes what is not held yet, if there is room for it or room can be made. */
  admit(claim: Claim): Decision {
    const dropped: Array<string> = []
    for (;;) {
      const scope = this.#full(claim)
      if (scope === undefined) break
      const victim = this.#victim(claim, scope)
      if (victim === undefined) return { refused: scope, dropped }
      this.remove(victim.id)
      dropped.push(victim.id)
    }
    this.#add(claim)
    return { refused: undefined, dropped }
  }

  /**
   * Drops what gives way to such a claim if all is full, for who has a bound of
   * its own; `undefined` when the claim itself is to give way.
   */
  yieldTo(claim: Claim): string | undefined {
    const victim = this.#victim(claim, "node")
    if (victim !== undefined) this.remove(victim.id)
    return victim?.id
  }

  /**
   * What is held weighs something else now. Nothing gives way to it: gives whose
   * share has no room for more, and then it stays as it was. With `force` there is.
   */
  reweigh(id: string, weight: number, force = false): Scope | undefined {
    const claim = this.#claims.get(id)
    if (claim === undefined || claim.weight === weight) return undefined
    this.remove(id)
    const changed = { ...claim, weight }
    const full = force || weight < claim.weight ? undefined : this.#full(changed)
    this.#add(full === undefined ? changed : claim)
    return full
  }

  /** It is held no more. */
  remove(id: string): void {
    const claim = this.#claims.get(id)
    if (claim === undefined) return
    const { closeness, group, peer, weight } = claim
    this.#claims.delete(id)
    const own = this.#peers.get(nameOf(group, peer))
    const level = own?.claims.get(closeness)
    level?.delete(claim)
    if (level?.size === 0) own?.claims.delete(closeness)
    if (own?.claims.size === 0) this.#peers.delete(nameOf(group, peer))
    this.#weigh(claim, -weight)
  }

  // ---- inside ---------------------------------------------------------------

  #add(claim: Claim): void {
    const name = nameOf(claim.group, claim.peer)
    const own = this.#peers.get(name) ?? { group: claim.group, claims: new Map<number, Set<Claim>>() }
    this.#peers.set(name, own)
    const level = own.claims.get(claim.closeness) ?? new Set<Claim>()
    own.claims.set(claim.closeness, level.add(claim))
    this.#claims.set(claim.id, claim)
    this.#weigh(claim, claim.weight)
  }

  #weigh({ group, peer }: Claim, weight: number): void {
    const members = this.#groups.get(group) ?? new Heaviest()
    members.add(nameOf(group, peer), weight)
    if (members.size === 0) this.#groups.delete(group)
    else this.#groups.set(group, members)
    this.#heaviest.add(group, weight)
    const held = this.ofPeer(peer) + weight
    if (held > 0) this.#byPeer.set(peer, held)
    else this.#byPeer.delete(peer)
    this.#total += weight
  }

  #full({ group, peer, weight }: Claim): Scope | undefined {
    const { limits } = this
    if (this.ofPeer(peer) + weight > limits.peer) return "peer"
    if (this.ofGroup(group) + weight > limits.group) return "group"
    return this.#total + weight > limits.total ? "node" : undefined
  }

  /** What gives way to the claim; `undefined` when the claim itself does. */
  #victim(claim: Claim, scope: Scope): Claim | undefined {
    const own = nameOf(claim.group, claim.peer)
    if (scope === "peer") return this.#furtherThan(own, claim)
    const heaviest = this.#heaviest.heaviest
    const isOwnGroup =
      scope === "group" || heaviest === undefined || this.ofGroup(claim.group) + claim.weight >= this.ofGroup(heaviest)
    const group = isOwnGroup ? claim.group : heaviest
    const members = this.#groups.get(group)
    const peer = members?.heaviest
    if (members === undefined || peer === undefined) return undefined
    const isOwnPeer = isOwnGroup && members.of(own) + claim.weight >= members.of(peer)
    return isOwnPeer ? this.#furtherThan(own, claim) : this.#furthest(peer)
  }

  /** What a peer holds that is furthest from this node, the oldest of it. */
  #furthest(name: string): Claim | undefined {
    const claims = this.#peers.get(name)?.claims
    if (claims === undefined) return undefined
    for (const claim of claims.get(Math.min(...claims.keys())) ?? []) return claim
    return undefined
  }

  #furtherThan(name: string, { closeness }: Claim): Claim | undefined {
    const furthest = this.#furthest(name)
    return furthest !== undefined && furthest.closeness < closeness ? furthest : undefined
  }
}

const nameOf = (group: string, peer: string): string => `${group} ${peer}`
