/** The ratios as a picture: a bar a peer a row, on a logarithmic scale, with a line where both are the same. */
import type { Report } from "./Report.ts"
import { colours, document, escape, round } from "./Svg.ts"
import { number, peersOf } from "./Table.ts"

const left = 170
const plot = 520
const right = 90
const bar = 12
const gap = 10
const top = 56

/** An SVG document. */
export const chart = (report: Report): string => {
  const peers = peersOf(report.rows)
  const rows = report.rows.filter(({ ratios }) => Object.keys(ratios).length > 0)
  const ratios = rows.flatMap((row) => Object.values(row.ratios))
  const low = Math.floor(Math.log2(Math.min(0.5, ...ratios)))
  const high = Math.ceil(Math.log2(Math.max(2, ...ratios)))
  const at = (ratio: number) => left + ((Math.log2(ratio) - low) / (high - low)) * plot
  const parts: Array<string> = []
  const text = (x: number, y: number, value: string, extra = "") =>
    parts.push(`<text x="${round(x)}" y="${round(y)}"${extra}>${escape(value)}</text>`)

  let y = top + gap
  for (const row of rows) {
    const measured = peers.filter((peer) => row.ratios[peer] !== undefined)
    text(left - 8, y + (measured.length * bar) / 2 + 4, row.name, ' text-anchor="end"')
    for (const peer of measured) {
      const ratio = row.ratios[peer] ?? 1
      const [from, to] = [at(1), at(ratio)].toSorted((a, b) => a - b)
      const x = from ?? 0
      parts.push(
        `<rect x="${round(x)}" y="${y}" width="${round(Math.max(1, (to ?? 0) - x))}" height="${bar - 2}" fill="${
          colours[peers.indexOf(peer) % colours.length]
        }"/>`
      )
      text(Math.max(at(1), to ?? 0) + 4, y + bar - 3, `${number(ratio)}x`, ' font-size="10"')
      y += bar
    }
    y += gap
  }
  const height = y + 44
  const width = left + plot + right
  const grid: Array<string> = []
  for (let power = low; power <= high; power++) {
    const x = round(at(2 ** power))
    grid.push(
      `<line x1="${x}" y1="${top}" x2="${x}" y2="${y}" stroke="${power === 0 ? "#111827" : "#e5e7eb"}"/>`,
      `<text x="${x}" y="${y + 14}" text-anchor="middle" font-size="10">${2 ** power}x</text>`
    )
  }
  const legend = peers.map(
    (peer, index) =>
      `<rect x="${left + index * 130}" y="32" width="10" height="10" fill="${colours[index % colours.length]}"/>` +
      `<text x="${left + index * 130 + 14}" y="41">against ${escape(peer)}</text>`
  )
  const { machine } = report
  return document(width, height, [
    `<text x="${left}" y="20" font-size="14">effect-libp2p beside others: to the right of 1x it is better</text>`,
    ...legend,
    ...grid,
    ...parts,
    `<text x="${left}" y="${height - 10}" font-size="10">${escape(`${machine.cpu}, ${machine.cores} cores; ${report.date}`)}</text>`
  ])
}
