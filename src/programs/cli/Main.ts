/**
 * Runs the command line.
 *
 * Exit codes: 0 when done, or for `node` and an answered `ping` when stopped by
 * SIGINT or SIGTERM; 1 for any error; 130 when another command is stopped.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import process from "node:process"
import { inspect } from "node:util"
import { version } from "../../data/Version.ts"
import { root } from "./Commands.ts"
import { usage } from "./Failure.ts"
import { StopCode, writeError } from "./Output.ts"
import * as Places from "./Places.ts"
import { asksVerbose } from "./Under.ts"

/** After this, whatever still hangs is left behind. */
const graceMs = 4500
/** npm passes Ctrl-C on to a program that the terminal has told already: the same press twice. */
const samePressMs = 300

const stopCode = Ref.makeUnsafe(130)

/** The runtime interrupts the program at the first signal; this sees to it that it ends. */
const forceStop = (): void => {
  let first: number | undefined
  const onSignal = () => {
    if (first === undefined) {
      first = performance.now()
      setTimeout(() => {
        writeError("effect-libp2p: not everything ended in time; stopped by force")
        process.exit(1)
      }, graceMs).unref()
    } else if (performance.now() - first > samePressMs) {
      process.exit(130)
    }
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
}

/** A reader that leaves, as `head` does, ends the program without a word. */
const endWithReader = (): void => {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      process.exit(error.code === "EPIPE" ? 0 : 1)
    })
  }
}

const formatter = CliOutput.defaultFormatter()

const presenter: CliOutput.Presenter = {
  present: (event) => {
    switch (event._tag) {
      case "Help":
        return Console.log(formatter.formatHelpDoc(event.helpDoc))
      case "Version":
        return Console.log(formatter.formatVersion(event.name, event.version))
      case "InvalidInvocation": {
        const path = event.commandPath.slice(1).join(" ")
        const help = `${Places.invocation()} ${[...event.commandPath.slice(1), "--help"].join(" ")}`
        return Effect.sync(() => {
          for (const error of event.errors.slice(0, 1)) {
            const text = usage(error, path)
            writeError(`effect-libp2p: ${text.endsWith("?") ? text : `${text}.`} See: ${help}`)
          }
        })
      }
    }
  }
}

const program = Command.run(root, { version }).pipe(
  Effect.tapCause((cause) =>
    Effect.sync(() => {
      if (!Cause.hasDies(cause)) return
      writeError(`effect-libp2p: this is a bug in effect-libp2p: ${String(Cause.squash(cause))}`)
      if (asksVerbose(process.argv, process.env)) writeError(inspect(Cause.squash(cause), { depth: 10 }))
    })
  ),
  Effect.provide(
    Layer.mergeAll(
      NodeServices.layer,
      Layer.succeed(StopCode, stopCode),
      CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] }),
      CliOutput.layerPresenter(presenter)
    )
  )
)

const codeOf = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return 0
  if (Cause.hasInterruptsOnly(exit.cause)) return Ref.getUnsafe(stopCode)
  const error = Cause.squash(exit.cause)
  return CliError.isCliError(error) && error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : 1
}

forceStop()
endWithReader()
NodeRuntime.runMain(program, { disableErrorReporting: true, teardown: (exit, end) => end(codeOf(exit)) })
