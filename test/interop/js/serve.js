import { createHash } from "node:crypto"

export const PERF = "/perf/1.0.0"
export const ECHO = "/interop/echo/1.0.0"
export const HALF_CLOSE = "/interop/half-close/1.0.0"
export const RESET = "/interop/reset/1.0.0"
export const HANDLE = "/interop/handle/1.0.0"

const BLOCK = new Uint8Array(64 * 1024)

/** Adds the test protocols; ping and identify are services of the node. */
export async function serve(node, limits) {
  const handle = async (protocol, handler) => {
    await node.handle(
      protocol,
      async (stream) => {
        try {
          await handler(stream)
        } catch (err) {
          console.error(`${protocol}: ${err}`)
          stream.abort(err)
        }
      },
      limits
    )
  }
  await handle(PERF, servePerf)
  await handle(ECHO, serveEcho)
  await handle(HALF_CLOSE, serveHalfClose)
  await handle(RESET, serveReset)
  await handle(HANDLE, async (stream) => {
    const name = []
    for await (const data of chunks(stream)) {
      name.push(data)
    }
    await handle(Buffer.concat(name).toString(), serveEcho)
    await stream.close()
  })
}

/** Takes everything, then sends back as many bytes as asked for. */
async function servePerf(stream) {
  const header = Buffer.alloc(8)
  let received = 0
  for await (const data of chunks(stream)) {
    header.set(data.subarray(0, Math.max(0, 8 - received)), Math.min(received, 8))
    received += data.length
  }
  if (received < 8) {
    throw new Error(`EOF after ${received} of the 8 bytes`)
  }
  await writeZeros(stream, Number(header.readBigUInt64BE()))
  await stream.close()
}

async function serveEcho(stream) {
  for await (const data of chunks(stream)) {
    await write(stream, data)
  }
  await stream.close()
}

/**
 * Answers only after EOF, so the answer has to come over a stream that the
 * remote has closed for writing.
 */
async function serveHalfClose(stream) {
  const hash = createHash("sha256")
  let count = 0
  for await (const data of chunks(stream)) {
    hash.update(data)
    count += data.length
  }
  await write(stream, Buffer.from(`${count} ${hash.digest("hex")}`))
  await stream.close()
}

async function serveReset(stream) {
  await chunks(stream).next()
  stream.abort(new Error("reset as asked"))
}

export async function write(stream, data) {
  if (!stream.send(data)) {
    await stream.onDrain()
  }
}

export async function writeZeros(stream, count) {
  for (; count > 0; count -= BLOCK.length) {
    await write(stream, BLOCK.subarray(0, count))
  }
}

/**
 * What the remote sends up to its EOF; a reset throws.
 *
 * The iterator of the stream itself does not notice an EOF or a reset from
 * before the iteration: it waits for ever, or ends as if there was no reset.
 */
export async function* chunks(stream) {
  const queue = []
  let more = Promise.withResolvers()
  const onMessage = (event) => {
    queue.push(event.data.subarray())
    more.resolve()
  }
  const onEnd = () => {
    more.resolve()
  }
  stream.addEventListener("message", onMessage)
  stream.addEventListener("end", onEnd)
  stream.addEventListener("close", onEnd)
  try {
    while (true) {
      yield* queue.splice(0)
      if (queue.length > 0) {
        continue
      }
      if (stream.status === "reset" || stream.status === "aborted") {
        throw new Error(`the stream was ${stream.status}`)
      }
      if (stream.readableEnded) {
        return
      }
      await more.promise
      more = Promise.withResolvers()
    }
  } finally {
    stream.removeEventListener("message", onMessage)
    stream.removeEventListener("end", onEnd)
    stream.removeEventListener("close", onEnd)
  }
}
