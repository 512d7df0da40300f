/**
 * The local network with others: go-libp2p and js-libp2p on one host, this
 * library's command line on another, all by multicast DNS. Each finds the other
 * and connects; those of a service keep apart; avahi-browse sees our nodes come
 * and go. Prints a table, and exits with 1 if a cell fails. See README.md.
 *
 *   npm run interop:lan
 *   INTEROP_REQUIRE=go,js,avahi,netns     what is missing is a failure
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import process from "node:process"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as TwoHosts from "./TwoHosts.ts"
import { build, command, hasToolchain, ours, progress, required, type Stack, stacks, versionOf } from "./Stacks.ts"

const here = dirname(fileURLToPath(import.meta.url))
const directory = mkdtempSync(join(tmpdir(), "interop-lan-"))
const cli = [process.execPath, join(here, "../../src/programs/main.ts")]
const service = "chat"
/** For what is to happen, on a machine that is busy. */
const patienceMs = 20_000

interface Line {
  readonly event?: string
  readonly peer?: string
}

/** A program that is a node on the local network, and tells whom it finds. */
class LanNode {
  readonly stack: string
  peer = ""
  private readonly child: ChildProcess
  private readonly lines: Array<Line> = []

  private constructor(stack: string, child: ChildProcess) {
    this.stack = stack
    this.child = child
  }

  static async start(host: TwoHosts.Host, stack: Stack, ofService?: string): Promise<LanNode> {
    const words =
      stack === ours
        ? [...cli, "node", "--json", "--listen", "/ip4/0.0.0.0/tcp/0"]
        : [...stack.run, "lan", "--listen", "/ip4/0.0.0.0/tcp/0"]
    const named = ofService === undefined ? [] : ["--service", ofService]
    const [program, rest] = command([...host.prefix, ...words, ...named])
    const env = { ...process.env, XDG_DATA_HOME: directory }
    const child = spawn(program, rest, { cwd: stack.cwd, env, stdio: ["pipe", "pipe", "inherit"] })
    const node = new LanNode(stack.name, child)
    createInterface({ input: child.stdout }).on("line", (line) => {
      const said: Line = JSON.parse(line)
      node.lines.push(said)
      if (said.event === "listening") node.peer = said.peer ?? ""
    })
    await node.until(() => node.peer !== "", "it listens")
    return node
  }

  private async until(condition: () => boolean, what: string): Promise<void> {
    for (let waited = 0; !condition(); waited += 50) {
      if (this.child.exitCode !== null) throw new Error(`the node of ${this.stack} ended before ${what}`)
      if (waited >= patienceMs) throw new Error(`not within ${patienceMs / 1000} s: ${what}`)
      await sleep(50)
    }
  }

  has(event: string, peer: string): boolean {
    return this.lines.some((line) => line.event === event && line.peer === peer)
  }

  saw(event: string, other: LanNode): Promise<void> {
    return this.until(() => this.has(event, other.peer), `${this.stack} has ${event} ${other.stack}`)
  }

  async stop(): Promise<void> {
    const { child } = this
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()))
    // Ours is stopped as people stop it, so that it says goodbye.
    if (this.stack === ours.name) child.kill("SIGINT")
    else child.stdin?.end()
    const timer = setTimeout(() => child.kill("SIGKILL"), 5000)
    await gone
    clearTimeout(timer)
  }
}

// ---- what is checked

interface Cell {
  readonly row: string
  readonly test: string
  readonly detail: string | undefined
}
const cells: Array<Cell> = []
const tests = ["found", "connected", "shown", "service", "apart", "left"] as const

const check = async (row: string, test: (typeof tests)[number], attempt: () => Promise<void>): Promise<void> => {
  const detail = await attempt().then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error))
  )
  cells.push({ row, test, detail })
  progress(
    `${detail === undefined ? "ok    " : "FAILED"} ${row.padEnd(24)} ${test}${detail === undefined ? "" : `  ${detail}`}`
  )
}

const missing: Array<string> = []
const isMissing = (name: string, why: string): void => {
  progress(`skipped: ${name}: ${why}`)
  missing.push(name)
}

const table = (): string => {
  const rows = [...new Set(cells.map(({ row }) => row))]
  const width = Math.max(0, ...rows.map((row) => row.length)) + 2
  const shown = (row: string, test: string) => {
    const cell = cells.find((one) => one.row === row && one.test === test)
    return cell === undefined ? "" : cell.detail === undefined ? "ok" : "FAILED"
  }
  return [
    " ".repeat(width) + tests.map((test) => test.padEnd(11)).join(""),
    ...rows.map((row) => row.padEnd(width) + tests.map((test) => shown(row, test).padEnd(11)).join(""))
  ].join("\n")
}

// ---- the run

const lan = TwoHosts.make()
const [hostA, hostB] = lan.hosts
progress(lan.about)
if (!lan.real) isMissing("netns", lan.about)
const running: Array<LanNode> = []
const start = async (host: TwoHosts.Host, stack: Stack, ofService?: string): Promise<LanNode> => {
  const node = await LanNode.start(host, stack, ofService)
  running.push(node)
  return node
}

