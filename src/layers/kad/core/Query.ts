/**
 * The iterative lookup: who is to be asked next on the way to a target, and
 * when it is reached. A state machine: who was asked, answered or failed is
 * told to it, with the time; it knows no network and no clock.
 *
 * ```
 * heard --next--> asked --answered--> answered
 *                  |  \--failed-----> failed
 *                  \--patience ends-> late --answered/failed/given up-->
 * ```
 *
 * - It ends when the closest `need` peers that are left have answered. Those
 *   that failed are out of it; those that are late are overtaken: they hold no
 *   slot and nobody waits for them, but their answer counts if it comes.
 * - Only who would be among the `k` closest is asked.
 * - How long is waited follows from how fast others answered.
 * - Who names peers that do not answer is believed no more: those whom only it
 *   has named are passed over. A liar costs a few requests, whatever it names.
 * - With several paths, no peer is asked on two (S/Kademlia): liars on one path
 *   lead that one astray only. What the paths find is merged.
 *
 * Whatever remotes say, it ends: `maxAsked` bounds the requests, `giveUpMs` each
 * of them.
 *
 * Specification: kad-dht/README.md, "Peer routing".
 */
import * as Key from "./Key.ts"
import { Patience } from "./Patience.ts"
import type { Options, Progress, Reason, Step } from "./QueryTypes.ts"
import { spread } from "./Spread.ts"

type Contact = Key.Contact

export type { Options, Progress, Reason, Step } from "./QueryTypes.ts"

/** How many of the closest must have answered when one thing is looked for. */
export const beta = 3

interface Candidate {
  readonly contact: Contact
  readonly key: Key.Key
  state: "heard" | "asked" | "late" | "answered" | "failed"
  /** The path that asked it; before that, the one that learnt it first. */
  path: number
  readonly hop: number
  askedAt: number
  /** Lists that it stands in. */
  lists: number
  /** Who named it first, of those that are believed; nobody named those to begin with. */
  by: Candidate | undefined
  /** Of those it named first: how many have answered, and how many did not, or take their time. */
  proven: number
  hollow: number
  /** How often it failed. */
  failures: number
}

/** So many peers that do not answer are named by an honest peer too. */
const hollowAllowed = 4

/** True when those that it names are asked for on its word alone. */
const isBelieved = (by: Candidate | undefined): boolean =>
  by === undefined || by.hollow < hollowAllowed || by.hollow <= 2 * by.proven

/** Sorted by the distance to the target. */
interface Path {
  readonly index: number
  readonly known: Array<Candidate>
  readonly ids: Set<string>
  done: "closest" | "starved" | undefined
}

/** What a lookup came to. Only a query gives one: it is proof that peers were asked. */
export class Finished {
  readonly target: Key.Key
  readonly reason: Reason
  readonly progress: Progress
  /** Of each path, those that answered, the closest first, at most `k`. */
  readonly paths: ReadonlyArray<ReadonlyArray<Contact>>
  /** The closest that are known and have not failed, asked or not, the closest first, at most `k`. */
  readonly nearest: ReadonlyArray<Contact>
  readonly #k: number

  private constructor(query: Query, reason: Reason, k: number) {
    this.target = query.target
    this.reason = reason
    this.progress = query.progress()
    this.paths = query.paths((state) => state === "answered")
    this.nearest = Key.closest(query.target, new Set(query.paths((state) => state !== "failed").flat()), k)
    this.#k = k
  }

  /** What a query found, once it has ended. */
  static of(query: Query): Finished | undefined {
    return query.reason === undefined ? undefined : new Finished(query, query.reason, query.k)
  }

  /**
   * Who is to hold what belongs at the target, at most `k`: of each path in turn
   * the closest that it knows. On one path, the closest. Peers made to be closest
   * by those who lied on some paths are not all of them.
   */
  get holders(): ReadonlyArray<Contact> {
    return spread(this.paths, this.#k)
  }

  /** True when it went on to its end and somebody answered: what may count as a refresh. */
  get complete(): boolean {
    return (this.reason === "closest" || this.reason === "starved") && this.progress.answered > 0
  }

  /** True when it came to the end of the network: nobody was left to ask, and most of those there are have answered. */
  get exhausted(): boolean {
    const { answered, failed, late } = this.progress
    return this.complete && this.reason === "starved" && answered > failed + late
  }
}

export class Query {
  readonly target: Key.Key
  readonly #self: Key.Key
  /** How many of the closest are looked for. */
  readonly k: number
  readonly #alpha: number
  readonly #need: number
  readonly #maxAsked: number
  readonly #maxHeard: number
  readonly #patience: Patience
  readonly #all = new Map<string, Candidate>()
  readonly #paths: ReadonlyArray<Path>
  /** Asked or late, in the order in which they were asked. */
  readonly #outstanding = new Set<Candidate>()
  #late = 0
  #asked = 0
  #answered = 0
  #failed = 0
  #hops = 0
  #reason: Reason | undefined

