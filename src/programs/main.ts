#!/usr/bin/env node
/** The command `effect-libp2p`; see cli/Main.ts. The compile cache spares Node compiling at each start. */
import module from "node:module"
import process from "node:process"

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`effect-libp2p needs Node 22.19 or later; this is Node ${process.versions.node}\n`)
  process.exit(1)
}
module.enableCompileCache()
await import("./cli/Main.ts")
