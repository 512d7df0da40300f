/**
 * The programs that are measured, each a listener and a dialer on one stack.
 * They take commands on stdin and answer on stdout, one JSON object a line; see
 * bench/README.md.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readdirSync, statSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/** What the nodes of a benchmark secure their connections with. */
export type Security = "noise" | "tls"

/** How to get and start the peer of a stack. */
export interface Stack {
  readonly name: string
  /** Program and arguments; `listen` or `dial` is added, and `--security` unless `args` says otherwise. */
  readonly command: readonly [string, ...ReadonlyArray<string>]
  /** In place of `--security`. */
  readonly args?: ReadonlyArray<string>
  readonly cwd: string
  /** What must run when `makes` is missing, or older than anything in `from`. */
  readonly install?:
    | {
        readonly makes: string
        readonly from: ReadonlyArray<string>
        readonly command: readonly [string, ...ReadonlyArray<string>]
      }
    | undefined
}

/** What a peer is asked to do; README.md says which options a command has. */
export interface Command {
  readonly run:
    | "upload"
    | "download"
    | "slow-reader"
    | "first-byte"
    | "connections"
    | "streams"
    | "ping"
    | "hold"
    | "hold-streams"
    | "memory"
    | "dht-join"
    | "dht-put"
    | "dht-get"
    | "dht-lookup"
    | "lan-discover"
    | "lan-packets"
  readonly address?: string
  readonly seconds?: number
  readonly size?: number
  readonly concurrency?: number
  readonly count?: number
  readonly connections?: number
  readonly streams?: number
}

export interface Peer {
  /** Where a listener listens, with its peer id; empty for a dialer. */
  readonly address: string
  /** From the start of the process to its first line, in milliseconds. */
  readonly readyMs: number
  /** One command at a time. */
  readonly ask: <A>(command: Command, answer: Schema.Codec<A, unknown>) => Effect.Effect<A, PeerError>
}

/** A peer did not start, did not answer in time, or answered with an error. */
export class PeerError extends Schema.TaggedError<PeerError>()("PeerError", {
  stack: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `the ${this.stack} peer: ${this.detail}`
  }
}

const root = fileURLToPath(new URL("../../../", import.meta.url))
const jsFolder = join(root, "bench/js")
const goFolder = join(root, "test/interop/go")
const rustFolder = join(root, "test/interop/rust")
const node = [process.execPath, "--expose-gc"] as const
const built = join(root, "bench/dist/programs/bench")

/** Where the repository is. */
export const repository = root

/** This library as its users run it: built JavaScript, with the compiler's options of the package. */
export const ours: Stack = {
  name: "effect",
  command: [...node, join(built, "peer/main.js")],
  cwd: root,
  install: {
    makes: join(built, "peer/main.js"),
    from: ["src", "tsconfig.json", "tsconfig.build.json", "bench/tsconfig.json"].map((path) => join(root, path)),
    command: [
      process.execPath,
      join(root, "node_modules/typescript/bin/tsc"),
      "-p",
      "bench/tsconfig.json",
      // Types are the business of `npm run check`.
      "--noCheck"
    ]
  }
}

/** js-libp2p, go-libp2p and rust-libp2p. */
export const others: ReadonlyArray<Stack> = [
  {
    name: "js",
    command: [...node, join(jsFolder, "peer.js")],
    cwd: jsFolder,
    install: {
      makes: join(jsFolder, "node_modules/.package-lock.json"),
      from: [join(jsFolder, "package-lock.json")],
      command: ["npm", "ci", "--no-audit", "--no-fund"]
    }
  },
  {
    name: "go",
    command: [join(goFolder, "peer"), "bench"],
    cwd: goFolder,
    install: {
      makes: join(goFolder, "peer"),
      from: readdirSync(goFolder)
        .filter((name) => /\.(go|mod|sum)$/.test(name))
        .map((name) => join(goFolder, name)),
      command: ["go", "build", "-o", "peer", "."]
    }
  },
  {
    name: "rust",
    command: [join(rustFolder, "target/release/peer"), "bench"],
    cwd: rustFolder,
    install: {
      makes: join(rustFolder, "target/release/peer"),
      from: ["src", "Cargo.toml", "Cargo.lock"].map((path) => join(rustFolder, path)),
      command: ["cargo", "build", "--release"]
    }
  }
]

const limit = (name: string, value: string): Stack => ({
  name,
  command: [...node, join(built, "LimitPeer.js")],
  args: ["--limit", value],
  cwd: root
})

/** What can be had at the most, and the portable layer of this library. */
export const limits = {
  tcp: limit("raw TCP", "tcp"),
  tls: limit("node:tls", "tls"),
  chacha20: limit("node:tls ChaCha20", "tls-chacha20"),
  cryptography: limit("bare cryptography", "crypto"),
  portable: { name: "portable crypto", command: ours.command, args: ["--crypto", "portable"], cwd: root }
} satisfies Readonly<Record<string, Stack>>

