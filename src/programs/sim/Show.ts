/** `effect-libp2p sim show`: a trace for people, filtered; and where two part. */
import { createReadStream } from "node:fs"
import { createInterface } from "node:readline"
import { diff, parseEvent, type TraceEvent } from "../../layers/simulation/Trace.ts"

export interface Filter {
  readonly node: string | undefined
  /** A peer, by its node's name or a part of its id or address. */
  readonly peer: string | undefined
  /** A part of the kind or of the detail, such as `fault`, `echo` or `/ipfs/ping`. */
  readonly protocol: string | undefined
  readonly fromMs: number
  readonly toMs: number
}

const matches = (event: TraceEvent, filter: Filter): boolean =>
  event.at >= filter.fromMs &&
  event.at <= filter.toMs &&
  (filter.node === undefined || event.node === filter.node || event.kind.startsWith("fault.")) &&
  (filter.peer === undefined || event.detail.includes(filter.peer)) &&
  (filter.protocol === undefined || event.kind.includes(filter.protocol) || event.detail.includes(filter.protocol))

/** Virtual time as hours, minutes, seconds and milliseconds. */
const clock = (at: number): string => {
  const ms = Math.floor(at)
  const two = (n: number) => String(n).padStart(2, "0")
  return `${two(Math.floor(ms / 3_600_000))}:${two(Math.floor(ms / 60_000) % 60)}:${two(Math.floor(ms / 1000) % 60)}.${String(ms % 1000).padStart(3, "0")}`
}

/** One event, in columns. */
const line = ({ at, detail, kind, node }: TraceEvent): string =>
  `${clock(at)}  ${node.padEnd(6)} ${kind.padEnd(18)} ${detail.replaceAll("\n", " ")}`

/** The events of a trace file; lines that are none are an error that names them. */
async function* read(file: string): AsyncGenerator<TraceEvent, void> {
  let number = 0
  for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
    number++
    const event = parseEvent(text)
    if (event === undefined) throw new Error(`${file}, line ${number}, is not of a trace`)
    yield event
  }
}

/** Prints the events that pass the filter; gives how many did. */
export const show = async (file: string, filter: Filter, print: (text: string) => void): Promise<number> => {
  let shown = 0
  for await (const event of read(file)) {
    if (!matches(event, filter)) continue
    shown++
    print(line(event))
  }
  return shown
}

/** Says where two traces part, with what came just before. */
export const compare = async (left: string, right: string, print: (text: string) => void): Promise<boolean> => {
  const all = async (file: string) => {
    const events: Array<TraceEvent> = []
    for await (const event of read(file)) events.push(event)
    return events
  }
  const a = await all(left)
  const b = await all(right)
  const difference = diff(a, b)
  if (difference === undefined) {
    print(`the same ${a.length} events`)
    return true
  }
  print(`the first ${difference.common} events are the same; the last of them:`)
  for (const event of a.slice(Math.max(0, difference.common - 5), difference.common)) print(`  ${line(event)}`)
  print(`${left}:\n  ${difference.left === undefined ? "ends" : line(difference.left)}`)
  print(`${right}:\n  ${difference.right === undefined ? "ends" : line(difference.right)}`)
  return false
}
