/**
 * One DHT of four stacks: nodes of go-libp2p, rust-libp2p, js-libp2p and this
 * library in one network. Each stack is bootstrap, provider and querier for
 * each other, wherever this library is one of the three; and each refuses what
 * is wrong. Prints a table, and exits with 1 if a cell fails. See README.md.
 *
 *   npm run interop:dht                   20 nodes, of every stack that has its toolchain
 *   npm run interop:dht -- --nodes 8      fewer
 *   INTEROP_REQUIRE=go,rust,js            a missing toolchain is a failure
 */
import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { CID } from "multiformats/cid"
import { create } from "multiformats/hashes/digest"
import { build, command, hasToolchain, ours, progress, required, type Stack, stacks, versionOf } from "./Stacks.ts"

const here = dirname(fileURLToPath(import.meta.url))
const { values } = parseArgs({
  options: {
    nodes: { type: "string", default: "20" },
    stack: { type: "string", multiple: true },
    out: { type: "string", default: join(here, "../../reports/interop-dht.json") }
  }
})

// ---- nodes

type Answer = Readonly<Record<string, unknown>>

/** A program that is a node, and does what it is told. */
class DhtNode {
  readonly stack: Stack
  peer = ""
  address = ""
  private readonly child: ChildProcess
  private readonly waiting = new Map<number, { resolve: (ok: Answer) => void; reject: (error: Error) => void }>()
  private nextId = 1

  private constructor(stack: Stack, child: ChildProcess) {
    this.stack = stack
    this.child = child
  }

  static start(stack: Stack, mode: "server" | "client"): Promise<DhtNode> {
    const [program, rest] = command([...(stack.dht ?? [...stack.run, "dht"]), "--mode", mode])
    const child = spawn(program, rest, { cwd: stack.cwd, stdio: ["pipe", "pipe", "inherit"] })
    const node = new DhtNode(stack, child)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        child.kill("SIGKILL")
        reject(new Error(`${stack.name} did not listen within 60 s`))
      }, 60_000)
      child.on("error", reject)
      child.on("exit", (code) => {
        const error = new Error(`the node of ${stack.name} ended with ${code}`)
        reject(error)
        for (const { reject } of node.waiting.values()) reject(error)
      })
      createInterface({ input: child.stdout ?? process.stdin }).on("line", (line) => {
        const said: {
          event?: string
          peer?: string
          addresses?: Array<string>
          id?: number
          ok?: Answer
          error?: string
        } = JSON.parse(line)
        if (said.event === "listening") {
          clearTimeout(timer)
          node.peer = said.peer ?? ""
          node.address = said.addresses?.[0] ?? ""
          resolve(node)
          return
        }
        const waits = node.waiting.get(said.id ?? 0)
        node.waiting.delete(said.id ?? 0)
        if (said.error === undefined) waits?.resolve(said.ok ?? {})
        else waits?.reject(new Error(said.error))
      })
    })
  }

  ask(run: string, options: Readonly<Record<string, unknown>> = {}): Promise<Answer> {
    const id = this.nextId++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no answer within 45 s")), 45_000)
      const settle =
        <A>(then: (value: A) => void) =>
        (value: A) => {
          clearTimeout(timer)
          then(value)
        }
      this.waiting.set(id, { resolve: settle(resolve), reject: settle(reject) })
      this.child.stdin?.write(`${JSON.stringify({ id, run, ...options })}\n`)
    })
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) return resolve()
      const timer = setTimeout(() => this.child.kill("SIGKILL"), 5_000)
      this.child.removeAllListeners("exit")
      this.child.once("exit", () => {
        clearTimeout(timer)
        resolve()
      })
      this.child.stdin?.end()
    })
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Tries until it succeeds, a few times: networks settle. */
const patiently = async <A>(attempt: () => Promise<A>): Promise<A> => {
  for (let left = 3; ; left--) {
    try {
      return await attempt()
    } catch (error) {
      if (left === 1) throw error
      await sleep(1000)
    }
  }
}

// ---- what is checked

interface Cell {
  readonly row: string
  readonly test: string
  readonly ok: boolean
  readonly detail: string
}
const cells: Array<Cell> = []

const check = async (row: string, test: string, attempt: () => Promise<string | undefined>): Promise<void> => {
  const detail = await patiently(async () => {
    const wrong = await attempt()
    if (wrong !== undefined) throw new Error(wrong)
  }).then(
    () => "",
    (error: unknown) => messageOf(error)
  )
  cells.push({ row, test, ok: detail === "", detail })
  progress(`${detail === "" ? "ok    " : "FAILED"} ${row.padEnd(44)} ${test}${detail === "" ? "" : `  ${detail}`}`)
}

const content = (name: string) => {
  const digest = createHash("sha256").update(name).digest()
  const multihash = create(0x12, digest)
  return { cid: CID.createV1(0x55, multihash).toString(), multihash: Buffer.from(multihash.bytes).toString("hex") }
}

/** What a node of each stack has put and provides. */
const nameOf = (provider: DhtNode) => `interop-${provider.stack.name}`
const keyOf = (provider: DhtNode) => `/example/${nameOf(provider)}`
const valueOf = (provider: DhtNode) => `hello from ${provider.stack.name}`

