/**
 * The transport contract of libp2p's unified tests and its older form: our
 * program and js-libp2p as listener and dialer, with a real Redis between them
 * that is started here. Prints a line a case; exits with 1 if one fails.
 *
 *   npm run interop:transport
 *   INTEROP_REQUIRE=redis           a missing redis-server is a failure
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"

const here = dirname(fileURLToPath(import.meta.url))
const programs = {
  effect: [join(here, "../../src/programs/interop/transport.ts")],
  js: [join(here, "js/transport.js")]
} as const
type Program = keyof typeof programs

const progress = (text: string) => process.stderr.write(`${text}\n`)

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() =>
        typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port"))
      )
    })
  })

/** Starts a Redis of its own, that keeps nothing. */
const startRedis = async (directory: string): Promise<{ readonly address: string; readonly process: ChildProcess }> => {
  const port = await freePort()
  const child = spawn(
    "redis-server",
    ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", directory],
    { stdio: ["ignore", "pipe", "inherit"] }
  )
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("redis-server did not start within 20 s")), 20_000)
    child.on("error", reject)
    child.on("exit", (code) => reject(new Error(`redis-server ended with ${code}`)))
    child.stdout.on("data", (data) => {
      if (!String(data).includes("Ready to accept connections")) return
      clearTimeout(timer)
      child.removeAllListeners("exit")
      resolve()
    })
  })
  return { address: `127.0.0.1:${port}`, process: child }
}

interface Case {
  readonly listener: Program
  readonly dialer: Program
  readonly security: string
  readonly muxer: string
  readonly form: "unified" | "legacy"
}

const variables = (one: Case, isDialer: boolean, redis: string, key: string): Record<string, string> =>
  one.form === "unified"
    ? {
        IS_DIALER: String(isDialer),
        REDIS_ADDR: redis,
        TEST_KEY: key,
        TRANSPORT: "tcp",
        LISTENER_IP: "0.0.0.0",
        DEBUG: "false",
        SECURE_CHANNEL: one.security,
        MUXER: one.muxer,
        TEST_TIMEOUT_SECS: "60"
      }
    : {
        is_dialer: String(isDialer),
        redis_addr: redis,
        transport: "tcp",
        ip: "0.0.0.0",
        security: one.security,
        muxer: one.muxer,
        test_timeout_seconds: "60"
      }

/** What the harness reads of the results: it is exact about their form. */
const isResult = (form: Case["form"], out: string): boolean => {
  if (form === "unified") {
    return /^latency:\n {2}handshake_plus_one_rtt: \d+(\.\d+)?\n {2}ping_rtt: \d+(\.\d+)?\n {2}unit: ms\n$/.test(out)
  }
  const result: unknown = JSON.parse(out)
  return (
    typeof result === "object" &&
    result !== null &&
    "handshakePlusOneRTTMillis" in result &&
    typeof result.handshakePlusOneRTTMillis === "number" &&
    "pingRTTMilllis" in result &&
    typeof result.pingRTTMilllis === "number"
  )
}

const start = (program: Program, env: Record<string, string>): ChildProcess =>
  spawn(process.execPath, [...programs[program]], {
    cwd: here,
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })

const collect = (
  child: ChildProcess
): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> =>
  new Promise((resolve) => {
    let out = ""
    let err = ""
    const timer = setTimeout(() => child.kill("SIGKILL"), 90_000)
    child.stdout?.on("data", (data) => (out += String(data)))
    child.stderr?.on("data", (data) => (err = (err + String(data)).slice(-2000)))
    child.on("close", (code) => {
      clearTimeout(timer)
      resolve({ code, out, err })
    })
  })

const run = async (one: Case, redis: string, key: string): Promise<string | undefined> => {
  const listener = start(one.listener, variables(one, false, redis, key))
  const listened = collect(listener)
  try {
    const { code, err, out } = await collect(start(one.dialer, variables(one, true, redis, key)))
    if (code !== 0) return `the dialer ended with ${code}: ${err}`
    return isResult(one.form, out) ? undefined : `the dialer printed ${JSON.stringify(out)}`
  } finally {
    listener.kill("SIGTERM")
    if ((await Promise.race([listened, sleep(5_000)])) === undefined) listener.kill("SIGKILL")
    const { out } = await listened
    // Whatever a listener prints there would be taken for a result.
    if (out !== "") progress(`the listener printed ${JSON.stringify(out)}`)
  }
}

const pairs: ReadonlyArray<readonly [Program, Program]> = [
  ["effect", "js"],
  ["js", "effect"],
  ["effect", "effect"]
]
const cases: ReadonlyArray<Case> = pairs.flatMap(([listener, dialer]) => [
  ...["noise", "tls"].flatMap((security) =>
    ["yamux", "mplex"].map((muxer): Case => ({ listener, dialer, security, muxer, form: "unified" }))
  ),
  { listener, dialer, security: "noise", muxer: "yamux", form: "legacy" }
])

const required = (process.env["INTEROP_REQUIRE"] ?? "").split(",")
if (spawnSync("redis-server", ["--version"]).status !== 0) {
  progress("redis-server is not installed (Debian: apt-get install redis-server)")
  console.log(`0 passed, 0 failed, ${cases.length} skipped`)
  process.exit(required.includes("redis") ? 1 : 0)
}
if (!existsSync(join(here, "js/node_modules"))) {
  spawnSync("npm", ["ci", "--no-audit", "--no-fund"], {
    cwd: join(here, "js"),
    stdio: ["ignore", "inherit", "inherit"]
  })
}
const directory = mkdtempSync(join(tmpdir(), "effect-libp2p-redis-"))
const redis = await startRedis(directory)
let failed = 0
try {
  for (const [index, one] of cases.entries()) {
    const began = performance.now()
    const wrong = await run(one, redis.address, `test${index}`)
    if (wrong !== undefined) failed++
    progress(
      `${wrong === undefined ? "ok    " : "FAILED"} ${one.listener.padEnd(6)} listens, ${one.dialer.padEnd(6)} dials  ${one.security.padEnd(5)} ${one.muxer} ${one.form.padEnd(7)} ${Math.round(performance.now() - began)} ms${wrong === undefined ? "" : `  ${wrong}`}`
    )
  }
} finally {
  redis.process.kill("SIGTERM")
  rmSync(directory, { recursive: true, force: true })
}
console.log(`${cases.length - failed} passed, ${failed} failed, 0 skipped`)
process.exitCode = failed === 0 ? 0 : 1
