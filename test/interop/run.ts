/**
 * Real peers: programs on go-libp2p, rust-libp2p and js-libp2p dial this
 * library and are dialled by it. Prints a table, writes JSON, and exits with 1
 * if a cell fails. See README.md beside this file.
 *
 *   npm run interop                 everything that has its toolchain
 *   npm run interop -- --stack go   one stack; likewise --test ping, --security tls, --muxer mplex
 *   npm run interop -- --security psk   the private networks alone
 *   INTEROP_REQUIRE=go,rust,js      a missing toolchain is a failure
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import {
  build,
  command,
  hasToolchain,
  ours,
  progress,
  required,
  securities,
  type Stack,
  stacks,
  versionOf
} from "./Stacks.ts"

const here = dirname(fileURLToPath(import.meta.url))

const { values } = parseArgs({
  options: {
    stack: { type: "string", multiple: true },
    test: { type: "string", multiple: true },
    security: { type: "string", multiple: true },
    muxer: { type: "string", multiple: true },
    out: { type: "string", default: join(here, "../../reports/interop.json") }
  }
})

const tests = [
  "ping",
  "identify",
  "perf-upload",
  "perf-download",
  "streams",
  "half-close",
  "reset-remote",
  "reset-local",
  "early-muxer",
  "identify-push"
]
const wanted = values.test ?? tests

interface Cell {
  readonly stack: string
  readonly version: string
  readonly direction: "they dial" | "we dial"
  readonly security: string
  readonly muxer: string
  readonly test: string
  readonly status: "ok" | "failed" | "skipped"
  readonly detail: unknown
}

/** Starts a listener and waits for the line that says where it is. */
const listen = (
  stack: Stack,
  args: ReadonlyArray<string>
): Promise<{ readonly process: ChildProcess; readonly address: string }> =>
  new Promise((resolve, reject) => {
    const [program, rest] = command([...stack.run, "listen", ...args])
    const child = spawn(program, rest, { cwd: stack.cwd, stdio: ["pipe", "pipe", "inherit"] })
    const timer = setTimeout(() => {
      child.kill("SIGKILL")
      reject(new Error(`${stack.name} did not listen within 30 s`))
    }, 30_000)
    child.on("error", reject)
    child.on("exit", (code) => reject(new Error(`the listener of ${stack.name} ended with ${code}`)))
    createInterface(child.stdout).once("line", (line) => {
      clearTimeout(timer)
      const parsed: unknown = JSON.parse(line)
      const addresses =
        typeof parsed === "object" && parsed !== null && "addresses" in parsed ? parsed.addresses : undefined
      const address: unknown = Array.isArray(addresses) ? addresses[0] : undefined
      if (typeof address === "string") resolve({ process: child, address })
      else reject(new Error(`${stack.name} printed ${line}`))
    })
  })

const stop = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), 5_000)
    child.removeAllListeners("exit")
    child.once("exit", () => {
      clearTimeout(timer)
      resolve()
    })
    child.stdin?.end()
  })

/** Runs one test of a dialer and gives its result line. */
const dial = (stack: Stack, args: ReadonlyArray<string>): Promise<{ readonly ok: boolean; readonly detail: unknown }> =>
  new Promise((resolve) => {
    const [program, rest] = command([...stack.run, "dial", ...args])
    const child = spawn(program, rest, { cwd: stack.cwd, stdio: ["ignore", "pipe", "pipe"] })
    let out = ""
    let err = ""
    const timer = setTimeout(() => child.kill("SIGKILL"), 90_000)
    child.stdout.on("data", (data) => (out += String(data)))
    child.stderr.on("data", (data) => (err = (err + String(data)).slice(-2000)))
    child.on("error", (error) => resolve({ ok: false, detail: error.message }))
    child.on("close", (code) => {
      clearTimeout(timer)
      try {
        const line: { ok?: boolean; detail?: unknown; error?: string } = JSON.parse(out.trim().split("\n").at(-1) ?? "")
        resolve({
          ok: line.ok === true && code === 0,
          detail: line.ok === true ? line.detail : (line.error ?? line.detail)
        })
      } catch {
        resolve({ ok: false, detail: `exit code ${code}, printed ${JSON.stringify(out)}; ${err}` })
      }
    })
  })

