#!/usr/bin/env node
/** The command `effect-libp2p`; see cli/Main.ts. The compile cache spares Node compiling the modules at each start. */
import { enableCompileCache } from "node:module"

enableCompileCache()
await import("./cli/Main.ts")
