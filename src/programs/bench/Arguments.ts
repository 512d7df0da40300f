/** What is given on the command line. */
import { parseArgs } from "node:util"

export interface Options {
  /** None is all the usual ones. */
  readonly names: ReadonlyArray<string>
  readonly peers: ReadonlyArray<string>
  readonly quick: boolean
  readonly rounds: number | undefined
  readonly out: string | undefined
  readonly svg: string | undefined
  readonly readme: boolean
  readonly compare: string | undefined
  readonly from: string | undefined
}

export type Parsed =
  | { readonly _tag: "Help" }
  | { readonly _tag: "Wrong"; readonly detail: string }
  | { readonly _tag: "Run"; readonly options: Options }

export const usage = (
  benchmarks: ReadonlyArray<{ readonly name: string; readonly unit: string; readonly about: string }>
): string => `Usage: npm run bench -- [NAME...] [flags]

Measures this library beside js-libp2p, go-libp2p and rust-libp2p. Without a name, all but those of
whole networks: \`dht\` is all of a DHT, \`lan\` all of a local network.

  --quick          two minutes, beside js-libp2p alone
  --peer STACK     only beside this one (js, go, rust); may be repeated
  --rounds N       in place of 5, or 3 with --quick
  --out FILE       also as JSON
  --svg FILE       also as a chart
  --readme         also into README.md
  --compare FILE   exit code 1 if a ratio is worse than in this JSON, beyond what the spread explains
  --from FILE      does not measure, but takes this JSON

${benchmarks.map(({ about, name, unit }) => `  ${name.padEnd(22)}${unit.padEnd(10)}${about}`).join("\n")}
`

const options = {
  help: { type: "boolean", short: "h", default: false },
  quick: { type: "boolean", default: false },
  rounds: { type: "string" },
  peer: { type: "string", multiple: true },
  out: { type: "string" },
  svg: { type: "string" },
  readme: { type: "boolean", default: false },
  compare: { type: "string" },
  from: { type: "string" }
} as const

const wrong = (detail: string): Parsed => ({ _tag: "Wrong", detail })

const read = (args: ReadonlyArray<string>) => {
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options })
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

export const parse = (
  args: ReadonlyArray<string>,
  names: ReadonlyArray<string>,
  peers: ReadonlyArray<string>
): Parsed => {
  const parsed = read(args)
  if (typeof parsed === "string") return wrong(parsed)
  const { positionals, values } = parsed
  if (values.help) return { _tag: "Help" }
  const unknown = positionals.find((name) => !names.includes(name))
  if (unknown !== undefined) return wrong(`There is no benchmark "${unknown}".`)
  const stranger = values.peer?.find((name) => !peers.includes(name))
  if (stranger !== undefined) return wrong(`There is no peer "${stranger}"; there are ${peers.join(", ")}.`)
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds)
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds >= 1 && rounds <= 1000)) {
    return wrong(`--rounds ${values.rounds}: a whole number from 1 to 1000 is needed.`)
  }
  const { compare, from, out, quick, readme, svg } = values
  const given = values.peer ?? (quick ? ["js"] : peers)
  return { _tag: "Run", options: { names: positionals, peers: given, quick, rounds, out, svg, readme, compare, from } }
}