const Ready = Schema.Struct({ event: Schema.Literal("ready"), address: Schema.optional(Schema.String) })
const Answer = Schema.Struct({
  id: Schema.Finite,
  ok: Schema.optional(Schema.Unknown),
  error: Schema.optional(Schema.String)
})
const decodeLine = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Union([Ready, Answer])))

const start = (stack: Stack, args: ReadonlyArray<string>, command = stack.command) => {
  const [program, ...rest] = command
  return spawn(program, [...rest, ...args], { cwd: stack.cwd, stdio: ["pipe", "pipe", "inherit"] })
}

/** When the newest file there was changed; 0 if there is none. */
const changedAt = (path: string): number => {
  if (!existsSync(path)) return 0
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.mtimeMs
  return Math.max(0, ...readdirSync(path).map((name) => changedAt(join(path, name))))
}

/** Gets or builds what the stack needs, if it is missing or old. */
export const install = (stack: Stack): Effect.Effect<void, PeerError> =>
  Effect.suspend(() => {
    const needed = stack.install
    if (needed === undefined || changedAt(needed.makes) >= Math.max(...needed.from.map(changedAt))) return Effect.void
    const command = needed.command.join(" ")
    process.stderr.write(`getting the ${stack.name} peer ready: ${command} in ${stack.cwd}\n`)
    return Effect.callback<void, PeerError>((resume) => {
      const fail = (detail: string) => resume(Effect.fail(new PeerError({ stack: stack.name, detail })))
      const child = start(stack, [], needed.command)
      child.stdout.pipe(process.stderr, { end: false })
      child.on("error", () =>
        fail(`${needed.command[0]} is not installed, and ${needed.makes} has to be built with it`)
      )
      child.on("exit", (code) => (code === 0 ? resume(Effect.void) : fail(`"${command}" ended with ${code}`)))
      return Effect.sync(() => void child.kill("SIGKILL"))
    })
  })

/** The end of its stdin tells a peer to stop; one that does not is killed. */
const stop = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    const timer = setTimeout(() => child.kill("SIGKILL"), 2000)
    child.once("exit", () => {
      clearTimeout(timer)
      resume(Effect.void)
    })
    child.stdin?.end()
  })

/** Starts a peer, which stops with the scope. */
export const run = (
  stack: Stack,
  role: "listen" | "dial",
  security: Security = "noise"
): Effect.Effect<Peer, PeerError, Scope.Scope> =>
  Effect.gen(function* () {
    const error = (detail: string) => new PeerError({ stack: stack.name, detail })
    const started = performance.now()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => start(stack, [role, ...(stack.args ?? ["--security", security])])),
      stop
    )
    const ready = Deferred.makeUnsafe<Pick<Peer, "address" | "readyMs">, PeerError>()
    let nextId = 1
    let waiting: { readonly id: number; readonly answer: Deferred.Deferred<unknown, PeerError> } | undefined

    const fail = (detail: string) => {
      const failed = Exit.fail(error(detail))
      Deferred.doneUnsafe(ready, failed)
      if (waiting !== undefined) Deferred.doneUnsafe(waiting.answer, failed)
    }
    child.on("error", (cause) => fail(`does not start: ${cause.message}`))
    child.on("exit", (code, signal) => fail(`ended with ${code ?? signal}`))
    child.stdin.on("error", () => fail("takes no commands"))
    createInterface({ input: child.stdout }).on("line", (line) => {
      const decoded = decodeLine(line)
      if (decoded._tag === "Failure") return fail(`printed ${line.slice(0, 200)}`)
      const message = decoded.success
      if ("event" in message) {
        const readyMs = performance.now() - started
        Deferred.doneUnsafe(ready, Exit.succeed({ address: message.address ?? "", readyMs }))
      } else if (waiting?.id === message.id) {
        const { answer } = waiting
        waiting = undefined
        Deferred.doneUnsafe(
          answer,
          message.error === undefined ? Exit.succeed(message.ok) : Exit.fail(error(message.error))
        )
      }
    })

    const within = (seconds: number, what: string) =>
      Effect.timeoutOrElse({
        duration: `${seconds} seconds`,
        orElse: () => Effect.fail(error(`no answer to ${what} within ${seconds} s`))
      })
    const { address, readyMs } = yield* Deferred.await(ready).pipe(within(60, `the start as ${role}`))
    return {
      address,
      readyMs,
      ask: <A>(command: Command, answer: Schema.Codec<A, unknown>) =>
        Effect.gen(function* () {
          const id = nextId++
          const deferred = Deferred.makeUnsafe<unknown, PeerError>()
          waiting = { id, answer: deferred }
          child.stdin.write(`${JSON.stringify({ id, ...command })}\n`)
          const given = yield* Deferred.await(deferred).pipe(within((command.seconds ?? 0) + 120, command.run))
          return yield* Effect.mapError(Schema.decodeUnknownEffect(answer)(given), () =>
            error(`answered ${JSON.stringify(given)} to ${command.run}`)
          )
        })
    }
  })
