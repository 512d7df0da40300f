/** The rules of a store once more, as simply as they can be said: everything is worked out anew each time. */
import type { Confidence, Tag } from "../../../../src/services/PeerStore.ts"

export interface Op {
  readonly peer: number
  readonly kind:
    | "proven"
    | "claimed"
    | "record"
    | "remove"
    | "protocols"
    | "tag"
    | "untag"
    | "metadata"
    | "forget"
    | "wait"
  readonly ports: ReadonlyArray<number>
  /** In milliseconds. */
  readonly time: number
  readonly value: number
  readonly shape: "none" | "linear" | "exponential"
}

export const tagOf = ({ shape, time, value }: Op): Tag => ({
  value,
  decay: shape === "none" ? undefined : { shape, over: time }
})

interface ModelAddress {
  readonly port: number
  confidence: Confidence
  expiresAt: number
  /** The greater, the later; those of one call count down. */
  learnt: number
}

interface ModelPeer {
  heard: number
  /** When it was last heard of as hearsay, or became it. */
  hearsay: number | undefined
  heardAt: number
  addresses: Array<ModelAddress>
  protocols: ReadonlyArray<string>
  tags: Map<string, { readonly tag: Tag; readonly setAt: number }>
  metadata: Map<string, number>
  record: { readonly sequence: number; readonly expiresAt: number } | undefined
}

const ranks: ReadonlyArray<Confidence> = ["proven", "certified", "claimed"]
const rank = (confidence: Confidence): number => ranks.indexOf(confidence)

export interface ModelLimits {
  readonly maxPeers: number
  readonly maxAddresses: number
  readonly maxTags: number
  readonly maxAge: number
}

export class Model {
  now = 0
  readonly #limits: ModelLimits
  readonly #peers = new Map<number, ModelPeer>()
  #counter = 0

  constructor(limits: ModelLimits) {
    this.#limits = limits
  }