/** The pairs of security and muxer that a stack has, as far as they are wanted. */
const pairs = (stack: Stack): ReadonlyArray<readonly [security: string, muxer: string]> =>
  (values.security ?? securities)
    .filter((security) => security !== "psk")
    .flatMap((security) =>
      stack.muxers
        .filter((muxer) => values.muxer === undefined || values.muxer.includes(muxer))
        .map((muxer) => [security, muxer] as const)
    )

const run = async (stack: Stack, version: string, security: string, muxer: string): Promise<ReadonlyArray<Cell>> => {
  const cells: Array<Cell> = []
  const suite = ["--transport", "tcp", "--security", security, "--muxer", muxer]
  for (const [direction, dialer, listener] of [
    ["they dial", stack, ours],
    ["we dial", ours, stack]
  ] as const) {
    const { process: child, address } = await listen(listener, [...suite, "--listen", "/ip4/127.0.0.1/tcp/0"])
    for (const test of wanted) {
      const started = performance.now()
      let { ok, detail } = await dial(dialer, [...suite, "--addr", address, "--test", test])
      if (test === "early-muxer" && ok) {
        const negotiated =
          typeof detail === "object" && detail !== null && "earlyMuxer" in detail ? detail.earlyMuxer : undefined
        // A stack that cannot say whether it was early is no failure; one that has it must have used it.
        if (stack.earlyMuxer.includes(security) && negotiated === false)
          [ok, detail] = [false, "the muxer was not negotiated early"]
      }
      cells.push({
        stack: stack.name,
        version,
        direction,
        security,
        muxer,
        test,
        status: ok ? "ok" : "failed",
        detail
      })
      progress(
        `${ok ? "ok    " : "FAILED"} ${stack.name.padEnd(4)} ${direction.padEnd(9)} ${security.padEnd(5)} ${muxer} ${test.padEnd(13)} ${Math.round(performance.now() - started)} ms${ok ? "" : `  ${JSON.stringify(detail)}`}`
      )
    }
    await stop(child)
  }
  return cells
}

/** In a private network, the tests that show that bytes go both ways, in pieces and in bulk. */
const privateTests = ["ping", "identify", "perf-upload", "perf-download", "half-close"]

/** Who does not belong together, and must not connect. */
const strangers = [
  ["other-key", "a", "b"],
  ["no-key-dials", undefined, "a"],
  ["key-dials-none", "a", undefined]
] as const

/** How long a dial may take to find out that the other end is in another network. */
const strangeMs = 30_000

const runPrivate = async (stack: Stack, version: string, bytes: number): Promise<ReadonlyArray<Cell>> => {
  const cells: Array<Cell> = []
  const folder = mkdtempSync(join(tmpdir(), "interop-psk-"))
  const fileOf = (name: "a" | "b") => join(folder, name)
  for (const [name, digits] of [
    ["a", "a1"],
    ["b", "b2"]
  ] as const) {
    writeFileSync(fileOf(name), `/key/swarm/psk/1.0.0/\n/base16/\n${digits.repeat(32)}\n`, { mode: 0o600 })
  }
  const suite = ["--transport", "tcp", "--security", "noise", "--muxer", "yamux"]
  const withKey = (name: "a" | "b" | undefined) => [...suite, ...(name === undefined ? [] : ["--psk", fileOf(name)])]
  for (const [direction, dialer, listener] of [
    ["they dial", stack, ours],
    ["we dial", ours, stack]
  ] as const) {
    const note = (test: string, ok: boolean, detail: unknown, started: number) => {
      const status = ok ? ("ok" as const) : ("failed" as const)
      cells.push({ stack: stack.name, version, direction, security: "psk+noise", muxer: "yamux", test, status, detail })
      progress(
        `${ok ? "ok    " : "FAILED"} ${stack.name.padEnd(4)} ${direction.padEnd(9)} psk   yamux ${test.padEnd(14)} ${Math.round(performance.now() - started)} ms${ok ? "" : `  ${JSON.stringify(detail)}`}`
      )
    }
    const keyed = await listen(listener, [...withKey("a"), "--listen", "/ip4/127.0.0.1/tcp/0"])
    for (const test of privateTests.filter((test) => wanted.includes(test))) {
      const started = performance.now()
      const asked = ["--addr", keyed.address, "--test", test, "--bytes", String(bytes)]
      const { detail, ok } = await dial(dialer, [...withKey("a"), ...asked])
      note(test, ok, detail, started)
    }
    await stop(keyed.process)
    for (const [test, dials, listens] of strangers) {
      const { address, process: child } = await listen(listener, [
        ...withKey(listens),
        "--listen",
        "/ip4/127.0.0.1/tcp/0"
      ])
      const started = performance.now()
      const { detail, ok } = await dial(dialer, [...withKey(dials), "--addr", address, "--test", "ping"])
      // Ours says what it may be, or that nothing was said to it; all must fail, and soon.
      const said =
        direction === "they dial" || (typeof detail === "string" && /private network|\(securing\)/.test(detail))
      note(test, !ok && said && performance.now() - started < strangeMs, detail, started)
      await stop(child)
    }
  }
  rmSync(folder, { recursive: true })
  return cells
}

