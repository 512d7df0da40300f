import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { events, isEvent, makeHome, run, start } from "./Program.ts"

const listen = ["--listen", "/ip4/127.0.0.1/tcp/0"]

/** Starts a node; gives what it says of itself. */
const startNode = async (home: string, args: ReadonlyArray<string>, env?: Record<string, string>) => {
  const node = start(home, ["node", "--json", ...listen, ...args], env === undefined ? {} : { env })
  const [said] = events(await node.line(isEvent("listening")))
  const addresses: unknown = said?.["addresses"]
  const address: unknown = Array.isArray(addresses) ? addresses[0] : undefined
  return { node, address: String(address), network: said?.["network"] }
}

const stop = async ({ node }: Awaited<ReturnType<typeof startNode>>) => {
  node.child.kill("SIGTERM")
  return await node.finished
}

describe("private networks on the command line", () => {
  it("a key is made once, for this user alone, and a node with it speaks to those who have it", async () => {
    const home = makeHome()
    const file = Path.join(home, "swarm.key")
    const made = await run(home, ["key", "psk", "--out", file, "--json"])
    assert.strictEqual(made.code, 0, made.stderr)
    const [told] = events(made.stdout)
    assert.match(String(told?.["network"]), /^[0-9a-f]{32}$/)
    const text = Fs.readFileSync(file, "utf8")
    assert.match(text, /^\/key\/swarm\/psk\/1\.0\.0\/\n\/base16\/\n[0-9a-f]{64}\n$/)
    assert.strictEqual(Fs.statSync(file).mode & 0o777, 0o600)
    assert.notInclude(made.stdout + made.stderr, text.split("\n")[2] ?? "")

    const folder = await run(home, ["key", "psk", "--out", home])
    assert.strictEqual(
      folder.stderr,
      `effect-libp2p: ${home} is a folder: name the file that is to hold the key, such as --out ${file}\n`
    )
    const again = await run(home, ["key", "psk", "--out", file])
    assert.strictEqual(again.code, 1)
    assert.match(again.stderr, /^effect-libp2p: [^\n]*exists and is left as it is[^\n]*\n$/)
    assert.strictEqual(Fs.readFileSync(file, "utf8"), text)

    const node = await startNode(home, ["--psk", file])
    assert.strictEqual(node.network, told?.["network"])
    const pinged = await run(home, ["ping", "--count", "1", "--psk", file, node.address])
    assert.strictEqual(pinged.code, 0, pinged.stderr)
    const byVariable = await run(home, ["identify", node.address, "--json"], { env: { EFFECT_LIBP2P_PSK: file } })
    assert.strictEqual(byVariable.code, 0, byVariable.stderr)
    const stranger = await run(home, ["ping", "--count", "1", node.address])
    assert.strictEqual(stranger.code, 1)
    assert.include(stranger.stderr, "private network")
    await stop(node)
  })

  it("without --out the key is beside that of this user's node", async () => {
    const home = makeHome()
    const made = await run(home, ["key", "psk", "--json"])
    assert.strictEqual(made.code, 0, made.stderr)
    assert.strictEqual(events(made.stdout)[0]?.["file"], Path.join(home, ".local/share/effect-libp2p/swarm.key"))
  })

  it("a node with a key that it cannot use is not started, and says why", async () => {
    const home = makeHome()
    const file = Path.join(home, "k")
    const refused = async (args: ReadonlyArray<string>) => {
      const { code, stderr } = await run(home, ["node", ...listen, ...args])
      assert.strictEqual(code, 1, stderr)
      assert.match(stderr, /^effect-libp2p: [^\n]*\n$/)
      return stderr
    }
    assert.include(await refused(["--psk", file]), "there is no such file")
    Fs.writeFileSync(file, "hello\n", { mode: 0o600 })
    assert.include(await refused(["--psk", file]), "line 1 must be /key/swarm/psk/1.0.0/")
    Fs.writeFileSync(file, `/key/swarm/psk/1.0.0/\n/base16/\n${"ab".repeat(32)}\n`)
    Fs.chmodSync(file, 0o644)
    assert.include(await refused(["--psk", file]), `chmod 600 '${file}'`)
    Fs.chmodSync(file, 0o600)
    assert.include(await refused(["--psk", file, "--bootstrap", "public"]), "--bootstrap public")
  })

  it("LIBP2P_FORCE_PNET forbids a node without a key", async () => {
    const home = makeHome()
    const env = { LIBP2P_FORCE_PNET: "1" }
    const refused = await run(home, ["node", ...listen], { env })
    assert.strictEqual(refused.code, 1)
    assert.match(refused.stderr, /^effect-libp2p: LIBP2P_FORCE_PNET is set[^\n]*--psk FILE[^\n]*\n$/)
    const ping = await run(home, ["ping", "--count", "1", "/ip4/127.0.0.1/tcp/9"], { env })
    assert.include(ping.stderr, "LIBP2P_FORCE_PNET")
    await run(home, ["key", "psk", "--out", "swarm.key"])
    await stop(await startNode(home, ["--psk", "swarm.key"], env))
  })
})
