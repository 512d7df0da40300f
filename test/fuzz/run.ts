/**
 * Fuzzes the decoders that remotes can reach.
 *
 *   npm run fuzz                          each for ten seconds of CPU
 *   npm run fuzz -- --for 10m yamux       one, for ten minutes
 *   npm run fuzz -- --seed 7 --keep       keeps inputs that led to something new in test/fuzz/corpus
 *
 * An input that breaks a property is written to reports/, and named with the
 * seed that leads to it. `npm test` replays the corpus.
 */
import { createHash } from "node:crypto"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { Prng } from "../../src/layers/simulation/Prng.ts"
import { corpusOf } from "./Corpus.ts"
import { mutate } from "./Mutate.ts"
import { type Target, targets } from "./Targets.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    for: { type: "string", default: "10s" },
    seed: { type: "string", default: "1" },
    keep: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const say = (text: string) => process.stderr.write(`${text}\n`)
const fail = (text: string): never => {
  say(text)
  process.exit(2)
}

if (values.help) {
  console.log(
    "npm run fuzz -- [--for 10s|5m] [--seed N] [--keep] [--list] [TARGET...]\n\n" +
      "  --for    CPU time for each target (default 10s)\n" +
      "  --seed   where the random mutations start from (default 1)\n" +
      "  --keep   write inputs with a new outcome to test/fuzz/corpus\n" +
      "  --list   print the targets"
  )
  process.exit(0)
}
if (values.list) {
  console.log(targets.map(({ name }) => name).join("\n"))
  process.exit(0)
}

const [, digits, unit] = /^(\d+)(s|m)$/.exec(values.for) ?? fail(`--for ${values.for}: give a time such as 10s or 5m`)
const budgetMs = Number(digits) * (unit === "m" ? 60_000 : 1000)
const unknown = positionals.find((name) => !targets.some((target) => target.name === name))
if (unknown !== undefined)
  fail(`there is no target ${unknown}; there are ${targets.map(({ name }) => name).join(", ")}`)
const chosen = targets.filter(({ name }) => positionals.length === 0 || positionals.includes(name))

const reports = join(dirname(fileURLToPath(import.meta.url)), "../../reports")
const corpus = join(dirname(fileURLToPath(import.meta.url)), "corpus")
const nameOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex").slice(0, 16)

/** One input must not hold up a node for longer than this. */
const slowMs = 250
/** Inputs that are mutated further; and how many, and of what size, are kept on disk. */
const maxPool = 400
const maxKept = 64
const maxKeptSize = 4096

const cpuMs = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1000
}

const fuzz = (target: Target): boolean => {
  const random = new Prng(`fuzz ${values.seed} ${target.name}`)
  const pool: Array<Uint8Array> = [...target.seeds, ...corpusOf(target.name)]
  let kept = pool.length - target.seeds.length
  const outcomes = new Map<string, number>()
  const broken = (input: Uint8Array, why: string): false => {
    mkdirSync(reports, { recursive: true })
    const file = join(reports, `fuzz-${target.name}-${nameOf(input)}.bin`)
    writeFileSync(file, input)
    say(`FAILED ${target.name}: ${why}\n       input in ${file}, seed ${values.seed}`)
    return false
  }
  for (const input of pool) outcomes.set(target.run(input), input.length)
  const known = outcomes.size
  const began = cpuMs()
  let told = performance.now()
  let count = 0
  let slowest = 0
  for (;;) {
    // The clock is not read for each input.
    if (count % 64 === 0) {
      if (cpuMs() - began >= budgetMs) break
      if (performance.now() - told > 5000) {
        told = performance.now()
        say(
          `       ${target.name}: ${count} inputs, ${outcomes.size} outcomes, ${Math.round((cpuMs() - began) / 1000)} s of CPU`
        )
      }
    }
    count++
    const from = pool[random.below(pool.length)] ?? new Uint8Array(0)
    const other = pool[random.below(pool.length)] ?? new Uint8Array(0)
    const input = mutate(random, target.grammar, from, other)
    const before = performance.now()
    let outcome: string
    try {
      outcome = target.run(input)
    } catch (error) {
      return broken(input, error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
    let tookMs = performance.now() - before
    if (tookMs > slowMs) {
      // The machine may have been busy: what is slow is slow again, by its own CPU time.
      tookMs = Math.min(
        ...[1, 2, 3].map(() => {
          const again = cpuMs()
          target.run(input)
          return cpuMs() - again
        })
      )
      if (tookMs > slowMs) return broken(input, `${Math.round(tookMs)} ms of CPU for ${input.length} bytes`)
    }
    slowest = Math.max(slowest, tookMs)
    if (!outcomes.has(outcome) && pool.length < maxPool) {
      outcomes.set(outcome, input.length)
      pool.push(input)
      if (values.keep && kept < maxKept && input.length <= maxKeptSize) {
        kept++
        mkdirSync(join(corpus, target.name), { recursive: true })
        writeFileSync(join(corpus, target.name, `${nameOf(input)}.bin`), input)
      }
    }
  }
  say(
    `ok     ${target.name.padEnd(22)} ${String(count).padStart(9)} inputs, ${outcomes.size} outcomes (${outcomes.size - known} new), slowest ${slowest.toFixed(1)} ms`
  )
  return true
}

let failed = 0
for (const target of chosen) if (!fuzz(target)) failed++
console.log(`${chosen.length - failed} targets ok, ${failed} failed, ${values.for} of CPU each, seed ${values.seed}`)
process.exitCode = failed === 0 ? 0 : 1
