/** Runs the command line as a child process, in a home folder of its own. */
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { afterAll, inject } from "vitest"

/** As build.ts made it, or packed.ts has it. */
const main = inject("program")
/** The sources, which Node can run too, in three times as long. */
export const sources = Path.resolve(import.meta.dirname, "../../src/programs/main.ts")

const homes: Array<string> = []
const children = new Set<ChildProcess>()

/** A new, empty home folder, removed when the tests of the file are done. */
export const makeHome = (): string => {
  const home = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-libp2p-"))
  homes.push(home)
  return home
}

afterAll(() => {
  for (const child of children) child.kill("SIGKILL")
  for (const home of homes) Fs.rmSync(home, { recursive: true, force: true })
})

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: ChildProcess
  readonly finished: Promise<Finished>
  /** The first line of stdout, or of stderr, that `matches`; fails, with all it said, if the program does not say it. */
  readonly line: (matches: (line: string) => boolean, from?: "stdout" | "stderr") => Promise<string>
}

/** For a line: less than a test has, so that what was said instead is in the report. */
const patienceMs = 25_000

export interface Options {
  readonly env?: Record<string, string>
  readonly stdin?: string | Uint8Array
  readonly program?: string
}

export const start = (home: string, args: ReadonlyArray<string>, options?: Options): Running => {
  const child = spawn(process.execPath, [options?.program ?? main, ...args], {
    cwd: home,
    // Nothing is sent to the network that the tests run on, unless a test says where.
    env: {
      PATH: process.env["PATH"],
      HOME: home,
      APPDATA: home,
      NO_COLOR: "1",
      // Removed with the bundle, which is another file in each run.
      NODE_COMPILE_CACHE: Path.join(Path.dirname(main), "cache"),
      EFFECT_LIBP2P_LAN: "off",
      ...options?.env
    },
    stdio: ["pipe", "pipe", "pipe"]
  })
  children.add(child)
  const text = { stdout: "", stderr: "" }
  const checks = new Set<() => void>()
  const collect = (name: "stdout" | "stderr") => (chunk: string) => {
    text[name] += chunk
    for (const check of checks) check()
  }
  child.stdout.setEncoding("utf8").on("data", collect("stdout"))
  child.stderr.setEncoding("utf8").on("data", collect("stderr"))
  child.stdin.end(options?.stdin)
  const finished = new Promise<Finished>((resolve) => {
    child.on("close", (code) => {
      children.delete(child)
      resolve({ code, ...text })
    })
  })
  return {
    child,
    finished,
    line: (matches, from = "stdout") =>
      new Promise((resolve, reject) => {
        const end = () => {
          checks.delete(check)
          clearTimeout(late)
        }
        const fail = (why: string) => {
          end()
          reject(new Error(`${why}: ${JSON.stringify(text)}`))
        }
        const check = () => {
          const found = text[from].split("\n").slice(0, -1).find(matches)
          if (found === undefined) return
          end()
          resolve(found)
        }
        const late = setTimeout(() => fail("no such line in time"), patienceMs)
        checks.add(check)
        void finished.then(() => fail("it ended first"))
        check()
      })
  }
}

/** Runs to the end. */
export const run = (home: string, args: ReadonlyArray<string>, options?: Options): Promise<Finished> =>
  start(home, args, options).finished

/** The lines of stdout as JSON; throws if one is not. */
export const events = (stdout: string): ReadonlyArray<Record<string, unknown>> =>
  stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))

export const isEvent =
  (name: string) =>
  (line: string): boolean =>
    line.startsWith(`{"event":"${name}"`)
