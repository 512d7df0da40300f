#!/usr/bin/env node
// The js-libp2p side of the benchmarks. The contract is described in ../README.md.

import { createInterface } from "node:readline"
import { multiaddr } from "@multiformats/multiaddr"
import { createNode, ECHO, echoOnce, exchange, OPEN, Reader, SINK, SOURCE, write } from "./node.js"

const role = process.argv[2]
const nodes = [await createNode(role === "listen" ? ["/ip4/127.0.0.1/tcp/0"] : [])]
const held = []

const work = {
  upload: async ({ address, seconds, size }) => {
    const connection = await nodes[0].dial(multiaddr(address))
    const stream = await connection.newStream(SINK, OPEN)
    const reader = new Reader(stream)
    const chunk = new Uint8Array(size)
    const started = performance.now()
    const until = started + seconds * 1000
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
    return { count: sent, seconds: since(started) }
  },

  download: async ({ address, seconds, size }) => {
    const connection = await nodes[0].dial(multiaddr(address))
    const stream = await connection.newStream(SOURCE, OPEN)
    const wanted = Buffer.alloc(4)
    wanted.writeUInt32BE(size)
    const started = performance.now()
    const until = started + seconds * 1000
    let count = 0
    const done = Promise.withResolvers()
    stream.addEventListener("message", ({ data }) => {
      count += data.byteLength
      if (performance.now() >= until) {
        done.resolve(since(started))
      }
    })
    stream.addEventListener("close", () => done.reject(new Error("the stream closed")))
    await write(stream, wanted)
    const took = await done.promise
    const counted = count
    stream.abort(new Error("enough"))
    return { count: counted, seconds: took }
  },

  connections: async ({ address, seconds, concurrency = 1 }) => {
    while (nodes.length < concurrency) {
      nodes.push(await createNode([]))
    }
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
      const node = await createNode([])
      const connection = await node.dial(multiaddr(address))
      await echoOnce(connection, 1)
      held.push({ node, connection })
    }
    return {}
  },

  memory: async () => {
    for (let i = 0; i < 3; i++) {
      globalThis.gc?.()
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    return { bytes: process.memoryUsage.rss() }
  }
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
