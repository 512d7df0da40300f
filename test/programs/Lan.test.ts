import { assert, describe, it } from "@effect/vitest"
import * as dgram from "node:dgram"
import * as Path from "node:path"
import { events, isEvent, makeHome, run, type Running, start } from "./Program.ts"

/** The loopback only, by a port that nothing else uses. */
const onLoopback = async () => {
  const socket = dgram.createSocket("udp4")
  await new Promise<void>((resolve) => {
    socket.bind(0, "127.0.0.1", resolve)
  })
  const { port } = socket.address()
  await new Promise<void>((resolve) => {
    socket.close(resolve)
  })
  return { env: { EFFECT_LIBP2P_LAN: `loopback:${port}` } }
}

const here = ["--listen", "/ip4/127.0.0.1/tcp/0"]

const peerOf = async (node: Running): Promise<string> =>
  String(events(await node.line(isEvent("listening")))[0]?.["peer"])

const stop = (program: Running) => {
  program.child.kill("SIGINT")
  return program.finished
}

describe("effect-libp2p on the local network", () => {
  it("two nodes of one user, with nothing configured, are two peers, and connect", async () => {
    const home = makeHome()
    const options = await onLoopback()
    const first = start(home, ["node", "--json", ...here], options)
    const one = await peerOf(first)
    const second = start(home, ["node", "--json", ...here], options)
    const other = await peerOf(second)
    assert.notStrictEqual(one, other)
    // How soon is promised in virtual time: test/layers/mdns/Simulated.test.ts.
    const connected = await Promise.all([first, second].map((node) => node.line(isEvent("connected"))))
    assert.deepStrictEqual(
      connected.flatMap(events).map(({ peer }) => peer),
      [other, one]
    )
    const seen = await run(home, ["lan", "--once", "--wait", "1s", "--json"], options)
    assert.strictEqual(seen.code, 0, seen.stderr)
    const found = events(seen.stdout).filter(({ event }) => event === "peer")
    assert.deepStrictEqual(found.map(({ peer }) => String(peer)).toSorted(), [one, other].toSorted())
    assert.deepInclude(found[0], { services: ["_p2p._udp.local"] })
    const table = await run(home, ["lan", "--once", "--wait", "1s"], options)
    assert.match(table.stdout, /^2 peers, heard on lo\S*\/4\n\npeer +heard +service\n12D3Koo/)

    const follows = start(home, ["lan", "--json"], options)
    await follows.line(isEvent("appeared"))
    const ends = await Promise.all([stop(first), stop(second)])
    assert.deepStrictEqual(
      ends.map(({ code, stderr }) => [code, stderr]),
      [
        [0, ""],
        [0, ""]
      ]
    )
    await follows.line(isEvent("left"))
    assert.strictEqual((await stop(follows)).code, 0)

    // The first of this user's nodes is the same peer again.
    const again = start(home, ["node", "--json", ...here], options)
    assert.strictEqual(await peerOf(again), one)
    await stop(again)
  }, 60_000)

  it("nodes of a service find each other only, and one that is told to stay out finds nobody", async () => {
    const options = await onLoopback()
    const node = (...args: ReadonlyArray<string>) => start(makeHome(), ["node", "--json", ...here, ...args], options)
    const nodes = [node("--service", "chat"), node("--service", "chat"), node(), node("--lan", "off")]
    const ids = await Promise.all(nodes.map(peerOf))
    const [a, b] = nodes
    if (a === undefined || b === undefined) return assert.fail()
    await Promise.all([a, b].map((one) => one.line(isEvent("connected"))))
    const seen = await run(makeHome(), ["lan", "--once", "--wait", "2s", "--json"], options)
    const found = events(seen.stdout).filter(({ event }) => event === "peer")
    assert.deepStrictEqual(found.map(({ peer }) => String(peer)).toSorted(), ids.slice(0, 3).toSorted())
    const chat = await run(makeHome(), ["lan", "--once", "--wait", "2s", "--json", "--service", "chat"], options)
    assert.lengthOf(
      events(chat.stdout).filter(({ event }) => event === "peer"),
      2
    )
    const ends = await Promise.all(nodes.map(stop))
    // Two that dial each other at once have two connections for a moment.
    const met = ends.map(({ stdout }) => [
      ...new Set(events(stdout).flatMap(({ event, peer }) => (event === "connected" ? [peer] : [])))
    ])
    assert.deepStrictEqual(met, [[ids[1]], [ids[0]], [], []])
  }, 60_000)

  it("nodes of a private network find each other only, in the name of its key's fingerprint, and nobody else hears them", async () => {
    const options = await onLoopback()
    const home = makeHome()
    assert.strictEqual((await run(home, ["key", "psk", "--out", "swarm.key"])).code, 0)
    const psk = ["--psk", Path.join(home, "swarm.key")]
    const node = (...args: ReadonlyArray<string>) => start(makeHome(), ["node", "--json", ...here, ...args], options)
    const nodes = [node(...psk), node(...psk), node()]
    const ids = await Promise.all(nodes.map(peerOf))
    await Promise.all(nodes.slice(0, 2).map((one) => one.line(isEvent("connected"))))
    const seen = await run(makeHome(), ["lan", "--once", "--wait", "2s", "--json", ...psk], options)
    const found = events(seen.stdout).filter(({ event }) => event === "peer")
    assert.deepStrictEqual(found.map(({ peer }) => String(peer)).toSorted(), ids.slice(0, 2).toSorted())
    assert.match(JSON.stringify(found[0]?.["services"]), /^\["_p2p-[0-9a-f]{32}\._udp\.local"\]$/)
    const outside = await run(makeHome(), ["lan", "--once", "--wait", "2s", "--json"], options)
    const heard = events(outside.stdout).filter(({ event }) => event === "peer")
    assert.deepStrictEqual(
      heard.map(({ peer }) => peer),
      ids.slice(2)
    )
    const ends = await Promise.all(nodes.map(stop))
    // Two that dial each other at once are connected twice for a moment.
    const counts = ends.map(({ stdout }) => {
      const connected = events(stdout).filter(({ event }) => event === "connected")
      return new Set(connected.map(({ peer }) => peer)).size
    })
    assert.deepStrictEqual(counts, [1, 1, 0])
  }, 60_000)

  it("a service that cannot be one is refused", async () => {
    const refused = await run(makeHome(), ["node", "--service", "No such"])
    assert.strictEqual(refused.code, 1)
    assert.include(refused.stderr, '--service: "No such" is not a name of lower-case letters')
  })
})
