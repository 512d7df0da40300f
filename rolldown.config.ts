/**
 * The published command line: `src/programs/main.ts` and all that it uses, with Effect, in a few files without what is
 * never called; loading them takes a third of the CPU. The library is not bundled: its users' Effect is the one in use.
 *
 * Nothing is minified, so that a stack trace names functions. What depends on where it runs stays outside: Node's own
 * modules, and our dependencies, which are installed with us.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { defineConfig, type OutputOptions, type Plugin } from "rolldown"
import manifest from "./package.json" with { type: "json" }

const outside = (module: string): boolean =>
  module.startsWith("node:") || Object.keys(manifest.dependencies).some((name) => `${module}/`.startsWith(`${name}/`))

/** The folder of the package that a module comes from; undefined for our own. */
const packageOf = (module: string): string | undefined =>
  /^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/.exec(module)?.[0]

const licence = (folder: string): string => {
  const { name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
  return `${name} ${version}\n\n${readFileSync(join(folder, "LICENSE"), "utf8").trim()}\n`
}

/** Adds the licences of what is inside, and fails if more is outside than may be. */
const complete = (): Plugin => ({
  name: "complete",
  generateBundle(_, bundle) {
    const packages = new Set<string>()
    for (const chunk of Object.values(bundle)) {
      if (chunk.type !== "chunk") continue
      for (const module of chunk.moduleIds) packages.add(packageOf(module) ?? "")
      for (const imported of [...chunk.imports, ...chunk.dynamicImports]) {
        if (!(imported in bundle) && !outside(imported)) this.error(`${chunk.fileName} needs ${imported}`)
      }
    }
    packages.delete("")
    const licences = ["This program contains parts of:\n", ...[...packages].toSorted().map(licence)]
    this.emitFile({ type: "asset", fileName: "LICENSES.txt", source: licences.join("\n---\n\n") })
  }
})

export const output: OutputOptions = {
  dir: "dist/programs",
  chunkFileNames: "chunks/[name].js",
  comments: { annotation: false, jsdoc: false, legal: true }
}

export default defineConfig({
  input: "src/programs/main.ts",
  platform: "node",
  external: outside,
  transform: { target: "node22.19" },
  // package.json says that no module of ours does anything when it is loaded; those that people run do.
  treeshake: { moduleSideEffects: [{ test: /[\\/]src[\\/]programs[\\/]/, sideEffects: true }] },
  plugins: [complete()],
  output
})
