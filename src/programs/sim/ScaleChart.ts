/** Hops, messages and memory of a DHT against the number of its nodes: three drawings beside each other. */
import { colours, document, escape, round } from "../bench/Svg.ts"
import { number } from "../bench/Table.ts"

const width = 300
const height = 240
const margin = { left: 56, right: 24, top: 64, bottom: 56 }

/** What was measured with so many nodes. */
export interface Row {
  readonly nodes: number
  readonly wallMs: number
  readonly peakMiB: number
  readonly figures: Readonly<Record<string, number>>
}

/** A line of a drawing. */
interface Line {
  readonly name: string
  readonly value: (row: Row) => number | undefined
  /** What it should stay below, rather than what was measured. */
  readonly bound?: boolean | undefined
}

interface Drawing {
  readonly title: string
  readonly lines: ReadonlyArray<Line>
}

const figure =
  (name: string) =>
  ({ figures }: Row) =>
    figures[name]

const drawings: ReadonlyArray<Drawing> = [
  {
    title: "hops of a lookup",
    lines: [
      { name: "median", value: figure("hops, median") },
      { name: "of 95 %", value: figure("hops, of 95 %") },
      { name: "log2(n)", value: ({ nodes }) => Math.log2(nodes), bound: true }
    ]
  },
  {
    title: "messages of a lookup",
    lines: [
      { name: "median", value: figure("messages a lookup, median") },
      { name: "of 95 %", value: figure("messages a lookup, of 95 %") }
    ]
  },
  {
    title: "memory, KiB a node",
    lines: [
      { name: "at rest", value: figure("KiB a node, before") },
      { name: "after all questions", value: figure("KiB a node, after") }
    ]
  }
]

/** The least of 1, 2, 5, 10, 20, ... times a power of ten of which at most five make up the most. */
const stepFor = (most: number): number => {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1e-9) / 5))
  return [1, 2, 5, 10].map((times) => times * power).find((step) => 5 * step >= most) ?? 10 * power
}

const draw = ({ lines, title }: Drawing, rows: ReadonlyArray<Row>, left: number): ReadonlyArray<string> => {
  const sizes = rows.map(({ nodes }) => Math.log10(nodes))
  const [low, high] = [Math.min(...sizes), Math.max(...sizes)]
  const step = stepFor(Math.max(...lines.flatMap(({ value }) => rows.map((row) => value(row) ?? 0))))
  const most = 5 * step
  const x = (nodes: number) => left + (high > low ? ((Math.log10(nodes) - low) / (high - low)) * width : width / 2)
  const y = (value: number) => margin.top + height - (value / most) * height
  const text = (at: number, down: number, value: string, extra = "") =>
    `<text x="${round(at)}" y="${round(down)}"${extra}>${escape(value)}</text>`
  const parts: Array<string> = [text(left, margin.top - 32, title, ' font-size="14"')]
  for (let i = 0; i <= 5; i++) {
    const at = round(y(i * step))
    parts.push(
      `<line x1="${left}" y1="${at}" x2="${left + width}" y2="${at}" stroke="${i === 0 ? "#111827" : "#e5e7eb"}"/>`,
      text(left - 6, y(i * step) + 4, number(i * step), ' text-anchor="end" font-size="10"')
    )
  }
  for (const { nodes } of rows) {
    parts.push(text(x(nodes), margin.top + height + 16, number(nodes), ' text-anchor="middle" font-size="10"'))
  }
  lines.forEach(({ bound, name, value }, index) => {
    const colour = bound === true ? "#6b7280" : colours[index % colours.length]
    const points = rows.flatMap((row) => {
      const measured = value(row)
      return measured === undefined ? [] : [{ at: x(row.nodes), down: y(measured) }]
    })
    const path = points.map(({ at, down }) => `${round(at)},${round(down)}`).join(" ")
    const dash = bound === true ? ' stroke-dasharray="4 4"' : ""
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`)
    if (bound !== true) {
      for (const { at, down } of points) {
        parts.push(`<circle cx="${round(at)}" cy="${round(down)}" r="3" fill="${colour}"/>`)
      }
    }
    const key = left + index * 96
    parts.push(
      `<line x1="${key}" y1="${margin.top - 16}" x2="${key + 14}" y2="${margin.top - 16}" stroke="${colour}" stroke-width="2"${dash}/>`,
      text(key + 18, margin.top - 12, name, ' font-size="10"')
    )
  })
  parts.push(text(left + width / 2, margin.top + height + 34, "nodes", ' text-anchor="middle" font-size="10"'))
  return parts
}

/** An SVG document. */
export const chart = (rows: ReadonlyArray<Row>, circumstances: string): string => {
  const each = margin.left + width + margin.right
  const all = margin.top + height + margin.bottom
  return document(each * drawings.length, all, [
    ...drawings.flatMap((drawing, index) => draw(drawing, rows, index * each + margin.left)),
    `<text x="${margin.left}" y="${all - 6}" font-size="10">${escape(circumstances)}</text>`
  ])
}
