/**
 * Links: what happens to packets between two hosts. A path is one direction of
 * one link; it says when what is sent now arrives, whether it arrives at all,
 * and it knows the faults that were put on it.
 */
import type { Prng } from "../Prng.ts"

/** One direction between two hosts. All fields are optional; without any, packets take 1 ms. */
export interface LinkOptions {
  /** The time on the way: always the same, or `min` plus an exponential tail with this mean, cut at `max`. */
  readonly latencyMs?:
    | number
    | { readonly min: number; readonly mean: number; readonly max?: number | undefined }
    | undefined
  /** Payload bits; headers are not counted. Default: no limit. */
  readonly bitsPerSecond?: number | undefined
  /** Probability that a packet is lost. A stream is delayed by the retransmission; a datagram is gone. */
  readonly loss?: number | undefined
  /** Probability that a datagram arrives twice. */
  readonly duplicate?: number | undefined
  /** Probability that a datagram is delayed, by up to three times the latency, so that later ones overtake it. */
  readonly reorder?: number | undefined
  /** Datagrams with more bytes are dropped. Default: no limit but UDP's. */
  readonly mtu?: number | undefined
  /** Bytes that may wait for the bandwidth; datagrams beyond are dropped, streams wait. Default 256 KiB. */
  readonly queueBytes?: number | undefined
}

/** The least time before a lost packet of a stream is sent again. */
export const minRetransmitMs = 200
/** A stream whose data makes no progress for so long is given up. */
export const stallMs = 120_000
/** Payload of a packet of a stream, for the probability that one of a segment is lost. */
const packetBytes = 1460
const defaultQueueBytes = 256 * 1024

/** Something that lets so many bits pass in a second, in the order in which they come. */
export class Rate {
  /** When the first bit of what passed last went through. */
  began = 0
  private readonly bitsPerSecond: number
  private busyUntil = 0

  constructor(bitsPerSecond: number) {
    this.bitsPerSecond = bitsPerSecond
  }

  /** For bytes whose first bit comes at `begin` and whose last at `ready`: when the last has passed. */
  pass(bytes: number, begin: number, ready: number): number {
    this.began = Math.max(this.busyUntil, begin)
    this.busyUntil = this.began + (bytes * 8000) / this.bitsPerSecond
    return Math.max(ready, this.busyUntil)
  }

  /** Bytes that wait. */
  queued(now: number): number {
    return (Math.max(0, this.busyUntil - now) * this.bitsPerSecond) / 8000
  }
}

/** Who waits for a path to open. */
export interface Waiter {
  opened(path: Path | undefined): void
}

/** The end of a path: a host. */
export interface PathEnd {
  readonly name: string
  readonly uplink: Rate | undefined
}

export class Path {
  readonly from: PathEnd
  readonly to: PathEnd
  /** Nothing passes: a partition or an isolated host. */
  blocked = false
  /** Everything waits. */
  held = false
  /** A clog: more latency. */
  extraMs = 0
  /** Probability that a bit of a packet is flipped. */
  corruption = 0
  /** The time between the first and the last bit of what departed last. */
  spread = 0
  /** Called, once, when the path opens; in the order of their coming. */
  readonly waiting = new Set<Waiter>()
  private readonly random: Prng
  private options: LinkOptions = {}
  private rate: Rate | undefined

  constructor(from: PathEnd, to: PathEnd, random: Prng, link: LinkOptions) {
    this.from = from
    this.to = to
    this.random = random
    this.setLink(link)
  }

  get link(): LinkOptions {
    return this.options
  }

  setLink(link: LinkOptions): void {
    if (link.bitsPerSecond !== this.options.bitsPerSecond) {
      this.rate = link.bitsPerSecond === undefined ? undefined : new Rate(link.bitsPerSecond)
    }
    this.options = link
  }

  get stopped(): boolean {
    return this.blocked || this.held
  }

  /** Tells those who wait, if the path is open now. */
  openIfClear(): void {
    if (this.stopped || this.waiting.size === 0) return
    const waiting = [...this.waiting]
    this.waiting.clear()
    for (const waiter of waiting) waiter.opened(this)
  }

  /** The usual latency. */
  get meanMs(): number {
    const latency = this.options.latencyMs ?? 1
    return (typeof latency === "number" ? latency : latency.mean) + this.extraMs
  }

  /** The latency of one packet. */
  sampleMs(): number {
    const latency = this.options.latencyMs ?? 1
    if (typeof latency === "number") return latency + this.extraMs
    const scale = Math.max(0, latency.mean - latency.min)
    const tail = -Math.log(1 - this.random.nextDoubleUnsafe()) * scale
    return Math.min(latency.min + tail, latency.max ?? latency.mean + 10 * scale) + this.extraMs
  }

  /** When the last bit of something that is sent now arrives. */
  depart(bytes: number, now: number): number {
    let begin = now
    let ready = now
    const { uplink } = this.from
    if (uplink !== undefined && this.from !== this.to) {
      ready = uplink.pass(bytes, begin, ready)
      begin = uplink.began
    }
    if (this.rate !== undefined) {
      ready = this.rate.pass(bytes, begin, ready)
      begin = this.rate.began
    }
    this.spread = ready - begin
    return ready + this.sampleMs()
  }

  /** False if so many more bytes do not fit into the queue. */
  fits(bytes: number, now: number): boolean {
    const queued = Math.max(this.rate?.queued(now) ?? 0, this.from.uplink?.queued(now) ?? 0)
    return queued === 0 || queued + bytes <= (this.options.queueBytes ?? defaultQueueBytes)
  }

  /** How often a segment of a stream is lost before it gets through. */
  losses(bytes: number): number {
    const loss = this.options.loss ?? 0
    if (loss <= 0) return 0
    // Of a large segment any packet can be lost; only that one is sent again.
    const packets = Math.max(1, Math.ceil(bytes / packetBytes))
    if (!this.random.chance(1 - (1 - loss) ** packets)) return 0
    let losses = 1
    // After ten doublings the stream has been given up.
    while (losses < 10 && this.random.chance(loss)) losses++
    return losses
  }

  get losesDatagram(): boolean {
    const loss = this.options.loss ?? 0
    return loss > 0 && this.random.chance(loss)
  }

  get duplicatesDatagram(): boolean {
    const duplicate = this.options.duplicate ?? 0
    return duplicate > 0 && this.random.chance(duplicate)
  }

  /** More latency for a datagram that others overtake; mostly 0. */
  reorderMs(): number {
    const reorder = this.options.reorder ?? 0
    if (reorder <= 0 || !this.random.chance(reorder)) return 0
    return Math.max(1, this.meanMs) * 3 * this.random.nextDoubleUnsafe()
  }

  /** Flips a bit of `bytes`, if its probability will have it. */
  corrupt(bytes: Uint8Array): boolean {
    if (this.corruption <= 0 || bytes.length === 0 || !this.random.chance(this.corruption)) return false
    const bit = this.random.below(bytes.length * 8)
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    return true
  }
}

/** When a sender whose packet was lost at `since` tries again, at `now` or later: the interval doubles each time. */
export const nextRetry = (since: number, now: number, retransmitMs: number): number => {
  let at = since
  for (let interval = retransmitMs; at < now || at === since; interval *= 2) at += interval
  return at
}
