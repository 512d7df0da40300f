/** Where this user's files are, by the custom of each system. */
import * as Os from "node:os"
import * as Path from "node:path"
import process from "node:process"

/** Relative values of these variables count as unset, as the XDG specification asks. */
const folder = (variable: string, otherwise: string): string => {
  const value = process.env[variable]
  return value !== undefined && Path.isAbsolute(value) ? value : otherwise
}

const place = (variable: string, unix: string): string => {
  const home = Os.homedir()
  switch (process.platform) {
    case "win32":
      return Path.join(folder("APPDATA", Path.join(home, "AppData", "Roaming")), "effect-libp2p")
    case "darwin":
      return Path.join(folder(variable, Path.join(home, "Library", "Application Support")), "effect-libp2p")
    default:
      return Path.join(folder(variable, Path.join(home, unix)), "effect-libp2p")
  }
}

/** The key of this user's node. */
export const identityFile = (): string => Path.join(place("XDG_DATA_HOME", ".local/share"), "identity.key")

/** The settings that are read if the file is there. */
export const configFile = (): string => Path.join(place("XDG_CONFIG_HOME", ".config"), "config.json")

/** Modes of files mean nothing on Windows, where folders of a user are closed to others. */
export const checkMode = process.platform !== "win32"

/** How this program was started, for lines that people copy: it must work in the folder that they are in. */
export const invocation = (): string => {
  const script = process.argv[1] ?? "effect-libp2p"
  const fromSource = script.endsWith(".ts")
  if (process.env["npm_lifecycle_event"] !== undefined) {
    return fromSource ? "npm run cli --" : "npx effect-libp2p"
  }
  if (fromSource) return `node ${Path.relative(process.cwd(), script)}`
  return Path.basename(script) === "effect-libp2p" && !script.includes("node_modules")
    ? "effect-libp2p"
    : "npx effect-libp2p"
}
