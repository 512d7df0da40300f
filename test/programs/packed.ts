/**
 * The command line as it is published: packs the latest build, unpacks it in a folder of its own beside our dependencies
 * and nothing else, and runs the tests of the command line against it.
 *
 *   npm run build && node test/programs/packed.ts
 */
import { execFileSync, spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import manifest from "../../package.json" with { type: "json" }

const root = Path.resolve(import.meta.dirname, "../..")
const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-libp2p-packed-"))
const modules = Path.join(folder, "node_modules")
const installed = Path.join(modules, manifest.name)

try {
  Fs.mkdirSync(installed, { recursive: true })
  execFileSync("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder], { cwd: root })
  const [archive = ""] = Fs.readdirSync(folder).filter((file) => file.endsWith(".tgz"))
  execFileSync("tar", ["-xzf", Path.join(folder, archive), "-C", installed, "--strip-components", "1"])
  for (const name of Object.keys(manifest.dependencies)) {
    Fs.mkdirSync(Path.dirname(Path.join(modules, name)), { recursive: true })
    Fs.symlinkSync(Path.join(root, "node_modules", name), Path.join(modules, name), "junction")
  }
  const tests = spawnSync("npx", ["vitest", "run", "test/programs", "--exclude", "test/programs/*/**"], {
    cwd: root,
    env: { ...process.env, PROGRAM: Path.join(installed, manifest.bin["effect-libp2p"]) },
    stdio: "inherit"
  })
  process.exitCode = tests.status ?? 1
} finally {
  Fs.rmSync(folder, { recursive: true, force: true })
}
