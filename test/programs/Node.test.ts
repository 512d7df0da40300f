import { assert, describe, it } from "@effect/vitest"
import * as NodeCrypto from "node:crypto"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { events, isEvent, makeHome, run, type Running, sources, start } from "./Program.ts"

/** A node with `--json` on one free port, its peer id and its address. */
const startNode = async (home: string, args: ReadonlyArray<string> = ["--listen", "/ip4/127.0.0.1/tcp/0"]) => {
  const node = start(home, ["node", "--json", ...args])
  const [event] = events(await node.line(isEvent("listening")))
  const { addresses, peer } = event ?? {}
  assert.isTrue(Array.isArray(addresses))
  const texts = Array.isArray(addresses) ? addresses.map(String) : []
  return { node, peer: String(peer), addresses: texts, address: texts[0] ?? "" }
}

const stop = (program: Running, signal: NodeJS.Signals) => {
  program.child.kill(signal)
  return program.finished
}

describe("effect-libp2p node, ping and identify", () => {
  it("two processes: ping and identify reach a node, which says who came and went", async () => {
    const home = makeHome()
    const { address, addresses, node, peer } = await startNode(home, [
      "--listen",
      "/ip4/127.0.0.1/tcp/0",
      "--listen",
      "/ip4/127.0.0.1/tcp/0",
      "--agent",
      "me/1"
    ])
    assert.strictEqual(addresses.length, 2)
    for (const text of addresses) assert.match(text, new RegExp(`^/ip4/127\\.0\\.0\\.1/tcp/[1-9]\\d*/p2p/${peer}$`))

    const pinged = await run(home, ["ping", "--count", "3", "--interval", "1ms", "--json", address])
    assert.strictEqual(pinged.code, 0, pinged.stderr)
    assert.strictEqual(pinged.stderr, "")
    const lines = events(pinged.stdout)
    assert.deepStrictEqual(
      lines.map(({ event, seq }) => [event, seq]),
      [
        ["ping", 1],
        ["ping", 2],
        ["ping", 3],
        ["summary", undefined]
      ]
    )
    assert.deepInclude(lines[3], { sent: 3, received: 3 })

    const withoutPeer = address.replace(/\/p2p\/.*/, "")
    const text = await run(home, ["ping", "-c", "1", withoutPeer])
    assert.strictEqual(text.code, 0, text.stderr)
    assert.match(text.stdout, /seq=1 time=[\d.]+ ms\n\n--- .*\n1 sent, 1 answered\n/)

    const identified = await run(home, ["identify", "--json", withoutPeer])
    const [info] = events(identified.stdout)
    assert.deepInclude(info, {
      event: "identified",
      peer,
      address,
      agent: "me/1",
      keyType: "Ed25519",
      security: "/noise"
    })
    assert.include(JSON.stringify(info?.["protocols"]), "/ipfs/ping/1.0.0")

    await node.line(isEvent("disconnected"))
    const ended = await stop(node, "SIGINT")
    assert.strictEqual(ended.code, 0)
    const all = events(ended.stdout).map(({ event }) => event)
    assert.strictEqual(all.filter((event) => event === "listening").length, 1)
    assert.deepStrictEqual(all.slice(0, 3), ["listening", "connected", "identified"])
    assert.include(all, "disconnected")
    assert.strictEqual(ended.stderr, "")
  })

  it("is the same peer at each start, and says in text how to be reached", async () => {
    const home = makeHome()
    const { node, peer } = await startNode(home)
    await stop(node, "SIGTERM")
    const again = start(home, ["node"])
    assert.include(await again.line((line) => line.startsWith("peer id")), peer)
    assert.match(
      await again.line((line) => line.includes(" ping ")),
      new RegExp(`ping /ip4/127\\.0\\.0\\.1/tcp/\\d+/p2p/${peer}$`)
    )
    await again.line((line) => line.includes("Ctrl-C"))
    assert.strictEqual((await stop(again, "SIGINT")).code, 0)
  })

  it("stops in order with a peer that does not answer and one that never spoke", async () => {
    const home = makeHome()
    const { address, node } = await startNode(home)
    const silent = start(home, ["ping", "--interval", "1ms", "--json", address])
    await silent.line(isEvent("ping"))
    silent.child.kill("SIGSTOP")
    const mute = Net.connect(Number(/tcp\/(\d+)/.exec(address)?.[1]), "127.0.0.1")
    mute.on("error", () => undefined)
    await new Promise((resolve) => mute.once("connect", resolve))
    // A stop by force would have the code 1, a second signal 130.
    assert.strictEqual((await stop(node, "SIGINT")).code, 0)
    mute.destroy()
    silent.child.kill("SIGKILL")
  })

  it.skipIf(process.platform === "win32")("SIGUSR2 prints the actors to stderr and nothing to stdout", async () => {
    const { address, node } = await startNode(makeHome())
    node.child.kill("SIGUSR2")
    const listener = address.replace(/\/p2p\/.*/, "")
    await node.line((line) => line.includes(`listener ${listener}`), "stderr")
    const ended = await stop(node, "SIGTERM")
    assert.include(ended.stderr, "├─ swarm  idle, mailbox 0/1024")
    assert.strictEqual(events(ended.stdout).length, 1)
  })

  it("secures and multiplexes as it is told, warns of plaintext, and keeps away whom it should", async () => {
    const home = makeHome()
    const here = ["--listen", "/ip4/127.0.0.1/tcp/0"]
    const [node, closed] = await Promise.all([
      startNode(home, [...here, "--security", "tls,plaintext", "--muxers", "mplex,yamux", "--peer-store", "peers.db"]),
      startNode(makeHome(), [...here, "--deny", "192.0.2.0/24,127.0.0.0/8"])
    ])
    const identify = (address: string, ...args: ReadonlyArray<string>) =>
      run(home, ["identify", "--json", ...args, address])
    const [tls, plaintext, denied] = await Promise.all([
      identify(node.address),
      identify(node.address, "--security", "plaintext", "--muxer", "mplex"),
      identify(closed.address)
    ])
    assert.deepInclude(events(tls.stdout)[0], { security: "/tls/1.0.0", muxer: "/yamux/1.0.0" })
    assert.strictEqual(tls.stderr, "")
    assert.deepInclude(events(plaintext.stdout)[0], { security: "/plaintext/2.0.0", muxer: "/mplex/6.7.0" })
    assert.include(plaintext.stderr, "warning: plaintext is the only security")
    assert.strictEqual(denied.code, 1)
    const ended = await Promise.all([stop(node.node, "SIGTERM"), stop(closed.node, "SIGTERM")])
    assert.deepStrictEqual(
      ended.map(({ code }) => code),
      [0, 0]
    )
    assert.include(ended[0]?.stderr, "warning: plaintext is allowed")
    assert.isTrue(Fs.existsSync(Path.join(home, "peers.db")))
  }, 60_000)

  it("an endless ping ends at Ctrl-C with a summary", async () => {
    const home = makeHome()
    const { address, node } = await startNode(home)
    const ping = start(home, ["ping", "--interval", "1ms", "--json", address])
    await ping.line(isEvent("ping"))
    const ended = await stop(ping, "SIGINT")
    assert.strictEqual(ended.code, 0)
    assert.strictEqual(events(ended.stdout).at(-1)?.["event"], "summary")
    await stop(node, "SIGTERM")
  })

  it("a port in use is named, with what to do", async () => {
    const home = makeHome()
    const { address, node } = await startNode(home)
    const port = /tcp\/(\d+)/.exec(address)?.[1] ?? ""
    const refused = await run(makeHome(), ["node", "--json", "--listen", `/ip4/127.0.0.1/tcp/${port}`])
    assert.strictEqual(refused.code, 1)
    assert.strictEqual(refused.stdout, "")
    assert.include(refused.stderr, `port ${port} is in use`)
    assert.include(refused.stderr, "--listen")
    await stop(node, "SIGTERM")
  })
})

