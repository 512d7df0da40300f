import { noise } from "@libp2p/noise"
import { tcp } from "@libp2p/tcp"
import { yamux } from "@libp2p/yamux"
import { createLibp2p } from "libp2p"

export const ECHO = "/bench/echo/1.0.0"
export const SINK = "/bench/sink/1.0.0"
export const SOURCE = "/bench/source/1.0.0"

export const unlimited = { maxInboundStreams: Infinity, maxOutboundStreams: Infinity }

/** Without the limits that would be measured instead. */
export const limits = {
  connectionManager: {
    maxConnections: Infinity,
    inboundConnectionThreshold: Infinity,
    maxIncomingPendingConnections: Infinity
  },
  connectionMonitor: { enabled: false }
}

/** How streams are opened: without waiting for the protocol, where js-libp2p can. */
export const OPEN = { ...unlimited, negotiateFully: false }

/** TCP, Noise or TLS, Yamux and nothing else, without the limits that would be measured instead. */
export async function createNode(listen, security) {
  // loaded when it is chosen only, so that a minimal node does not pay for it
  const encrypter = security === "tls" ? (await import("@libp2p/tls")).tls : noise
  const node = await createLibp2p({
    addresses: { listen },
    transports: [tcp()],
    connectionEncrypters: [encrypter()],
    streamMuxers: [yamux({ ...unlimited, maxEarlyStreams: Infinity })],
    ...limits
  })
  await node.handle(ECHO, serveEcho, unlimited)
  await node.handle(SINK, serveSink, unlimited)
  await node.handle(SOURCE, serveSource, unlimited)
  return node
}

export function write(stream, bytes) {
  return stream.send(bytes) ? undefined : drained(stream)
}

/** `stream.onDrain()` waits the first time only; then it keeps its settled promise, and all would be buffered. */
function drained(stream) {
  return new Promise((resolve, reject) => {
    const done = (event) => {
      stream.removeEventListener("drain", done)
      stream.removeEventListener("close", done)
      if (event.type === "drain") {
        resolve()
      } else {
        reject(event.error ?? new Error("the stream closed"))
      }
    }
    stream.addEventListener("drain", done)
    stream.addEventListener("close", done)
  })
}

function serveEcho(stream) {
  stream.addEventListener("message", ({ data }) => {
    if (!stream.send(data)) {
      stream.pause()
      drained(stream).then(
        () => stream.resume(),
        () => {}
      )
    }
  })
  onEnd(stream, () => stream.close().catch((err) => stream.abort(err)))
}

function serveSink(stream) {
  let received = 0
  stream.addEventListener("message", ({ data }) => {
    received += data.byteLength
  })
  onEnd(stream, () => {
    const answer = Buffer.alloc(8)
    answer.writeBigUInt64BE(BigInt(received))
    if (stream.writeStatus !== "writable") {
      return // the connection broke
    }
    stream.send(answer)
    stream.close().catch((err) => stream.abort(err))
  })
}

async function serveSource(stream) {
  const size = (await new Reader(stream).take(4)).readUInt32BE()
  const chunk = new Uint8Array(size)
  try {
    while (stream.status === "open") {
      const wait = write(stream, chunk)
      if (wait != null) {
        await wait
      }
    }
  } catch {
    // the dialer has enough
  }
}

/** The remote may have closed its end before the handler was called. */
function onEnd(stream, ended) {
  if (stream.readableEnded) {
    queueMicrotask(ended)
  } else {
    stream.addEventListener("end", ended, { once: true })
  }
}

/** Takes exact amounts; cheaper than the iterator of the stream. */
export class Reader {
  #chunks = []
  #length = 0
  #wanted = 0
  #waiting
  #failed

  constructor(stream) {
    stream.addEventListener("message", ({ data }) => {
      this.#chunks.push(data.subarray())
      this.#length += data.byteLength
      if (this.#length >= this.#wanted) {
        this.#waiting?.resolve()
      }
    })
    const end = () => {
      this.#failed = new Error("the stream ended")
      this.#waiting?.reject(this.#failed)
    }
    stream.addEventListener("end", end)
    stream.addEventListener("close", end)
  }

  async take(size) {
    if (this.#length < size) {
      if (this.#failed != null) {
        throw this.#failed
      }
      this.#wanted = size
      this.#waiting = Promise.withResolvers()
      await this.#waiting.promise
      this.#waiting = undefined
    }
    const all =
      this.#chunks.length === 1
        ? Buffer.from(this.#chunks[0].buffer, this.#chunks[0].byteOffset, this.#chunks[0].length)
        : Buffer.concat(this.#chunks)
    const rest = all.subarray(size)
    this.#chunks = rest.length > 0 ? [rest] : []
    this.#length = rest.length
    return all.subarray(0, size)
  }
}

export async function exchange(stream, reader, message) {
  await write(stream, message)
  await reader.take(message.length)
}

/** Opens a stream, sends that many bytes there and back, and closes it. */
export async function echoOnce(connection, size) {
  const stream = await connection.newStream(ECHO, OPEN)
  const reader = new Reader(stream)
  await exchange(stream, reader, new Uint8Array(size))
  await stream.close()
}