const table = (cells: ReadonlyArray<Cell>): string => {
  const rows = new Map<string, Map<string, string>>()
  for (const cell of cells) {
    const name =
      `${cell.stack} ${cell.version}`.padEnd(22) + cell.direction.padEnd(10) + `${cell.security} ${cell.muxer}`
    const row = rows.get(name) ?? new Map<string, string>()
    row.set(cell.test, cell.status)
    rows.set(name, row)
  }
  const columns = [...new Set([...wanted, ...cells.map(({ test }) => test)])]
  const width = Math.max(...[...rows.keys()].map((name) => name.length))
  return [
    " ".repeat(width + 2) + columns.map((test) => test.padEnd(15)).join(""),
    ...[...rows].map(
      ([name, row]) => name.padEnd(width + 2) + columns.map((test) => (row.get(test) ?? "").padEnd(15)).join("")
    )
  ].join("\n")
}

const cells: Array<Cell> = []
for (const stack of stacks.filter(({ name }) => values.stack === undefined || values.stack.includes(name))) {
  if (!hasToolchain(stack)) {
    const status = required.includes(stack.name) ? "failed" : "skipped"
    progress(`${status}: ${stack.name}, since ${stack.toolchain[0]} is not installed`)
    for (const [security, muxer] of pairs(stack)) {
      for (const direction of ["they dial", "we dial"] as const) {
        for (const test of wanted) {
          cells.push({
            stack: stack.name,
            version: "",
            direction,
            security,
            muxer,
            test,
            status,
            detail: `${stack.toolchain[0]} is not installed`
          })
        }
      }
    }
    continue
  }
  if (!build(stack)) {
    progress(`failed: the ${stack.name} peer does not build`)
    cells.push({
      stack: stack.name,
      version: "",
      direction: "we dial",
      security: "noise",
      muxer: "yamux",
      test: "build",
      status: "failed",
      detail: "does not build"
    })
    continue
  }
  for (const [security, muxer] of pairs(stack)) cells.push(...(await run(stack, versionOf(stack), security, muxer)))
  const inPrivate = stack.privateNetworks
  if (inPrivate !== undefined && (values.security === undefined || values.security.includes("psk"))) {
    cells.push(...(await runPrivate(stack, versionOf(stack), inPrivate.bytes)))
  }
}

console.log(table(cells))
const count = (status: Cell["status"]) => cells.filter((cell) => cell.status === status).length
mkdirSync(dirname(values.out), { recursive: true })
writeFileSync(values.out, JSON.stringify({ cells }, null, 2))
console.log(`\n${count("ok")} passed, ${count("failed")} failed, ${count("skipped")} skipped`)
process.exitCode = count("failed") === 0 && cells.length > 0 ? 0 : 1
