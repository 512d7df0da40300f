/** Limits and their use as text for people, who may read it at night and in a hurry. */
import type { Machine } from "../../services/Machine.ts"
import type { Limits, PlaceLimits, ScopeLimits, Usage } from "../../services/ResourceManager.ts"
import * as Scopes from "../../layers/observability/Scopes.ts"

// ---- numbers and columns

const units = ["KiB", "MiB", "GiB", "TiB"] as const

/** `512 B`, `64 MiB`, `1.5 GiB`. */
export const bytes = (count: number): string => {
  let value = count
  let unit = "B"
  for (const next of units) {
    if (value < 1024) break
    value /= 1024
    unit = next
  }
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${unit}`
}

/** `12,500`. */
export const count = (value: number): string =>
  (Number.isInteger(value) ? String(value) : value.toFixed(1)).replaceAll(/\B(?=(\d{3})+(?!\d))/g, ",")

const amount = (resource: string, value: number): string => (resource === "memory" ? bytes(value) : count(value))

type Cell = string
/** Text columns to the left, numbers to the right. */
type Side = "left" | "right"

const columns = (rows: ReadonlyArray<ReadonlyArray<Cell>>, sides: ReadonlyArray<Side>): ReadonlyArray<string> => {
  const widths = sides.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)))
  return rows.map((row) =>
    row
      .map((cell, column) =>
        sides[column] === "right" ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)
      )
      .join("  ")
      .trimEnd()
  )
}

// ---- the limits of a machine

const scopeRow = (name: string, limits: Partial<ScopeLimits>): ReadonlyArray<Cell> => {
  const cell = (value: number | undefined) => (value === undefined ? "" : count(value))
  return [
    name,
    cell(limits.connections),
    cell(limits.connectionsInbound),
    cell(limits.connectionsOutbound),
    cell(limits.streams),
    cell(limits.streamsInbound),
    cell(limits.streamsOutbound),
    limits.memory === undefined ? "" : bytes(limits.memory)
  ]
}

const placeRow = (name: string, limits: PlaceLimits): ReadonlyArray<Cell> => [
  name,
  count(limits.connections),
  count(limits.pending),
  count(limits.ratePerSecond),
  count(limits.burst)
]

const named = (kind: string, table: Readonly<Record<string, Partial<ScopeLimits>>>) =>
  Object.entries(table).map(([name, limits]) => scopeRow(`${kind} ${name}`, limits))

/** Every limit of a node on `machine`. */
export const ofMachine = (machine: Machine, limits: Limits): string => {
  const right: ReadonlyArray<Side> = ["right", "right", "right", "right", "right", "right", "right"]
  const scopes = columns(
    [
      ["", "connections", "inbound", "outbound", "streams", "inbound", "outbound", "memory"],
      scopeRow("the whole node", limits.system),
      scopeRow("transient (peer or protocol not known yet)", limits.transient),
      scopeRow("each peer", limits.peer),
      scopeRow("each connection", limits.connection),
      scopeRow("each protocol", limits.protocol),
      scopeRow("each protocol of one peer", limits.protocolOfPeer),
      scopeRow("each service", limits.service),
      scopeRow("each service of one peer", limits.serviceOfPeer),
      ...named("peer", limits.peers),
      ...named("protocol", limits.protocols),
      ...named("service", limits.services)
    ],
    ["left", ...right]
  )
  const places = columns(
    [
      ["inbound connections from", "open", "unfinished", "a second", "at once"],
      placeRow("one address (of IPv6, one /64)", limits.address),
      placeRow("one subnet (/24; of IPv6, /48)", limits.subnet)
    ],
    ["left", ...right]
  )
  return [
    `Limits of a node on this machine: ${bytes(machine.memory)} of memory, ${count(machine.files)} open files.`,
    "",
    ...scopes,
    "",
    ...places,
    `not counted by place: ${limits.exempt.length === 0 ? "none" : limits.exempt.join(", ")}`,
    "",
    'Change them with "limits" in the configuration file, or --limits FILE. For a running node: --of URL.'
  ].join("\n")
}

// ---- the use of a running node

/** How to mark a row; the identity where there is no colour. */
export interface Colours {
  readonly bad: (text: string) => string
  readonly near: (text: string) => string
}

const paint = (code: number) => (text: string) => `\u001b[${code}m${text}\u001b[0m`
const noPaint = (text: string) => text

/** Colour only for a terminal, and for people who have not said that they want none. */
export const colours = (
  stream: { readonly isTTY?: boolean | undefined },
  env: Readonly<Record<string, string | undefined>>
): Colours =>
  stream.isTTY === true && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb"
    ? { bad: paint(31), near: paint(33) }
    : { bad: noPaint, near: noPaint }

/** From this share of a limit on, it is worth a look. */
const nearly = 0.8
/** Rows of scopes other than system and transient. */
const maxRows = 40

/** The ends of a peer id are enough for people; `--json` has it whole. */
const short = (scope: string): string =>
  scope.replaceAll(/\b(?:12D3KooW|Qm|16Uiu2)[1-9A-HJ-NP-Za-km-z]{30,}/g, (id) => `${id.slice(0, 8)}…${id.slice(-6)}`)

const share = ({ current, limit }: Usage): number => (limit === 0 ? (current === 0 ? 0 : 1) : current / limit)

const isOverall = ({ scope }: Usage): boolean => scope === "system" || scope === "transient"

/** What the last column says. */
const remark = (row: Usage): string => {
  if (row.current >= row.limit && row.limit > 0) return "full"
  if (share(row) >= nearly) return "nearly full"
  return row.refused > 0 ? "has refused" : ""
}

const line = (row: Usage): ReadonlyArray<Cell> => [
  Scopes.isEnded(row.scope) ? `${Scopes.parse(row.scope).kind}, those that ended` : short(row.scope),
  row.resource,
  amount(row.resource, row.current),
  amount(row.resource, row.limit),
  `${Math.floor(share(row) * 100)}%`,
  amount(row.resource, row.peak),
  count(row.refused),
  remark(row)
]

const summary = (usage: ReadonlyArray<Usage>): string => {
  const full = usage.filter((row) => remark(row) === "full").length
  const close = usage.filter((row) => remark(row) === "nearly full").length
  const refused = usage.reduce((sum, row) => sum + row.refused, 0)
  const now =
    full + close === 0
      ? "No limit is near."
      : [...(full > 0 ? [`${full} full`] : []), ...(close > 0 ? [`${close} nearly full`] : [])].join(", ").concat(".")
  return `${now} ${refused === 0 ? "Nothing was refused since the start." : `${count(refused)} refused since the start.`}`
}

/** The limits that are in use, or have refused; the fullest come first below those of the whole node. */
export const ofNode = (peer: string, at: string, usage: ReadonlyArray<Usage>, { bad, near }: Colours): string => {
  const used = usage.filter((row) => row.current > 0 || row.refused > 0 || row.peak > 0 || isOverall(row))
  const overall = used.filter(isOverall)
  const others = used
    .filter((row) => !isOverall(row))
    .toSorted((a, b) => share(b) - share(a) || b.refused - a.refused || (a.scope < b.scope ? -1 : 1))
  const shownRows = [...overall, ...others.slice(0, maxRows)]
  const [head = "", ...lines] = columns(
    [["scope", "resource", "in use", "limit", "", "peak", "refused", ""], ...shownRows.map(line)],
    ["left", "left", "right", "right", "right", "right", "right", "left"]
  )
  const left = others.length - maxRows
  return [
    `Limits of ${peer} at ${at}, and what is in use now.`,
    summary(usage),
    "",
    head,
    ...lines.map((text, index) => {
      const row = shownRows[index]
      const said = row === undefined ? "" : remark(row)
      return said === "full" ? bad(text) : said === "" ? text : near(text)
    }),
    ...(left > 0 ? [`… and ${count(left)} more, less full; --json shows all`] : [])
  ].join("\n")
}
