// The tests that a dialer runs.

import { createHash } from "node:crypto"
import { publicKeyFromProtobuf } from "@libp2p/crypto/keys"
import { peerIdFromPublicKey } from "@libp2p/peer-id"
import { multiaddr } from "@multiformats/multiaddr"
import { chunks, ECHO, HALF_CLOSE, HANDLE, PERF, RESET, write, writeZeros } from "./serve.js"

const TIMEOUT = 60_000

export const tests = {
  ping: testPing,
  identify: testIdentify,
  "perf-upload": (remote) => perf(remote, remote.opts.bytes, 0),
  "perf-download": (remote) => perf(remote, 0, remote.opts.bytes),
  streams: testStreams,
  "half-close": testHalfClose,
  "reset-remote": testResetRemote,
  "reset-local": testResetLocal,
  "identify-push": testIdentifyPush,
  "early-muxer": async ({ state }) => ({ earlyMuxer: state.earlyMuxer })
}

/** Runs the test and gives the line to print. */
export async function dial(node, state, opts) {
  const line = { event: "result", test: opts.test }
  const timeout = Promise.withResolvers()
  setTimeout(() => timeout.reject(new Error(`timed out after ${TIMEOUT / 1000} s`)), TIMEOUT)
  try {
    const detail = await Promise.race([connectAndRun(node, state, opts), timeout.promise])
    return { ...line, ok: true, detail }
  } catch (err) {
    return { ...line, ok: false, detail: {}, error: err.message }
  }
}

async function connectAndRun(node, state, opts) {
  const signal = AbortSignal.timeout(TIMEOUT)
  // Identify starts by itself with the connection, so listen for it first.
  const identified = new Promise((resolve) => {
    node.addEventListener("peer:identify", (event) => resolve(event.detail), { once: true })
  })
  const connection = await node.dial(multiaddr(opts.addr), { signal })
  const open = (protocol) => connection.newStream(protocol, { signal })
  const detail = await tests[opts.test]({ node, connection, open, identified, state, opts, signal })
  if (connection.status !== "open") {
    throw new Error("the connection broke during the test")
  }
  return detail
}

async function testPing({ node, connection, signal }) {
  const rttsMs = []
  for (let i = 0; i < 5; i++) {
    rttsMs.push(await node.services.ping.ping(connection.remotePeer, { signal }))
  }
  return { rttsMs }
}

async function testIdentify({ connection, identified }) {
  const found = await identified
  const publicKey = publicKeyFromProtobuf(found.publicKey)
  const matches = connection.remotePeer.equals(peerIdFromPublicKey(publicKey))
  if (!matches || !connection.remotePeer.equals(found.peerId) || found.protocols.length === 0) {
    throw new Error(`identified ${found.peerId} with ${found.protocols.length} protocols, key matches: ${matches}`)
  }
  return {
    agentVersion: found.agentVersion,
    protocolVersion: found.protocolVersion,
    protocols: found.protocols,
    listenAddrs: found.listenAddrs.map(String),
    observedAddr: found.observedAddr?.toString(),
    publicKeyMatches: matches
  }
}

/** Has the remote handle one more protocol, and waits until it says so. */
async function testIdentifyPush({ node, connection, identified, open, signal }) {
  await identified
  const pushed = "/interop/pushed/1.0.0"
  const stream = await open(HANDLE)
  await write(stream, Buffer.from(pushed))
  await stream.close()
  while (!signal.aborted) {
    const { protocols } = await node.peerStore.get(connection.remotePeer)
    if (protocols.includes(pushed)) {
      return { pushed }
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error("the remote did not tell of its new protocol")
}

async function perf({ open }, send, receive) {
  const start = performance.now()
  const stream = await open(PERF)
  const header = Buffer.alloc(8)
  header.writeBigUInt64BE(BigInt(receive))
  await write(stream, header)
  await writeZeros(stream, send)
  await stream.close()
  let received = 0
  for await (const data of chunks(stream)) {
    received += data.length
  }
  if (received !== receive) {
    throw new Error(`received ${received} bytes instead of ${receive}`)
  }
  return { bytes: send + receive, seconds: (performance.now() - start) / 1000 }
}

/**
 * Holds all streams open at once. Each writes as soon as it is open: a stack
 * may acknowledge a stream only when it answers on it, and the unacknowledged
 * ones are limited.
 */
async function testStreams({ open, opts }) {
  const opened = await Promise.allSettled(
    Array.from({ length: opts.count }, async (_, i) => {
      const stream = await open(ECHO)
      const input = chunks(stream)
      await exchange(stream, input, createHash("sha256").update(`stream ${i}`).digest())
      return { stream, input }
    })
  )
  const failures = opened.filter(({ status }) => status === "rejected")
  if (failures.length > 0) {
    throw new Error(`${failures.length} streams failed, the first: ${failures[0].reason.message}`)
  }
  await Promise.all(opened.map(async ({ value: { stream, input } }) => closeAndExpectEOF(stream, input)))
  return { streams: opts.count }
}

async function exchange(stream, input, message) {
  await write(stream, message)
  let echo = Buffer.alloc(0)
  while (echo.length < message.length) {
    const { value, done } = await input.next()
    if (done) {
      throw new Error(`EOF after ${echo.length} bytes of the echo`)
    }
    echo = Buffer.concat([echo, value])
  }
  if (!echo.equals(message)) {
    throw new Error("the echo differs")
  }
}

async function closeAndExpectEOF(stream, input) {
  await stream.close()
  const { done } = await input.next()
  if (!done) {
    throw new Error("more data after the echo")
  }
}

async function testHalfClose({ open }) {
  const data = Buffer.from(Array.from({ length: 1024 * 1024 }, (_, i) => (i * 31) >> 3))
  const stream = await open(HALF_CLOSE)
  await write(stream, data)
  await stream.close()
  let answer = ""
  for await (const part of chunks(stream)) {
    answer += Buffer.from(part).toString()
  }
  const expected = `${data.length} ${createHash("sha256").update(data).digest("hex")}`
  if (answer !== expected) {
    throw new Error(`answered "${answer}" instead of "${expected}"`)
  }
  return { answer }
}

async function testResetRemote({ open }) {
  const stream = await open(RESET)
  await write(stream, Uint8Array.of(1))
  const outcome = await chunks(stream)
    .next()
    .catch((err) => err)
  if (stream.status !== "reset") {
    throw new Error(`expected a reset, the stream is ${stream.status} and the read gave: ${JSON.stringify(outcome)}`)
  }
  return { readError: outcome.message }
}

async function testResetLocal({ open }) {
  const first = await open(ECHO)
  await exchange(first, chunks(first), Uint8Array.of(0))
  first.abort(new Error("reset on purpose"))

  const second = await open(ECHO)
  const input = chunks(second)
  await exchange(second, input, Uint8Array.of(1))
  await closeAndExpectEOF(second, input)
  return {}
}