/** What the command `lan` shows of a host, one JSON object a line. */
const shownBy = (host: TwoHosts.Host): string => {
  const [program, rest] = command([...host.prefix, ...cli, "lan", "--once", "--json", "--wait", "3s"])
  return spawnSync(program, rest, { timeout: 2 * patienceMs }).stdout.toString()
}

const withStack = async (stack: Stack): Promise<void> => {
  const row = `effect and ${stack.name}`
  const [us, usOfService] = [await start(hostA, ours), await start(hostA, ours, service)]
  const [them, themOfService] = [await start(hostB, stack), await start(hostB, stack, service)]
  // Ours tells of peers when it is connected; others when they have heard of one.
  await check(row, "found", () => them.saw(stack === ours ? "connected" : "found", us))
  await check(row, "connected", () => us.saw("connected", them))
  await check(row, "shown", async () => {
    if (!shownBy(hostA).includes(them.peer)) throw new Error(`"lan" does not show ${stack.name}`)
  })
  await check(row, "service", async () => {
    await themOfService.saw(stack === ours ? "connected" : "found", usOfService)
    await usOfService.saw("connected", themOfService)
  })
  await check(row, "apart", async () => {
    const met = (one: LanNode, other: LanNode) => one.has("found", other.peer) || one.has("connected", other.peer)
    if (met(us, themOfService) || met(them, usOfService) || met(usOfService, them) || met(themOfService, us)) {
      throw new Error("a node met one of another service")
    }
  })
  for (const node of [us, usOfService, them, themOfService]) await node.stop()
}

/** Avahi on the other host, with a message bus of its own. */
const withAvahi = async (): Promise<void> => {
  const bus = `unix:path=${join(directory, "bus")}`
  const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: bus }
  const conf = join(directory, "avahi.conf")
  writeFileSync(
    conf,
    "[server]\nuse-ipv4=yes\nuse-ipv6=yes\nenable-dbus=yes\n" +
      "[publish]\npublish-addresses=no\npublish-hinfo=no\npublish-workstation=no\n"
  )
  const daemon = (words: ReadonlyArray<string>) => {
    const [program, rest] = command([...hostB.prefix, ...words])
    return spawn(program, rest, { env, stdio: "ignore" })
  }
  const daemons = [daemon(["dbus-daemon", "--session", "--nofork", `--address=${bus}`])]
  const browse = () => {
    const [program, rest] = command([...hostB.prefix, "avahi-browse", "-rpt", "_p2p._udp"])
    return spawnSync(program, rest, { env, timeout: 10_000 }).stdout.toString()
  }
  const until = async (condition: () => boolean, what: string) => {
    const before = Date.now()
    while (!condition()) {
      if (Date.now() - before > patienceMs) throw new Error(`not within ${patienceMs / 1000} s: ${what}`)
      await sleep(500)
    }
  }
  try {
    await sleep(1000)
    daemons.push(daemon(["avahi-daemon", "--no-drop-root", "--no-chroot", "--no-proc-title", "-f", conf]))
    await sleep(1000)
    const us = await start(hostA, ours)
    const shows = () => browse().includes(`/p2p/${us.peer}`)
    await check("avahi-browse", "found", () => until(shows, "it shows the TXT record of our node"))
    await us.stop()
    await check("avahi-browse", "left", () => until(() => !shows(), "it forgets our node, which said goodbye"))
  } finally {
    for (const one of daemons.toReversed()) one.kill()
  }
}

try {
  for (const stack of [ours, ...stacks.filter(({ name }) => name !== "rust")]) {
    if (!hasToolchain(stack) || !build(stack)) {
      isMissing(stack.name, "it cannot be built here")
      continue
    }
    if (stack !== ours) progress(`${stack.name} ${versionOf(stack)}`)
    await withStack(stack)
  }
  const hasAvahi = ["avahi-browse", "avahi-daemon", "dbus-daemon"].every(
    (program) => spawnSync(program, ["--version"]).status === 0
  )
  if (!hasAvahi) isMissing("avahi", "Debian's avahi-daemon and avahi-utils are not here")
  else if (!lan.real) isMissing("avahi", "it is tried in network namespaces only")
  else await withAvahi()
} finally {
  for (const node of running) await node.stop()
  lan.remove()
  rmSync(directory, { recursive: true, force: true })
}

console.log(table())
const lacking = missing.filter((name) => required.includes(name))
const failed = cells.filter(({ detail }) => detail !== undefined).length
for (const name of lacking) progress(`FAILED ${name} is required, and missing`)
console.log(
  `\n${lan.about}\n${cells.length - failed} passed, ${failed + lacking.length} failed, ${missing.length - lacking.length} skipped`
)
process.exitCode = failed + lacking.length === 0 && cells.length > 0 ? 0 : 1
