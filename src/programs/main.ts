#!/usr/bin/env node
/** The command `effect-libp2p`. The compile cache saves a third of the start; see cli/Main.ts for the rest. */
import { enableCompileCache } from "node:module"

enableCompileCache()
await import("./cli/Main.ts")
