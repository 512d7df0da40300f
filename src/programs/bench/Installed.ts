/**
 * What an installation brings: the packages that a minimal node needs, found
 * through the lock file, and the bytes of their files. Works without a network.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Benchmark } from "./Benchmark.ts"
import * as Peers from "./Peers.ts"

const Names = Schema.optional(Schema.Record(Schema.String, Schema.String))
const Package = Schema.Struct({
  dependencies: Names,
  peerDependencies: Names,
  peerDependenciesMeta: Schema.optional(
    Schema.Record(Schema.String, Schema.Struct({ optional: Schema.optional(Schema.Boolean) }))
  )
})
const Lock = Schema.fromJsonString(Schema.Struct({ packages: Schema.Record(Schema.String, Package) }))
const Packed = Schema.fromJsonString(Schema.Tuple([Schema.Struct({ unpackedSize: Schema.Finite })]))

interface Installation {
  readonly packages: number
  readonly bytes: number
}

/** Bytes of the files in a folder, packages in it left out: they are counted by themselves. */
const sizeOf = (folder: string): number =>
  readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    if (entry.name === "node_modules") return sum
    const path = join(folder, entry.name)
    return sum + (entry.isDirectory() ? sizeOf(path) : entry.isFile() ? statSync(path).size : 0)
  }, 0)

/** As Node looks for it: in the folder of who needs it, then in the folders above. */
const find = (packages: Readonly<Record<string, unknown>>, from: string, name: string): string | undefined => {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf("/node_modules/")))) {
    const path = `${folder === "" ? "" : `${folder}/`}node_modules/${name}`
    if (path in packages) return path
    if (folder === "") return undefined
    if (!folder.includes("/node_modules/")) folder = ""
    if (folder === "" && `node_modules/${name}` in packages) return `node_modules/${name}`
  }
}

/** The paths of all packages that `names` need, with required peer dependencies. */
export const closure = (
  packages: Readonly<Record<string, typeof Package.Type>>,
  names: ReadonlyArray<string>
): ReadonlySet<string> => {
  const found = new Set<string>()
  const visit = (from: string, name: string) => {
    const path = find(packages, from, name)
    const wanted = path === undefined ? undefined : packages[path]
    if (path === undefined || wanted === undefined || found.has(path)) return
    found.add(path)
    for (const next of Object.keys(wanted.dependencies ?? {})) visit(path, next)
    for (const next of Object.keys(wanted.peerDependencies ?? {})) {
      if (wanted.peerDependenciesMeta?.[next]?.optional !== true) visit(path, next)
    }
  }
  for (const name of names) visit("", name)
  return found
}

const installation = (folder: string, names: ReadonlyArray<string>): Installation => {
  const { packages } = Schema.decodeUnknownSync(Lock)(readFileSync(join(folder, "package-lock.json"), "utf8"))
  const paths = [...closure(packages, names)].filter((path) => existsSync(join(folder, path)))
  return { packages: paths.length, bytes: paths.reduce((sum, path) => sum + sizeOf(join(folder, path)), 0) }
}

/** This package itself, as `npm pack` would make it from the latest build. */
const packed = (): number => {
  const root = Peers.repository
  if (!existsSync(join(root, "dist/index.js"))) spawnSync("npm", ["run", "build"], { cwd: root })
  const { stdout } = spawnSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: root,
    encoding: "utf8"
  })
  return Schema.decodeUnknownSync(Packed)(stdout)[0].unpackedSize
}

const measure = (stack: Peers.Stack): Effect.Effect<Installation, Peers.PeerError> =>
  Effect.try({
    try: () => {
      if (stack === Peers.ours) {
        const own = installation(Peers.repository, [
          "effect",
          "@effect/platform-node",
          "@noble/ciphers",
          "@noble/hashes",
          "multiformats"
        ])
        return { packages: own.packages + 1, bytes: own.bytes + packed() }
      }
      return installation(stack.cwd, [
        "libp2p",
        "@libp2p/tcp",
        "@libp2p/noise",
        "@libp2p/yamux",
        "@multiformats/multiaddr"
      ])
    },
    catch: (error) => new Peers.PeerError({ stack: stack.name, detail: `cannot be counted: ${String(error)}` })
  })

const benchmark = (name: string, unit: string, about: string, of: (found: Installation) => number): Benchmark => ({
  name,
  unit,
  better: "lower",
  about,
  peers: ["js"],
  rounds: () => 1,
  cost: () => ({ start: 0, round: 1 }),
  prepare: (stack) => Effect.succeed({ round: Effect.map(measure(stack), of) })
})

export const installed: ReadonlyArray<Benchmark> = [
  benchmark("packages", "packages", "that a minimal node needs, itself included", ({ packages }) => packages),
  benchmark("installed", "MiB", "of files in them", ({ bytes }) => bytes / 2 ** 20)
]