  #tagValue({ setAt, tag }: { readonly tag: Tag; readonly setAt: number }): number | undefined {
    if (tag.decay === undefined) return tag.value
    const over = Number(tag.decay.over)
    const passed = this.now - setAt
    if (tag.decay.shape === "linear") {
      return over <= 0 || passed >= over || tag.value === 0 ? undefined : tag.value * (1 - passed / over)
    }
    const value = over <= 0 ? 0 : tag.value * 2 ** -(passed / over)
    // A thousandth of a halving of play: the model does not know the last millisecond.
    return Math.abs(value) < 1 - 1e-9 ? undefined : value
  }

  #expire(): void {
    for (const [key, peer] of this.#peers) {
      peer.addresses = peer.addresses.filter(({ expiresAt }) => expiresAt > this.now)
      for (const [name, tag] of peer.tags) if (this.#tagValue(tag) === undefined) peer.tags.delete(name)
      const recorded = peer.record !== undefined && peer.record.expiresAt > this.now
      const recent = peer.protocols.length > 0 && peer.heardAt + this.#limits.maxAge > this.now
      if (peer.addresses.length + peer.tags.size + peer.metadata.size === 0 && !recorded && !recent) {
        this.#peers.delete(key)
      }
      const met = peer.addresses.some(({ confidence }) => confidence === "proven")
      if (met || peer.tags.size > 0 || peer.metadata.size > 0) peer.hearsay = undefined
      else peer.hearsay ??= ++this.#counter
    }
  }

  #hear(key: number, change: (peer: ModelPeer) => void): void {
    const peer: ModelPeer = this.#peers.get(key) ?? {
      heard: 0,
      hearsay: undefined,
      heardAt: 0,
      addresses: [],
      protocols: [],
      tags: new Map(),
      metadata: new Map(),
      record: undefined
    }
    change(peer)
    peer.heard = ++this.#counter
    peer.heardAt = this.now
    peer.hearsay = undefined
    this.#peers.set(key, peer)
    this.#expire()
    while (this.#peers.size > this.#limits.maxPeers) {
      const byAge = [...this.#peers].toSorted(([, a], [, b]) => a.heard - b.heard)
      const [hearsay] = byAge
        .filter((one) => one[1].hearsay !== undefined)
        .toSorted(([, a], [, b]) => (a.hearsay ?? 0) - (b.hearsay ?? 0))
      const victim = hearsay ?? byAge.find(([, { tags }]) => tags.size === 0) ?? byAge[0]
      if (victim !== undefined) this.#peers.delete(victim[0])
    }
  }

  #learn(peer: ModelPeer, ports: ReadonlyArray<number>, confidence: Confidence, expiresAt: number): void {
    const base = (this.#counter += 100)
    ports.forEach((port, i) => {
      const old = peer.addresses.find((one) => one.port === port)
      const learnt = base - i
      if (old === undefined) {
        peer.addresses.push({ port, confidence, expiresAt, learnt })
        return
      }
      old.expiresAt = Math.max(old.expiresAt, expiresAt)
      if (rank(confidence) > rank(old.confidence) || old.learnt > base - 100) return
      old.confidence = confidence
      old.learnt = learnt
    })
    peer.addresses.sort((a, b) => rank(a.confidence) - rank(b.confidence) || b.learnt - a.learnt)
    peer.addresses.length = Math.min(peer.addresses.length, this.#limits.maxAddresses)
  }

  /** What a record operation gives; `undefined` for the others. */
  apply(op: Op): boolean | undefined {
    const key = op.peer
    switch (op.kind) {
      case "wait":
        this.now += op.time
        this.#expire()
        return undefined
      case "forget":
        this.#peers.delete(key)
        return undefined
      case "proven":
      case "claimed": {
        const { kind } = op
        if (op.ports.length > 0 && op.time > 0) {
          this.#hear(key, (peer) => this.#learn(peer, op.ports, kind, this.now + op.time))
        }
        return undefined
      }
      case "record": {
        const last = this.#peers.get(key)?.record
        const held = last !== undefined && last.expiresAt > this.now
        if (last !== undefined && (held ? op.value <= last.sequence : op.value < last.sequence)) {
          if (held && op.value === last.sequence && op.time > 0) {
            this.#hear(key, (peer) => {
              const expiresAt = Math.max(last.expiresAt, this.now + op.time)
              peer.record = { sequence: last.sequence, expiresAt }
              this.#learn(peer, recordPorts(op.value), "certified", expiresAt)
            })
          }
          return false
        }
        if (op.time <= 0) return false
        this.#hear(key, (peer) => {
          const ports = recordPorts(op.value)
          peer.addresses = peer.addresses.filter((one) => one.confidence !== "certified" || ports.includes(one.port))
          peer.record = { sequence: op.value, expiresAt: this.now + op.time }
          this.#learn(peer, ports, "certified", this.now + op.time)
        })
        return true
      }
      case "remove": {
        const peer = this.#peers.get(key)
        if (peer !== undefined) peer.addresses = peer.addresses.filter(({ port }) => !op.ports.includes(port))
        this.#expire()
        return undefined
      }
      case "protocols":
        this.#hear(key, (peer) => {
          peer.protocols = [...new Set(op.ports.map((port) => `/${port}`))]
        })
        return undefined
      case "tag": {
        const made = { tag: tagOf(op), setAt: this.now }
        const name = `${op.ports.length}`
        const peer = this.#peers.get(key)
        if (this.#tagValue(made) === undefined) {
          peer?.tags.delete(name)
          this.#expire()
        } else if (peer === undefined || peer.tags.has(name) || peer.tags.size < this.#limits.maxTags) {
          this.#hear(key, ({ tags }) => tags.set(name, made))
        }
        return undefined
      }
      case "untag":
        this.#peers.get(key)?.tags.delete(`${op.ports.length}`)
        this.#expire()
        return undefined
      case "metadata":
        this.#hear(key, ({ metadata }) => metadata.set(`${op.ports.length}`, op.value))
        return undefined
    }
  }

  /** Everything that is known, to be compared. */
  snapshot(): ReadonlyArray<Snapshot> {
    return [...this.#peers]
      .toSorted(([, a], [, b]) => b.heard - a.heard)
      .map(([peer, { addresses, metadata, protocols, record, tags }]) => ({
        peer,
        addresses: addresses.map(({ confidence, expiresAt, port }) => `${port} ${confidence} ${expiresAt}`),
        protocols,
        tags: [...tags].map(([name, tag]) => `${name}=${(this.#tagValue(tag) ?? 0).toFixed(6)}`).toSorted(),
        metadata: [...metadata].map(([name, value]) => `${name}=${value}`).toSorted(),
        sequence: record !== undefined && record.expiresAt > this.now ? record.sequence : undefined
      }))
  }
}

export interface Snapshot {
  readonly peer: number
  readonly addresses: ReadonlyArray<string>
  readonly protocols: ReadonlyArray<string>
  readonly tags: ReadonlyArray<string>
  readonly metadata: ReadonlyArray<string>
  readonly sequence: number | undefined
}

/** The ports of the addresses of the record with a sequence number. */
export const recordPorts = (sequence: number): ReadonlyArray<number> =>
  [1, 2, 3].filter((bit) => (sequence >> (bit - 1)) & 1).map((bit) => 2 * bit)
