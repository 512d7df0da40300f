/** Results for people: on a terminal, and as Markdown. */
import type { Report, Row } from "./Report.ts"
import { ratioOf, type Statistics } from "./Statistics.ts"

/** Three significant digits, and no exponent. */
export const number = (value: number): string => {
  if (!Number.isFinite(value)) return "-"
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)))
}

const cell = ({ max, median, min }: Statistics): string =>
  min === max ? number(median) : `${number(median)} (${number(min)}–${number(max)})`

const times = (ratio: number | undefined): string => (ratio === undefined ? "-" : `${number(ratio)}x`)

/** The peers that any row has. */
export const peersOf = (rows: ReadonlyArray<Row>): ReadonlyArray<string> => [
  ...new Set(rows.flatMap(({ peers }) => Object.keys(peers)))
]

/** A line a benchmark: the median, the least and the most of each side, and the ratios. */
const table = (rows: ReadonlyArray<Row>, peers: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> => [
  ["", "unit", "better", "ours", ...peers.flatMap((peer) => [peer, `ours to ${peer}`])],
  ...rows.map((row) => [
    row.name,
    row.unit,
    row.better,
    cell(row.ours),
    ...peers.flatMap((peer) => {
      const theirs = row.peers[peer]
      return theirs === undefined ? ["-", "-"] : [cell(theirs), times(row.ratios[peer])]
    })
  ])
]

const limitsTable = (rows: ReadonlyArray<Row>): ReadonlyArray<ReadonlyArray<string>> =>
  rows.flatMap(({ better, limits = {}, name, ours, unit }) =>
    Object.entries(limits).map(([limit, values]) => [
      name,
      unit,
      limit,
      cell(values),
      times(ratioOf(better, ours.median, values.median))
    ])
  )

const limitsHead = ["", "unit", "for context", "reaches", "ours to it"]

/** A table for a terminal. */
export const aligned = (lines: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map((line) =>
      line
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

/** The tables, for a terminal. */
export const render = (rows: ReadonlyArray<Row>): string => {
  const limits = limitsTable(rows)
  const main = aligned(table(rows, peersOf(rows)))
  return limits.length === 0 ? main : `${main}\n\n${aligned([limitsHead, ...limits])}`
}

/** Where, when and with what: what a figure is worth nothing without. */
export const circumstances = (report: Report): string => {
  const { date, effort, machine, minutes, skipped, versions } = report
  const also = Object.entries(skipped).map(([peer, reason]) => ` ${peer} was not measured: ${reason}.`)
  return (
    `Median (least–most) of ${effort.rounds} rounds in turns; a ratio is of medians, and above 1 ours is better. ` +
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}; ` +
    `load ${machine.loadBefore} before, ${machine.loadAfter} after; ${date}, ${number(minutes)} minutes. ` +
    `${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}; ours runs from built JavaScript.${also.join("")}`
  )
}

/** A table of Markdown, of which the first line is the head. */
export const markdown = (lines: ReadonlyArray<ReadonlyArray<string>>): string => {
  const [head = [], ...rest] = lines
  const widths = head.map((_, column) => Math.max(3, ...lines.map((line) => line[column]?.length ?? 0)))
  const line = (cells: ReadonlyArray<string>) =>
    `| ${cells.map((text, column) => text.padEnd(widths[column] ?? 0)).join(" | ")} |`
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rest.map(line)].join("\n")
}

const begin = "<!-- bench: written by npm run bench -- --readme -->"
const end = "<!-- /bench -->"

/** The text with these lines in place of what it has between two others; `undefined` if it has not both. */
export const replaceBetween = (
  text: string,
  begin: string,
  end: string,
  lines: ReadonlyArray<string>
): string | undefined => {
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from < 0 || to < from) return undefined
  return `${text.slice(0, from)}${[begin, "", ...lines, ""].join("\n")}\n${text.slice(to)}`
}

/** The text with the block of the benchmarks in place of the one it has; `undefined` if it has none. */
export const replaceBlock = (text: string, report: Report): string | undefined => {
  const limits = limitsTable(report.rows)
  return replaceBetween(text, begin, end, [
    markdown(table(report.rows, peersOf(report.rows))),
    "",
    ...(limits.length === 0 ? [] : [markdown([limitsHead, ...limits]), ""]),
    circumstances(report)
  ])
}
