#!/usr/bin/env node
// The js-libp2p side of the benchmarks. The contract is described in ../README.md.

import { createInterface } from "node:readline"
import { parseArgs } from "node:util"
import { multiaddr } from "@multiformats/multiaddr"
import { createNode, ECHO, echoOnce, exchange, OPEN, Reader, SINK, SOURCE, write } from "./node.js"

const { positionals, values } = parseArgs({ allowPositionals: true, options: { security: { type: "string" } } })
const newNode = (listen = []) => createNode(listen, values.security)
const nodes = [await newNode(positionals[0] === "listen" ? ["/ip4/127.0.0.1/tcp/0"] : [])]
const held = []

/** Loaded when it is asked for only: a minimal node has none. */
const lan = (run) => async (options) => (await import("./lan.js")).lan[run](options)
const dht = (run) => async (options) => (await import("./dht.js")).dht[run](options)

process.stdin.once("end", () => process.exit(0))

const work = {
  upload: async ({ address, seconds, size, connections = 1, streams = 1 }) => {
    await have(connections)
    const opened = []
    for (const node of nodes.slice(0, connections)) {
      const connection = await node.dial(multiaddr(address))
      for (let i = 0; i < streams; i++) {
        opened.push(await connection.newStream(SINK, OPEN))
      }
    }
    const started = performance.now()
    const sent = await Promise.all(opened.map((stream) => uploadOne(stream, size, started + seconds * 1000)))
    return { count: sum(sent), seconds: since(started) }
  },

  download: async ({ address, seconds, size }) => {
    const connection = await nodes[0].dial(multiaddr(address))
    const started = performance.now()
    const stream = await connection.newStream(SOURCE, OPEN)
    const until = started + seconds * 1000
    let count = 0
    const done = Promise.withResolvers()
    stream.addEventListener("message", ({ data }) => {
      count += data.byteLength
      if (performance.now() >= until) {
        done.resolve({ count, seconds: since(started) })
      }
    })
    stream.addEventListener("close", () => done.reject(new Error("the stream closed")))
    await write(stream, fourBytes(size))
    const result = await done.promise
    stream.abort(new Error("enough"))
    return result
  },

  "slow-reader": async ({ address, seconds, size }) => {
    const connection = await nodes[0].dial(multiaddr(address))
    const seven = async () => {
      const started = performance.now()
      const streams = []
      for (let i = 0; i < 7; i++) {
        streams.push(await connection.newStream(SOURCE, OPEN))
      }
      let count = 0
      for (const stream of streams) {
        stream.addEventListener("message", ({ data }) => {
          count += data.byteLength
        })
        await write(stream, fourBytes(size))
      }
      // not until the next bytes: there may be none
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
      const rate = count / since(started)
      streams.forEach((stream) => stream.abort(new Error("enough")))
      return rate
    }
    const alone = await seven()
    const slow = await connection.newStream(SOURCE, OPEN)
    await write(slow, fourBytes(size))
    const timer = readSlowly(slow)
    const beside = await seven()
    clearInterval(timer)
    slow.abort(new Error("enough"))
    return { alone, beside }
  },

  "first-byte": async ({ address }) => {
    const started = performance.now()
    const connection = await nodes[0].dial(multiaddr(address), { force: true })
    await echoOnce(connection, 1)
    const seconds = since(started)
    await connection.close()
    return { seconds }
  },

  connections: async ({ address, seconds, concurrency = 1 }) => {
    await have(concurrency)
    const remote = multiaddr(address)
    return repeat(seconds, concurrency, async (worker) => {
      const connection = await nodes[worker].dial(remote, { force: true })
      await echoOnce(connection, 1)
      await connection.close()
    })
  },

  streams: async ({ address, seconds, concurrency = 1, size }) => {
    const connection = await nodes[0].dial(multiaddr(address))
    return repeat(seconds, concurrency, () => echoOnce(connection, size))
  },

  ping: async ({ address, seconds, size }) => {
    const connection = await nodes[0].dial(multiaddr(address))
    const stream = await connection.newStream(ECHO, OPEN)
    const reader = new Reader(stream)
    const message = new Uint8Array(size)
    const result = await repeat(seconds, 1, () => exchange(stream, reader, message))
    await stream.close()
    return result
  },

  hold: async ({ address, count }) => {
    for (let i = 0; i < count; i++) {
      const node = await newNode()
      const connection = await node.dial(multiaddr(address))
      await echoOnce(connection, 1)
      held.push({ node, connection })
    }
    return {}
  },

  "hold-streams": async ({ address, count }) => {
    const connection = await nodes[0].dial(multiaddr(address))
    for (let i = 0; i < count; i++) {
      const stream = await connection.newStream(ECHO, OPEN)
      await exchange(stream, new Reader(stream), new Uint8Array(1))
      held.push(stream)
    }
    return {}
  },

  "dht-join": dht("dht-join"),
  "dht-put": dht("dht-put"),
  "dht-get": dht("dht-get"),
  "dht-lookup": dht("dht-lookup"),

  "lan-discover": lan("lan-discover"),
  "lan-packets": lan("lan-packets"),

  memory: async () => {
    for (let i = 0; i < 3; i++) {
      globalThis.gc?.()
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    return { bytes: process.memoryUsage.rss(), peak: process.resourceUsage().maxRSS * 1024 }
  }
}

async function have(count) {
  while (nodes.length < count) {
    nodes.push(await newNode())
  }
}

/** Sends until then, and gives how much, once the listener has told that it has all. */
async function uploadOne(stream, size, until) {
  const reader = new Reader(stream)
  const chunk = new Uint8Array(size)
  let sent = 0
  while (performance.now() < until) {
    const wait = write(stream, chunk)
    if (wait != null) {
      await wait
    }
    sent += size
  }
  await stream.close()
  const received = Number((await reader.take(8)).readBigUInt64BE())
  if (received !== sent) {
    throw new Error(`sent ${sent} bytes, the listener has ${received}`)
  }
  return sent
}

/** Takes one batch of bytes ten times a second. Not paused before its first bytes: such a stream never opens. */
function readSlowly(stream) {
  stream.addEventListener("message", () => stream.pause())
  return setInterval(() => {
    if (stream.readStatus === "paused") {
      stream.resume()
    }
  }, 100)
}

function fourBytes(number) {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(number)
  return bytes
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0)
}

function since(started) {
  return (performance.now() - started) / 1000
}

/** As often as the time allows, with that many at once. */
async function repeat(seconds, concurrency, once) {
  const started = performance.now()
  const until = started + seconds * 1000
  let count = 0
  await Promise.all(
    Array.from({ length: concurrency }, async (_, worker) => {
      while (performance.now() < until) {
        await once(worker)
        count++
      }
    })
  )
  return { count, seconds: since(started) }
}

function print(line) {
  console.log(JSON.stringify(line))
}

const [address] = nodes[0].getMultiaddrs()
print({ event: "ready", ...(address == null ? {} : { address: address.toString() }) })

for await (const line of createInterface({ input: process.stdin })) {
  const { id, run, ...options } = JSON.parse(line)
  try {
    if (work[run] == null) {
      throw new Error(`no such command: ${run}`)
    }
    print({ id, ok: await work[run](options) })
  } catch (err) {
    print({ id, error: String(err?.message ?? err) })
  }
}
process.exit(0)
