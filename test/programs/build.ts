/**
 * Bundles the command line before its tests are run, as it is bundled to be published: a bundle starts in a third of the
 * time that the sources take, and the tests start it a hundred times. Sources that did not work as they are would not
 * be noticed by that; Node.test.ts runs them once.
 */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { build } from "rolldown"
import type { TestProject } from "vitest/node"
import config, { output } from "../../rolldown.config.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** The file that Node runs. */
    program: string
  }
}

const root = Path.resolve(import.meta.dirname, "../..")

/** Gives what removes it again. Nothing is built if none of its tests is run, or packed.ts has a program to test. */
export default async (project: TestProject): Promise<(() => void) | undefined> => {
  const given = process.env["PROGRAM"]
  project.provide("program", given ?? "")
  const isNeeded = project.vitest.state.getPaths().some((file) => Path.dirname(file) === import.meta.dirname)
  if (given !== undefined || !isNeeded) return undefined
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-libp2p-program-"))
  // What stays outside of the bundle is found from there, too.
  Fs.symlinkSync(Path.join(root, "node_modules"), Path.join(folder, "node_modules"), "junction")
  await build({ ...config, cwd: root, output: { ...output, dir: folder } })
  Fs.writeFileSync(Path.join(folder, "package.json"), '{"type":"module"}')
  project.provide("program", Path.join(folder, "main.js"))
  return () => Fs.rmSync(folder, { recursive: true, force: true })
}
