/**
 * The trace of a simulation: everything that happened, as data. Its hash tells
 * whether two runs were the same; the last events are kept for people.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Bytes from "../../data/Bytes.ts"

/** One thing that happened. */
export interface TraceEvent {
  /** Milliseconds of virtual time. */
  readonly at: number
  /** The node it happened at; empty for the network and the faults. */
  readonly node: string
  /** What kind of thing, such as `net.connect`, `fault.partition`, `actor.started`, `app.note`. */
  readonly kind: string
  /** The rest, in words that are the same in every run. */
  readonly detail: string
}

const escape = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t")
const unescape = (text: string): string =>
  text.replaceAll(/\\([\\nt])/g, (_, code: string) => (code === "n" ? "\n" : code === "t" ? "\t" : "\\"))

/** One line, tab-separated: time in ms with three decimals, node, kind, detail. */
export const formatEvent = (event: TraceEvent): string =>
  `${event.at.toFixed(3)}\t${escape(event.node)}\t${event.kind}\t${escape(event.detail)}`

/** Reads a line that {@link formatEvent} wrote; `undefined` if it did not. */
export const parseEvent = (line: string): TraceEvent | undefined => {
  const [at, node, kind, detail, ...more] = line.split("\t")
  if (at === undefined || node === undefined || kind === undefined || detail === undefined || more.length > 0)
    return undefined
  if (!/^\d+\.\d{3}$/.test(at)) return undefined
  return { at: Number(at), node: unescape(node), kind, detail: unescape(detail) }
}

/** Bytes of text that are hashed at once. */
const blockSize = 16 * 1024

export interface TraceOptions {
  /** Events kept; older ones are only hashed. Default 10,000. */
  readonly keep?: number | undefined
  /** Gets every event, for a file. */
  readonly sink?: ((event: TraceEvent) => void) | undefined
}

export class Trace {
  /** Events so far. */
  count = 0
  private readonly keep: number
  private readonly sink: ((event: TraceEvent) => void) | undefined
  private readonly digest = sha256.create()
  private kept: Array<TraceEvent> = []
  private block = ""

  constructor(options?: TraceOptions) {
    this.keep = options?.keep ?? 10_000
    this.sink = options?.sink
  }

  add(event: TraceEvent): void {
    this.count++
    this.block += `${formatEvent(event)}\n`
    if (this.block.length >= blockSize) this.hashBlock()
    this.kept.push(event)
    if (this.kept.length >= 2 * this.keep) this.kept = this.kept.slice(-this.keep)
    this.sink?.(event)
  }

  /** The latest events, oldest first. */
  get latest(): ReadonlyArray<TraceEvent> {
    return this.kept.slice(-this.keep)
  }

  /** Of all events so far; 64 hexadecimal digits. */
  hash(): string {
    this.hashBlock()
    return Bytes.toHex(this.digest.clone().digest())
  }

  private hashBlock(): void {
    this.digest.update(Bytes.fromUtf8(this.block))
    this.block = ""
  }
}

/** Where two traces part: the number of events in common, and the first that differ. */
export interface Difference {
  readonly common: number
  readonly left: TraceEvent | undefined
  readonly right: TraceEvent | undefined
}

/** `undefined` for the same trace. */
export const diff = (left: ReadonlyArray<TraceEvent>, right: ReadonlyArray<TraceEvent>): Difference | undefined => {
  const length = Math.max(left.length, right.length)
  for (let i = 0; i < length; i++) {
    const a = left[i]
    const b = right[i]
    if (a === undefined || b === undefined || formatEvent(a) !== formatEvent(b)) return { common: i, left: a, right: b }
  }
  return undefined
}
