/** A small network as its users see it: nodes that take part in a DHT, and the commands that ask it. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import * as Path from "node:path"
import * as ContentKey from "../../src/data/ContentKey.ts"
import * as PeerId from "../../src/data/PeerId.ts"
import * as ProvidedFile from "../../src/layers/kad/ProvidedFile.ts"
import { events, isEvent, makeHome, run, start } from "./Program.ts"

const Listening = Schema.Struct({
  peer: Schema.String,
  addresses: Schema.Array(Schema.String),
  metrics: Schema.optional(Schema.String)
})

const startNode = async (args: ReadonlyArray<string>) => {
  const node = start(makeHome(), ["node", "--json", "--listen", "/ip4/127.0.0.1/tcp/0", "--dht", "server", ...args])
  const { addresses, metrics, peer } = Schema.decodeUnknownSync(Listening)(
    events(await node.line(isEvent("listening")))[0]
  )
  return { node, peer, address: addresses[0] ?? "", url: metrics === undefined ? "" : new URL(metrics).origin }
}

const cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"

describe("a network", () => {
  it("is asked by a node made for it, and by one that runs", { timeout: 120_000 }, async () => {
    const home = makeHome()
    const first = await startNode(["--metrics", "127.0.0.1:0"])
    const lonely = await run(home, ["providers", cid, "--of", first.url])
    const host = new URL(first.url).host
    assert.strictEqual(
      lonely.stderr,
      `effect-libp2p: the node at ${host}: providers of ${cid}: it has no answer: nobody to ask: ` +
        `no peer that speaks /ipfs/kad/1.0.0 is known; no peer that speaks /ipfs/lan/kad/1.0.0 is known. ` +
        `"dht --of ${host}" shows whom it knows.\n`
    )
    const second = await startNode(["--bootstrap", first.address])
    const by = ["--json", "--bootstrap", first.address]
    const of = ["--json", "--of", first.url]
    const ask = async (...args: ReadonlyArray<string>) => {
      const { code, stderr, stdout } = await run(home, args)
      assert.strictEqual(code, 0, stderr)
      return events(stdout)
    }
    await first.node.line((line) => isEvent("identified")(line) && line.includes(second.peer))

    for (const how of [by, of]) {
      const [found] = await ask("find", second.peer, ...how)
      assert.deepInclude(found, { event: "found", peer: second.peer })
      assert.include(JSON.stringify(found?.["addresses"]), second.address.replace(/\/p2p\/.*/, ""))
    }

    const giver = makeHome()
    const providing = ["provide", cid, "--listen", "/ip4/127.0.0.1/tcp/0", "--provided", "provided.db", ...by]
    const provider = start(giver, providing)
    const [listening] = events(await provider.line(isEvent("listening")))
    assert.include(await provider.line(isEvent("provided")), `"holders":2`)
    for (const how of [by, of]) {
      const found = await ask("providers", cid, ...how)
      assert.deepStrictEqual(
        found.map(({ event, peer }) => ({ event, peer })),
        [{ event: "provider", peer: listening?.["peer"] }]
      )
    }
    // Beside another node of the same user, with nothing kept, it is another peer.
    const beside = start(
      giver,
      providing.filter((word) => !word.startsWith("--provided") && word !== "provided.db")
    )
    const [another] = events(await beside.line(isEvent("listening")))
    assert.notStrictEqual(another?.["peer"], listening?.["peer"])
    beside.child.kill("SIGKILL")
    const named = await run(giver, [...providing, "--identity", "their.key", "--psk", "no.key"])
    assert.include(named.stderr, "no.key: there is no such file")
    const twice = await run(giver, providing)
    assert.strictEqual(twice.code, 1)
    assert.include(twice.stderr, `is in use by process ${provider.child.pid}`)
    provider.child.kill("SIGTERM")
    assert.strictEqual((await provider.finished).code, 0)
    // Another may have the key now, and goes on with what was provided.
    const kept = await Effect.runPromise(
      ProvidedFile.make({ path: Path.join(giver, "provided.db") }).pipe(
        Effect.map((file) => file.of("lan")),
        Effect.scoped,
        Effect.provide(NodeFileSystem.layer)
      )
    )
    assert.deepStrictEqual(
      kept.map(({ key }) => ContentKey.toText(key)),
      [cid]
    )
    const again = start(giver, providing)
    await again.line(isEvent("provided"))
    again.child.kill("SIGKILL")
    await again.finished
    // However it has ended, it has the key no more.
    const last = start(giver, ["node", "--json", "--listen", "/ip4/127.0.0.1/tcp/0", "--provided", "provided.db"])
    await last.line(isEvent("listening"))
    last.child.kill("SIGTERM")
    assert.strictEqual((await last.finished).code, 0)

    const key = Result.getOrThrow(PeerId.fromString(second.peer)).bytes
    const [identified] = await ask("identify", second.address, "--json")
    const publicKey = Buffer.from(String(identified?.["publicKey"]), "base64")
    const path = `/pk/0x${Buffer.from(key).toString("hex")}`
    // An Ed25519 key in its protobuf: type 1, and 32 bytes.
    const value = Buffer.concat([Buffer.from([8, 1, 18, 32]), publicKey])
    // As put --help says it.
    assert.strictEqual(path, `/pk/0x0024${value.toString("hex")}`)
    const other = await run(home, ["put", "/other/a", "b", ...by])
    assert.include(other.stderr, "/other/a: this program cannot check records in /other, only those in /pk")
    const put = await run(home, ["put", path, "-", ...by], { stdin: value })
    assert.strictEqual(put.code, 0, put.stderr)
    const [got] = await ask("get", path, ...by)
    assert.deepStrictEqual(Buffer.from(String(got?.["value"]), "base64"), value)

    const crawled = await ask("crawl", ...by)
    assert.sameMembers(
      crawled.flatMap(({ event, failure, peer }) => (event === "crawled" && failure === null ? [peer] : [])),
      [first.peer, second.peer]
    )
    const [status] = await ask("dht", ...of)
    assert.deepInclude(status, { event: "dht", peer: first.peer })
    assert.notMatch(JSON.stringify([status, crawled]), /\d\.\d{2,}[,}\]]/, "no part of a millisecond")
    const picture = await run(home, ["dht", "--of", first.url])
    assert.match(picture.stdout, /wan .*nobody of this network is known, and nobody has asked\n/)
    assert.match(picture.stdout, /lan[^]*bits shared with this node/)
    first.node.child.kill("SIGTERM")
    second.node.child.kill("SIGTERM")
  })

  it("says what is missing", { timeout: 60_000 }, async () => {
    const home = makeHome()
    const nobody = await run(home, ["find", "12D3KooWDKaCjvmLThQxeHRQ4AhWfzAz2GCn9W8z2VzLtp2vFfCj"])
    assert.strictEqual(nobody.code, 1)
    assert.include(nobody.stderr, "give --bootstrap")
    const noPeer = await run(home, ["closest", "hello", "--bootstrap", "/ip4/127.0.0.1/tcp/1"])
    assert.include(noPeer.stderr, "must end in /p2p/<peer id>")
    const noText = await run(home, ["closest", "hello", "--of", "1"])
    assert.include(noText.stderr, "neither a peer id nor a CID, and --of takes no other key: ask with --bootstrap")
    const empty = await run(home, ["closest", "", "--of", "1"])
    assert.include(empty.stderr, "the key is empty")
    const notThere = await run(home, ["find", "12D3KooWDKaCjvmLThQxeHRQ4AhWfzAz2GCn9W8z2VzLtp2vFfCj", "--of", "1"])
    assert.include(notThere.stderr, "Was a node started with --metrics 127.0.0.1:1")
    const noCid = await run(home, ["providers", "hello", "--of", "1"])
    assert.include(noCid.stderr, `"hello" is not a CID`)
  })

  it("a node that reaches nobody to enter by says so", { timeout: 60_000 }, async () => {
    const peer = "12D3KooWDKaCjvmLThQxeHRQ4AhWfzAz2GCn9W8z2VzLtp2vFfCj"
    // What a node opens after it has begun to dial takes it longer than a dial that is refused.
    const { node } = await startNode(["--bootstrap", `/ip4/127.0.0.1/tcp/1/p2p/${peer}`, "--provided", "provided.db"])
    const line = await node.line(isEvent("unreachable"))
    assert.include(line, peer)
    assert.include(line, "connection refused")
    node.child.kill("SIGTERM")
    assert.strictEqual((await node.finished).code, 0)
  })
})