  constructor(options: Options) {
    this.target = options.target
    this.#self = options.self
    this.k = Math.max(1, options.k ?? 20)
    this.#alpha = Math.max(1, options.alpha ?? 10)
    this.#need = Math.min(this.k, Math.max(1, options.need ?? this.k))
    this.#maxAsked = options.maxAsked ?? 500
    this.#maxHeard = Math.max(this.k, options.maxHeard ?? 500)
    this.#patience = new Patience(options.patience)
    const count = Math.max(1, Math.min(options.paths ?? 1, this.#alpha))
    this.#paths = Array.from({ length: count }, (_, index) => ({
      index,
      known: [],
      ids: new Set<string>(),
      done: undefined
    }))
    // Dealt in turn, the closest first: each path begins about as near.
    const seeds = Key.closest(this.target, options.seeds, this.#maxHeard)
    seeds.forEach((seed, i) => {
      const path = this.#paths[i % count]
      if (path !== undefined) this.#learn(path, seed, 1, undefined)
    })
  }

  /** Why it ended; `undefined` while it goes on. */
  get reason(): Reason | undefined {
    return this.#reason
  }

  /** Who to ask at the time `now`. Call it at the start, after each answer or failure, and at `wakeAt`. */
  next(now: number): Step {
    if (this.#reason !== undefined) return { ask: [], wakeAt: undefined }
    this.#expire(now)
    const ask: Array<Contact> = []
    for (const path of this.#paths) if (path.done === undefined) this.#advance(path, ask, now)
    if (this.#paths.every(({ done }) => done !== undefined)) {
      this.#reason = this.#paths.some(({ done }) => done === "closest") ? "closest" : "starved"
    } else if (this.#outstanding.size === 0) {
      this.#reason = "limit"
    }
    return { ask, wakeAt: this.#reason === undefined ? this.#wakeAt(now) : undefined }
  }

  /**
   * A peer that was asked told of others, the first `k` of which count. Gives
   * those that were not known. Nothing from who was not asked, has answered, or
   * was given up.
   */
  answered(contact: Contact, closer: ReadonlyArray<Contact>, now: number): ReadonlyArray<Contact> {
    const candidate = this.#settle(contact, "answered")
    if (candidate === undefined) return []
    this.#answered += 1
    this.#hops = Math.max(this.#hops, candidate.hop)
    this.#patience.add(now - candidate.askedAt)
    const path = this.#paths[candidate.path]
    if (path === undefined) return []
    const learnt: Array<Contact> = []
    for (const one of closer.slice(0, this.k)) {
      if (this.#learn(path, one, candidate.hop + 1, candidate)) learnt.push(one)
    }
    return learnt
  }

  /** A peer that failed may be asked once more: it is said to be elsewhere. */
  again({ key }: Contact): void {
    const candidate = this.#all.get(key.id)
    if (candidate?.state === "failed" && candidate.failures < 2) candidate.state = "heard"
  }

  /** A peer that was asked cannot be reached, or did not answer as it must. */
  failed(contact: Contact): void {
    const candidate = this.#settle(contact, "failed")
    if (candidate === undefined) return
    candidate.failures += 1
    this.#failed += 1
  }

  /**
   * Who would be to hold what belongs at the target if it ended now: of each path
   * in turn the closest that it knows and that has not failed, asked or not, at
   * most `k`. The closest first.
   */
  nearest(): ReadonlyArray<Contact> {
    const known = spread(
      this.paths((state) => state !== "failed"),
      this.k
    )
    return Key.closest(this.target, known, this.k)
  }

  /** Of each path, those that it knows in such a state, the closest first, at most `k`. */
  paths(counts: (state: Candidate["state"]) => boolean): ReadonlyArray<ReadonlyArray<Contact>> {
    return this.#paths.map(({ known }) => {
      const found: Array<Contact> = []
      for (const { contact, state } of known) {
        if (counts(state)) found.push(contact)
        if (found.length >= this.k) break
      }
      return found
    })
  }

  /** Those that are late, and have not answered since: when it ends, nobody has found out whether they are there. */
  late(): ReadonlyArray<Contact> {
    return [...this.#outstanding].flatMap(({ contact, state }) => (state === "late" ? [contact] : []))
  }

  /** Ends it: what was looked for is found, or nobody wants it any more. */
  stop(): void {
    this.#reason ??= "stopped"
  }

  progress(): Progress {
    const answered: Array<Candidate> = []
    for (const one of this.#all.values()) if (one.state === "answered") answered.push(one)
    return {
      asked: this.#asked,
      answered: this.#answered,
      failed: this.#failed,
      inFlight: this.#outstanding.size - this.#late,
      late: this.#late,
      hops: this.#hops,
      closest: Key.closest(this.target, answered, this.k).map(({ contact }) => contact)
    }
  }

  // ---- inside ---------------------------------------------------------------

  /** Takes up who is new to the path. True when it is new to all. */
  #learn(path: Path, contact: Contact, hop: number, by: Candidate | undefined): boolean {
    const { key } = contact
    if (Key.equals(key, this.#self)) return false
    let candidate = this.#all.get(key.id)
    if (candidate?.state === "heard" && !isBelieved(candidate.by)) candidate.by = by
    if (path.ids.has(key.id)) return false
    const isNew = candidate === undefined
    candidate ??= {
      contact,
      key,
      hop,
      state: "heard",
      path: path.index,
      askedAt: 0,
      lists: 0,
      by,
      proven: 0,
      hollow: 0,
      failures: 0
    }
    if (isNew) this.#all.set(key.id, candidate)
    candidate.lists += 1
    path.ids.add(key.id)
    path.known.splice(Key.position(this.target, path.known, key), 0, candidate)
    if (path.known.length > this.#maxHeard + this.#maxAsked) this.#forgetFurthest(path)
    return isNew && this.#all.has(key.id)
  }

  #forgetFurthest(path: Path): void {
    const at = path.known.findLastIndex(({ state }) => state === "heard")
    const [candidate] = at === -1 ? [] : path.known.splice(at, 1)
    if (candidate === undefined) return
    path.ids.delete(candidate.key.id)
    candidate.lists -= 1
    if (candidate.lists === 0) this.#all.delete(candidate.key.id)
  }

  #settle({ key }: Contact, state: "answered" | "failed"): Candidate | undefined {
    const candidate = this.#all.get(key.id)
    if (this.#reason !== undefined || candidate === undefined || !this.#outstanding.delete(candidate)) return undefined
    const { by } = candidate
    if (candidate.state === "late") this.#late -= 1
    // Who is late counts as hollow already.
    else if (state === "failed" && by !== undefined) by.hollow += 1
    if (state === "answered" && by !== undefined) {
      by.proven += 1
      if (candidate.state === "late") by.hollow -= 1
    }
    candidate.state = state
    return candidate
  }

  /** Who is asked for too long is late, and later given up. */
  #expire(now: number): void {
    const patience = this.#patience.ms
    for (const candidate of this.#outstanding) {
      const waited = now - candidate.askedAt
      if (waited >= this.#patience.giveUpMs) this.failed(candidate.contact)
      else if (candidate.state === "asked" && waited >= patience && this.#late < 2 * this.#alpha) {
        candidate.state = "late"
        this.#late += 1
        if (candidate.by !== undefined) candidate.by.hollow += 1
      }
    }
  }

  /** When the next request becomes late, or is waited for no longer. */
  #wakeAt(now: number): number | undefined {
    const { giveUpMs, lastMs, ms } = this.#patience
    let at = Number.POSITIVE_INFINITY
    for (const { askedAt } of this.#outstanding) {
      for (const wait of [ms, lastMs, giveUpMs]) if (askedAt + wait > now) at = Math.min(at, askedAt + wait)
    }
    return at === Number.POSITIVE_INFINITY ? undefined : at
  }

  /** Finds out whether the path is at its end; asks who is next on it if not. */
  #advance(path: Path, ask: Array<Contact>, now: number): void {
    let room = this.#room(path)
    let ranked = 0
    let open = 0
    let late = 0
    for (const candidate of path.known) {
      if (candidate.state === "failed" || (candidate.state === "heard" && !isBelieved(candidate.by))) continue
      // Of a peer on another path the answer is not for this one: it is passed over.
      if (candidate.state === "late") {
        if (candidate.path === path.index && now - candidate.askedAt < this.#patience.lastMs) late += 1
        continue
      }
      if (candidate.state === "heard" && room > 0) {
        this.#ask(path, candidate, now)
        ask.push(candidate.contact)
        room -= 1
      }
      const waiting = candidate.state === "heard" || (candidate.state === "asked" && candidate.path === path.index)
      if (waiting && ranked < this.#need) open += 1
      ranked += 1
      if (ranked >= this.k) break
    }
    if (open > 0) return
    if (ranked >= this.#need) path.done = "closest"
    // With too few left, those that are late are waited for after all, if not for as long as they may take.
    else if (late === 0) path.done = "starved"
  }

  /** How many more the path may ask now: its share of the slots, which grows as other paths end. */
  #room(path: Path): number {
    const active = this.#paths.filter(({ done }) => done === undefined).length
    let own = 0
    let all = 0
    for (const { path: asker, state } of this.#outstanding) {
      if (state !== "asked") continue
      all += 1
      if (asker === path.index) own += 1
    }
    const share = Math.max(1, Math.floor(this.#alpha / active))
    return Math.max(0, Math.min(share - own, this.#alpha - all, this.#maxAsked - this.#asked))
  }

  #ask(path: Path, candidate: Candidate, now: number): void {
    candidate.state = "asked"
    candidate.path = path.index
    candidate.askedAt = now
    this.#asked += 1
    this.#outstanding.add(candidate)
  }
}
