/** The page on errors names every error that a user can meet, and none that does not exist. */
import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { scenarios } from "../src/programs/sim/Scenario.ts"

const root = join(import.meta.dirname, "..")
const sources = ["src/data", "src/services", "src/layers/resources"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(join(root, folder, file), "utf8"))
)
const page = readFileSync(join(root, "docs/errors.md"), "utf8")

describe("docs/errors.md", () => {
  const defined = new Set(
    sources.flatMap((source) =>
      [...source.matchAll(/class (\w+) extends Schema\.Tagged(?:Error|Class)|TaggedStruct\("(\w+)"/g)].map(
        (match) => match[1] ?? match[2] ?? ""
      )
    )
  )
  const named = new Set([
    ...[...page.matchAll(/^\| `(\w+)`/gm)].map((match) => match[1] ?? ""),
    ...[...page.matchAll(/`([A-Z][a-z]+\w*[A-Z]\w*|Denied|Unreachable|Unsupported)`/g)].map((match) => match[1] ?? ""),
    ...[...page.matchAll(/^## (\w+)(?: and (\w+))?/gm)].flatMap((match) => [match[1] ?? "", match[2] ?? ""])
  ])

  it("names every error and reason", () => {
    assert.deepStrictEqual(
      [...defined].filter((name) => !named.has(name)),
      []
    )
  })

  it("names none that does not exist", () => {
    const services = sources.flatMap((source) =>
      [...source.matchAll(/class (\w+) extends Context\.Service/g)].map((match) => match[1] ?? "")
    )
    const rest = ["Error", "ConnectionGater", "InboundFailed", "Errors", "Values", "", ...services]
    assert.deepStrictEqual(
      [...named].filter((name) => /^[A-Z]/.test(name) && !defined.has(name) && !rest.includes(name)),
      []
    )
  })
})

describe("sim --help", () => {
  it("names every scenario", () => {
    const help = readFileSync(join(root, "src/programs/cli/SimCommands.ts"), "utf8")
    const named = /withDescription\(\s*"(chat[^"]*?)(?: \([^"]*\))?"\s*\)/.exec(help)?.[1]?.split(/, | or /)
    assert.deepStrictEqual(
      named,
      scenarios.map(({ name }) => name)
    )
  })
})