const queries: Readonly<Record<string, (querier: DhtNode, provider: DhtNode) => Promise<string | undefined>>> = {
  value: async (querier, provider) => {
    const { value } = await querier.ask("get", { key: keyOf(provider) })
    return value === valueOf(provider) ? undefined : `got ${JSON.stringify(value)}`
  },
  providers: async (querier, provider) => {
    const { peers } = await querier.ask("providers", { ...content(nameOf(provider)), count: 1 })
    return Array.isArray(peers) && peers.includes(provider.peer) ? undefined : `found ${JSON.stringify(peers)}`
  },
  find: async (querier, provider) => {
    const { addresses } = await querier.ask("find", { peer: provider.peer })
    const port = /\/tcp\/\d+/.exec(provider.address)?.[0] ?? "?"
    return JSON.stringify(addresses).includes(port) ? undefined : `found ${JSON.stringify(addresses)}`
  }
}

const table = (tests: ReadonlyArray<string>): string => {
  const rows = [...new Set(cells.map(({ row }) => row))]
  const width = Math.max(...rows.map((row) => row.length)) + 2
  return [
    " ".repeat(width) + tests.map((test) => test.padEnd(11)).join(""),
    ...rows.map((row) => {
      const of = (test: string) => cells.find((cell) => cell.row === row && cell.test === test)
      return (
        row.padEnd(width) +
        tests.map((test) => (of(test) === undefined ? "" : of(test)?.ok === true ? "ok" : "FAILED").padEnd(11)).join("")
      )
    })
  ].join("\n")
}

// ---- the run

const taking: Array<Stack> = [ours]
let skipped = 0
for (const stack of stacks.filter(({ name }) => values.stack === undefined || values.stack.includes(name))) {
  if (hasToolchain(stack) && build(stack)) {
    taking.push(stack)
    progress(`${stack.name} ${versionOf(stack)}`)
  } else if (required.includes(stack.name)) {
    cells.push({ row: stack.name, test: "build", ok: false, detail: "it cannot be built" })
  } else {
    skipped++
    progress(`skipped: ${stack.name} cannot be built here`)
  }
}

const started: Array<DhtNode> = []
const start = async (stack: Stack, mode: "server" | "client"): Promise<DhtNode> => {
  const node = await DhtNode.start(stack, mode)
  started.push(node)
  return node
}

const size = Math.max(taking.length, Number(values.nodes))
const servers: Array<DhtNode> = []
for (let index = 0; index < size; index++) servers.push(await start(taking[index % taking.length] ?? ours, "server"))
progress(`${size} nodes run`)
for (const [index, node] of servers.entries()) {
  // To one of those before it, of every stack in turn.
  const known = servers[index < taking.length ? 0 : index % taking.length]
  if (known !== undefined && known !== node) await patiently(() => node.ask("connect", { address: known.address }))
}
await sleep(2000)
for (const node of servers) await patiently(() => node.ask("refresh"))
const sizes = await Promise.all(servers.map(async (node) => Number((await node.ask("table"))["peers"])))
progress(`peers in their tables: ${servers.map(({ stack }, index) => `${stack.name} ${sizes[index]}`).join(", ")}`)

/** The last node of each stack provides. */
const providers = taking.flatMap((stack) => servers.findLast((node) => node.stack === stack) ?? [])
for (const provider of providers) {
  await check(`${provider.stack.name} provides`, "value", async () => {
    await provider.ask("put", { key: keyOf(provider), value: valueOf(provider) })
    return undefined
  })
  await check(`${provider.stack.name} provides`, "providers", async () => {
    await provider.ask("provide", content(nameOf(provider)))
    return undefined
  })
}

for (const bootstrap of servers.slice(0, taking.length)) {
  for (const stack of taking) {
    const asked = providers.filter((provider) => bootstrap.stack === ours || stack === ours || provider.stack === ours)
    const querier = await start(stack, "client")
    await patiently(() => querier.ask("connect", { address: bootstrap.address }))
    await sleep(1000)
    for (const provider of asked) {
      const row = `${stack.name} asks, by ${bootstrap.stack.name}, for ${provider.stack.name}`
      for (const [test, query] of Object.entries(queries)) await check(row, test, () => query(querier, provider))
    }
    await querier.stop()
  }
}

// What is wrong is told to each stack by us, and must not be held.
const liar = await start(ours, "client")
for (const server of servers.slice(0, taking.length)) {
  await liar.ask("connect", { address: server.address })
  await check(`${server.stack.name} is told a wrong value`, "refused", async () => {
    const key = `/example/wrong-${server.stack.name}`
    await liar.ask("tell-value", { peer: server.peer, key, value: "not hello" })
    const { value } = await liar.ask("ask-value", { peer: server.peer, key })
    return value === null ? undefined : `it holds ${JSON.stringify(value)}`
  })
}

await Promise.all(started.map((node) => node.stop()))
console.log(table(["value", "providers", "find", "refused", "build"]))
const failed = cells.filter(({ ok }) => !ok).length
mkdirSync(dirname(values.out), { recursive: true })
writeFileSync(values.out, JSON.stringify({ nodes: size, cells }, null, 2))
console.log(`\n${cells.length - failed} passed, ${failed} failed, ${skipped} skipped`)
process.exitCode = failed === 0 && cells.length > 0 ? 0 : 1
