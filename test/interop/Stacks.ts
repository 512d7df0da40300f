/** The stacks that take part: how their programs are built and started. */
import { spawnSync } from "node:child_process"
import { statSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const here = dirname(fileURLToPath(import.meta.url))

/** How to build and start the peer of a stack. */
export interface Stack {
  readonly name: string
  /** Its toolchain's own version command. */
  readonly toolchain: ReadonlyArray<string>
  readonly build: ReadonlyArray<string>
  readonly run: ReadonlyArray<string>
  /** Its node of the DHT. Default: `run` with `dht`. */
  readonly dht?: ReadonlyArray<string>
  readonly cwd: string
  readonly muxers: ReadonlyArray<string>
  /** The securities inside whose handshake its stack negotiates the muxer. */
  readonly earlyMuxer: ReadonlyArray<string>
  /** Its peer takes `--psk`, and sends so many bytes in a private network. */
  readonly privateNetworks: { readonly bytes: number } | undefined
}

export const securities = ["noise", "tls"]

export const ours: Stack = {
  name: "effect",
  toolchain: ["node", "--version"],
  build: [],
  run: [process.execPath, join(here, "effect/peer.ts")],
  dht: [process.execPath, join(here, "effect/dht.ts")],
  cwd: here,
  muxers: ["yamux", "mplex"],
  earlyMuxer: securities,
  privateNetworks: { bytes: 64 * 1024 * 1024 }
}

export const stacks: ReadonlyArray<Stack> = [
  {
    name: "go",
    toolchain: ["go", "version"],
    build: ["go", "build", "-o", "peer", "."],
    run: [join(here, "go/peer")],
    cwd: join(here, "go"),
    muxers: ["yamux"],
    earlyMuxer: securities,
    privateNetworks: { bytes: 64 * 1024 * 1024 }
  },
  {
    name: "rust",
    toolchain: ["cargo", "--version"],
    build: ["cargo", "build", "--release", "--locked"],
    run: [join(here, "rust/target/release/peer")],
    cwd: join(here, "rust"),
    muxers: ["yamux", "mplex"],
    earlyMuxer: [],
    privateNetworks: undefined
  },
  {
    name: "js",
    toolchain: ["npm", "--version"],
    build: ["npm", "ci", "--no-audit", "--no-fund"],
    run: [process.execPath, join(here, "js/peer.js")],
    cwd: join(here, "js"),
    muxers: ["yamux", "mplex"],
    earlyMuxer: securities,
    // Of 64 MiB, two nodes of js-libp2p lose the connection too.
    privateNetworks: { bytes: 4 * 1024 * 1024 }
  }
]

/** Stacks that must not be left out, from `INTEROP_REQUIRE`. */
export const required = (process.env["INTEROP_REQUIRE"] ?? "").split(",").filter((name) => name !== "")

export const progress = (text: string) => process.stderr.write(`${text}\n`)

export const command = (words: ReadonlyArray<string>): readonly [string, Array<string>] => {
  const [program, ...rest] = words
  return [program ?? "", rest]
}

export const hasToolchain = (stack: Stack): boolean => {
  const [tool, args] = command(stack.toolchain)
  return spawnSync(tool, args).status === 0
}

/** Whether what the lock file names is there. */
const isInstalled = (directory: string): boolean => {
  const changedAt = (path: string) => statSync(join(directory, path), { throwIfNoEntry: false })?.mtimeMs ?? 0
  return changedAt("node_modules/.package-lock.json") > changedAt("package-lock.json")
}

/** Builds the peer, unless it is there; false when that fails. */
export const build = (stack: Stack): boolean => {
  if (stack.build.length === 0) return true
  progress(`building the ${stack.name} peer: ${stack.build.join(" ")}`)
  if (stack.name === "js" && isInstalled(stack.cwd)) return true
  const [builder, args] = command(stack.build)
  return spawnSync(builder, args, { cwd: stack.cwd, stdio: ["ignore", "inherit", "inherit"] }).status === 0
}

export const versionOf = (stack: Stack): string => {
  const [program, rest] = command([...stack.run, "--version-info"])
  const info: { version?: string } = JSON.parse(spawnSync(program, rest, { cwd: stack.cwd }).stdout.toString() || "{}")
  return info.version ?? ""
}