describe("effect-libp2p, wrong", () => {
  const cases: ReadonlyArray<readonly [args: ReadonlyArray<string>, says: string]> = [
    [["node", "--foo"], "there is no flag --foo. See: "],
    [["node", "--bootsrap", "x"], "there is no flag --bootsrap; did you mean --bootstrap? See: "],
    [["find"], "effect-libp2p: find needs <peer>. See: "],
    [["frob"], "there is no command frob"],
    [["ping", "foo"], '"foo" is not an address'],
    [["ping", "--count", "0", "/ip4/127.0.0.1/tcp/1"], "expected a whole number above 0"],
    [["ping", "/ip4/127.0.0.1/tcp/1"], "connection refused"],
    [["node", "--listen", "/ip4/127.0.0.1/tcp/70000"], '--listen: "/ip4/127.0.0.1/tcp/70000" is not a multiaddr'],
    [["node", "--lan", "both"], "--lan both is for a node in a private network"],
    [["key", "show"], "there is no key file"]
  ]
  for (const [args, says] of cases) {
    it.concurrent(`${args.join(" ")}: one line on stderr, exit code 1`, async () => {
      const { code, stderr, stdout } = await run(makeHome(), args)
      assert.strictEqual(code, 1)
      assert.strictEqual(stdout, "")
      assert.include(stderr, says)
      assert.match(stderr, /^effect-libp2p: [^\n]+\n$/)
    })
  }

  it("the sources say the same", async () => {
    const { code, stderr } = await run(makeHome(), ["ping", "/ip4/127.0.0.1/tcp/1"], { program: sources })
    assert.strictEqual(code, 1)
    assert.match(stderr, /^effect-libp2p: [^\n]*connection refused[^\n]*\n$/)
  })

  it("a damaged key file, or one that others may read, is left as it is", async () => {
    const home = makeHome()
    const path = Path.join(home, "a.key")
    const pair = NodeCrypto.generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" })
    const whole = Buffer.concat([
      Uint8Array.of(8, 1, 18, 64),
      Buffer.from(pair.d ?? "", "base64url"),
      Buffer.from(pair.x ?? "", "base64url")
    ])
    Fs.writeFileSync(path, whole.subarray(0, 20), { mode: 0o600 })
    const damaged = await run(home, ["node", "--json", "--verbose", "--identity", path])
    assert.strictEqual(damaged.code, 1)
    assert.strictEqual(damaged.stdout, "")
    assert.match(damaged.stderr, /^effect-libp2p: [^\n]*damaged/)
    assert.include(damaged.stderr, "IdentityError", "--verbose adds the cause")
    assert.deepStrictEqual(Fs.readFileSync(path), whole.subarray(0, 20))
    Fs.writeFileSync(path, whole)
    if (process.platform === "win32") return
    Fs.chmodSync(path, 0o644)
    const open = await run(home, ["node", "--identity", path])
    assert.strictEqual(open.code, 1)
    assert.include(open.stderr, `chmod 600 '${path}'`)
    assert.deepStrictEqual(Fs.readFileSync(path), whole)
  })

  it("--help and --completions are for stdout", async () => {
    const home = makeHome()
    const help = await run(home, ["node", "--help"])
    assert.deepInclude(help, { code: 0, stderr: "" })
    assert.include(help.stdout, "--listen")
    const completions = await run(home, ["--completions", "bash"])
    assert.deepInclude(completions, { code: 0, stderr: "" })
    assert.include(completions.stdout, "identify")
  })
})
