/**
 * One node at a time has a key: others take two for one, and reach now the one
 * and now the other.
 *
 * Who has it listens on a socket beside the key, and says its process to whoever
 * connects. That ends with the process, however it ends, in a container too,
 * where each run has the number of the one before.
 */
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { mkdirSync, rmSync } from "node:fs"
import { connect, createServer, type Server } from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import process from "node:process"
import { UsageError } from "./Failure.ts"

/** The longest path of a socket that all systems take. */
const maxPath = 100
/** For who has the key to say so. */
const answersWithin = "2 seconds"

const socketOf = (key: string): string => {
  const name = createHash("sha256").update(key).digest("hex").slice(0, 16)
  if (process.platform === "win32") return `\\\\.\\pipe\\effect-libp2p-${name}`
  const beside = `${key}.lock`
  return Buffer.byteLength(beside) <= maxPath ? beside : Path.join(Os.tmpdir(), `effect-libp2p-${name}.lock`)
}

/** What cannot be done shows in what comes next. */
const tried = (act: () => unknown): Effect.Effect<void> => Effect.ignore(Effect.try(act))

const codeOf = (error: Error): string => ("code" in error ? String(error.code) : error.message)

/** Listens there, or says why it cannot. */
const listen = (path: string): Effect.Effect<Server, string> =>
  Effect.callback((resume) => {
    const server = createServer((socket) => {
      socket.on("error", () => socket.destroy())
      socket.end(String(process.pid))
    })
    // It is no reason to go on.
    server.unref()
    server.once("error", (error) => resume(Effect.fail(codeOf(error))))
    server.listen(path, () => resume(Effect.succeed(server)))
    return Effect.sync(() => server.close())
  })

/** The process that listens there; `undefined` if none does. */
const holderAt = (path: string): Effect.Effect<string | undefined> =>
  Effect.callback<string | undefined>((resume) => {
    let said = ""
    const socket = connect(path)
    socket.setEncoding("utf8")
    socket.on("data", (text: string) => {
      said = (said + text).slice(0, 16)
    })
    socket.once("error", () => resume(Effect.succeed(undefined)))
    socket.once("close", () => resume(Effect.succeed(said)))
    return Effect.sync(() => socket.destroy())
  }).pipe(Effect.timeoutOrElse({ duration: answersWithin, orElse: () => Effect.succeed("") }))

/** Has the key until the scope closes; fails when another process has it. Where there can be no such socket, nobody is asked. */
export const hold = (identity: string) => {
  const key = Path.resolve(identity)
  const path = socketOf(key)
  const inUse = (pid: string) =>
    new UsageError({
      detail:
        `the key in ${key} is in use by ${/^\d+$/.test(pid) ? `process ${pid}` : "another process"}: to others, two nodes ` +
        "with one key are one peer, which is now here and now there. Stop that one, or give this one another key with --identity"
    })
  const take: Effect.Effect<Server | undefined, UsageError> = listen(path).pipe(
    Effect.catch((code) =>
      Effect.gen(function* () {
        if (code === "EADDRINUSE") {
          const pid = yield* holderAt(path)
          if (pid !== undefined) return yield* inUse(pid)
          // What a process that is gone has left behind.
          yield* tried(() => rmSync(path, { force: true }))
          const second = yield* Effect.result(listen(path))
          if (second._tag === "Success") return second.success
        }
        yield* Effect.logDebug(`whether another node has the key is not known: ${path}: ${code}`)
        return undefined
      })
    )
  )
  return Effect.andThen(
    tried(() => mkdirSync(Path.dirname(key), { recursive: true, mode: 0o700 })),
    Effect.acquireRelease(take, (server) => Effect.sync(() => server?.close()))
  )
}
