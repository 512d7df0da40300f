import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import * as net from "node:net"
import { codeOf, lookupReason, netReason, streamReason } from "../../../src/layers/net/NodeErrors.ts"
import * as NodeNet from "../../../src/layers/net/NodeNet.ts"
import { read, write } from "../../../src/services/ByteStream.ts"
import { Net } from "../../../src/services/Net.ts"
import { pattern, readExactly, reasonOf } from "../../../src/conformance/ByteStream.ts"
import { netSuite } from "../../../src/conformance/Net.ts"

netSuite("NodeNet", NodeNet.layer, {
  live: true,
  cycles: 200,
  name: "localhost",
  portReuse: "BoundSocket" in net && process.platform === "linux",
  multicast: { group: "239.255.77.77", via: "127.0.0.1" }
})

const node = Effect.flatMap(Layer.build(NodeNet.layer), (context) => Effect.provide(Effect.service(Net), context))
const loopback = { host: "127.0.0.1", port: 0 }

/** A server of plain Node, as a peer that does what it likes. */
const rawServer = (onSocket: (socket: net.Socket) => void): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<{ readonly server: net.Server; readonly sockets: Set<net.Socket> }>((resume) => {
      const sockets = new Set<net.Socket>()
      const server = net.createServer({ allowHalfOpen: true }, (socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        onSocket(socket)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, sockets })))
    }),
    ({ server, sockets }) =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
  ).pipe(
    Effect.map(({ server }) => {
      const address = server.address()
      return address === null || typeof address === "string" ? 0 : address.port
    })
  )

/** Plain Node below libuv 1.52 takes a reset that follows data for an end, at first. */
const hidesResets = /^1\.([0-4]?\d|5[01])\./.test(process.versions.uv)

/** Handles of sockets, listeners and name look-ups that this process has open. */
const handles = (): ReadonlyArray<string> =>
  process.getActiveResourcesInfo().filter((name) => /TCP|UDP|GetAddrInfo|QueryTxt|Connect|Shutdown|Write/.test(name))

describe("NodeNet", () => {
  it.live("leaves no handle, listener or timer behind", () =>
    Effect.gen(function* () {
      const count = (name: string) => process.getActiveResourcesInfo().filter((one) => one === name).length
      const before = handles().length
      const timers = count("Timeout")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const net = yield* node
          const listener = yield* net.listen({ ...loopback, reusePort: true })
          const datagrams = yield* net.bind(loopback)
          yield* datagrams.send(pattern(0, 1), datagrams.local)
          for (let i = 0; i < 200; i++) {
            const scope = yield* Scope.make()
            const client = yield* Scope.provide(net.connect(listener.local), scope)
            const server = yield* Scope.provide(listener.accept, scope)
            yield* write(client, pattern(0, 1000))
            // In turn: closed in order, closed with unread data, reset, or just dropped.
            if (i % 4 === 0) {
              yield* client.closeWrite
              yield* server.closeWrite
              yield* readExactly(server, 1000)
              assert.strictEqual(yield* read(server), null)
            } else if (i % 4 === 1) yield* client.closeWrite
            else if (i % 4 === 2) server.reset("test")
            yield* Scope.close(scope, Exit.void)
          }
          yield* net.connect(listener.local)
          const dialling = yield* Effect.forkChild(net.connect({ host: "192.0.2.1", port: 9 }))
          yield* Effect.yieldNow
          yield* Fiber.interrupt(dialling)
        })
      )
      for (let i = 0; i < 10; i++) yield* Effect.yieldNow
      assert.isAtMost(handles().length, before, handles().join())
      assert.isAtMost(count("Timeout"), timers)
    })
  )

  it.live("a peer that connects and says nothing holds nothing but its socket", () =>
    Effect.gen(function* () {
      const port = yield* rawServer(() => {})
      const { connect } = yield* node
      const client = yield* connect({ host: "127.0.0.1", port })
      assert.strictEqual(client.tryRead(), undefined)
      const reader = yield* Effect.forkChild(client.readable)
      for (let i = 0; i < 20; i++) yield* Effect.yieldNow
      assert.isUndefined(reader.pollUnsafe())
      yield* Fiber.interrupt(reader)
    })
  )

  it.live("a peer that stops reading: what is held here is bounded", () =>
    Effect.gen(function* () {
      const port = yield* rawServer((socket) => socket.pause())
      const { connect } = yield* node
      const client = yield* connect({ host: "127.0.0.1", port })
      const block = new Uint8Array(1024 * 1024)
      let inTurn = 0
      for (let i = 0; i < 1000; i++) inTurn += client.tryWrite(block)
      assert.strictEqual(inTurn, 512 * 1024)
    })
  )

  it.live("a peer that floods is held back while nobody reads", () =>
    Effect.gen(function* () {
      let sent = 0
      const block = new Uint8Array(64 * 1024)
      const port = yield* rawServer((socket) => {
        const go = () => {
          while (socket.write(block)) sent += block.length
          sent += block.length
          socket.once("drain", go)
        }
        go()
      })
      const { connect } = yield* node
      const client = yield* connect({ host: "127.0.0.1", port })
      yield* client.readable
      for (let i = 0; i < 500; i++) yield* Effect.yieldNow
      const stopped = sent
      for (let i = 0; i < 500; i++) yield* Effect.yieldNow
      assert.strictEqual(sent, stopped, "the sender still gets rid of bytes")
      assert.isAtMost(client.tryRead()?.length ?? 0, 128 * 1024)
    })
  )

  it.live("a reset in the middle of a transfer is ResetByPeer, to the reader and to the writer", () =>
    Effect.gen(function* () {
      const port = yield* rawServer((socket) => socket.once("data", () => socket.resetAndDestroy()))
      const { connect } = yield* node
      const reading = yield* connect({ host: "127.0.0.1", port })
      yield* write(reading, pattern(0, 10))
      assert.strictEqual(yield* reasonOf(reading), "ResetByPeer")
      const writing = yield* connect({ host: "127.0.0.1", port })
      const error = yield* Effect.flip(Effect.forever(write(writing, new Uint8Array(100_000))))
      assert.strictEqual(error.reason._tag, "ResetByPeer")
    })
  )

  it.live("a reset is seen by plain Node as one, also after an end, and with data still to go", () =>
    Effect.gen(function* () {
      const { connect } = yield* node
      for (const how of ["at once", "after closeWrite", "with data to go"]) {
        const seen: Array<string> = []
        const closed = yield* Deferred.make<void>()
        const sockets: Array<net.Socket> = []
        const port = yield* rawServer((socket) => {
          sockets.push(socket)
          if (how !== "with data to go") socket.resume()
          socket.on("error", (error) => seen.push(codeOf(error) === "EPIPE" ? "ECONNRESET" : codeOf(error)))
          socket.on("close", () => Deferred.doneUnsafe(closed, Exit.void))
          socket.on("end", () => {
            seen.push("end")
            // After an end, only a write finds out.
            const write = () => {
              if (socket.destroyed) return
              socket.write("x")
              setImmediate(write)
            }
            write()
          })
        })
        const client = yield* connect({ host: "127.0.0.1", port })
        if (how === "after closeWrite") {
          yield* client.closeWrite
          yield* client.readable
        }
        if (how === "with data to go") {
          for (let i = 0; i < 200; i++) {
            client.tryWrite(new Uint8Array(256 * 1024))
            client.flush()
            yield* Effect.yieldNow
          }
          yield* client.closeWrite
        }
        client.reset("test")
        for (const socket of sockets) socket.resume()
        yield* Deferred.await(closed)
        assert.strictEqual(seen.at(-1), "ECONNRESET", how)
        if (how === "after closeWrite") assert.strictEqual(seen[0], "end")
        else if (!hidesResets) assert.strictEqual(seen.length, 1, how)
      }
    })
  )

  it.live("closing the scope after closeWrite loses nothing that the system had not taken yet", () =>
    Effect.gen(function* () {
      const sockets: Array<net.Socket> = []
      let got = 0
      const ended = yield* Deferred.make<string>()
      const port = yield* rawServer((socket) => {
        sockets.push(socket)
        socket.on("data", (bytes) => (got += bytes.length))
        socket.on("end", () => Deferred.doneUnsafe(ended, Exit.succeed("end")))
        socket.on("close", () => Deferred.doneUnsafe(ended, Exit.succeed("close")))
        socket.pause()
      })
      const { connect } = yield* node
      const scope = yield* Scope.make()
      const client = yield* Scope.provide(connect({ host: "127.0.0.1", port }), scope)
      let sent = 0
      for (let i = 0; i < 200; i++) {
        sent += client.tryWrite(new Uint8Array(256 * 1024))
        client.flush()
        yield* Effect.yieldNow
      }
      assert.strictEqual(client.tryWrite(new Uint8Array(1)), 0, "the system took all of it")
      yield* client.closeWrite
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* Effect.yieldNow
      for (const socket of sockets) socket.resume()
      assert.strictEqual(yield* Deferred.await(ended), "end")
      assert.strictEqual(got, sent)
      yield* Fiber.join(closing)
    })
  )

  it.live("closing the scope after closeWrite loses nothing to a remote that goes on sending", () =>
    Effect.gen(function* () {
      const sockets: Array<net.Socket> = []
      let got = 0
      const ended = yield* Deferred.make<string>()
      const port = yield* rawServer((socket) => {
        sockets.push(socket)
        const send = () => {
          while (!socket.writableEnded && socket.write(new Uint8Array(64 * 1024)));
          socket.once("drain", send)
        }
        socket.on("data", (bytes) => (got += bytes.length))
        socket.on("error", (error) => Deferred.doneUnsafe(ended, Exit.succeed(codeOf(error))))
        socket.on("end", () => {
          socket.end()
          Deferred.doneUnsafe(ended, Exit.succeed("end"))
        })
        socket.pause()
        send()
      })
      const { connect } = yield* node
      const scope = yield* Scope.make()
      const client = yield* Scope.provide(connect({ host: "127.0.0.1", port }), scope)
      let sent = 0
      for (let i = 0; i < 10; i++) {
        sent += client.tryWrite(new Uint8Array(100 * 1024))
        client.flush()
        yield* Effect.yieldNow
      }
      yield* client.closeWrite
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      for (let i = 0; i < 3; i++) yield* Effect.yieldNow
      for (const socket of sockets) socket.resume()
      assert.strictEqual(yield* Deferred.await(ended), "end")
      assert.strictEqual(got, sent)
      yield* Fiber.join(closing)
    })
  )

  it.live("closing the scope waits for what is on its way, but not for a peer that does not read", () =>
    Effect.gen(function* () {
      const port = yield* rawServer((socket) => socket.pause())
      const context = yield* Layer.build(NodeNet.layerWith({ linger: 20 }))
      yield* Effect.scoped(
        Effect.gen(function* () {
          const client = yield* (yield* Net).connect({ host: "127.0.0.1", port })
          for (let i = 0; i < 200; i++) {
            client.tryWrite(new Uint8Array(256 * 1024))
            client.flush()
            yield* Effect.yieldNow
          }
          yield* client.closeWrite
        })
      ).pipe(Effect.provide(context))
      for (let i = 0; i < 10; i++) yield* Effect.yieldNow
    })
  )

  it.live("sockets that read into one buffer do not see each other's bytes", () =>
    Effect.gen(function* () {
      const net = yield* node
      const listener = yield* net.listen(loopback)
      const echo = Effect.scoped(
        Effect.gen(function* () {
          const server = yield* listener.accept
          for (;;) {
            const bytes = yield* read(server)
            if (bytes === null) return yield* server.closeWrite
            // So that other sockets read meanwhile.
            yield* Effect.yieldNow
            yield* write(server, bytes)
          }
        })
      )
      const size = 200_000
      const dial = (seed: number) =>
        Effect.scoped(
          Effect.gen(function* () {
            const client = yield* net.connect(listener.local)
            yield* Effect.forkChild(Effect.andThen(write(client, pattern(0, size, seed)), client.closeWrite))
            assert.deepStrictEqual(yield* readExactly(client, size), pattern(0, size, seed))
            assert.strictEqual(yield* read(client), null)
          })
        )
      yield* Effect.all(
        Array.from({ length: 20 }, (_, i) => Effect.all([echo, dial(i * 1000)], { concurrency: "unbounded" })),
        { concurrency: "unbounded" }
      )
    })
  )

  it.live("an IPv4 and an IPv6 listener share a port", () =>
    Effect.gen(function* () {
      const net = yield* node
      if (!(yield* net.interfaces).some((one) => one.host === "::1")) return
      const four = yield* net.listen({ host: "0.0.0.0", port: 0 })
      const six = yield* net.listen({ host: "::", port: four.local.port })
      const client = yield* net.connect({ host: "::1", port: six.local.port })
      assert.strictEqual((yield* six.accept).remote.host, "::1")
      assert.strictEqual(client.remote.host, "::1")
    })
  )

  it("system codes are typed reasons", () => {
    const tags = Object.fromEntries(
      [
        "ECONNREFUSED",
        "EADDRINUSE",
        "EADDRNOTAVAIL",
        "EACCES",
        "ENETUNREACH",
        "EHOSTUNREACH",
        "ETIMEDOUT",
        "EMFILE"
      ].map((code) => [code, netReason(code)._tag])
    )
    assert.deepStrictEqual(tags, {
      ECONNREFUSED: "ConnectionRefused",
      EADDRINUSE: "AddressInUse",
      EADDRNOTAVAIL: "AddressUnavailable",
      EACCES: "AddressUnavailable",
      ENETUNREACH: "Unreachable",
      EHOSTUNREACH: "Unreachable",
      ETIMEDOUT: "ConnectTimeout",
      EMFILE: "SystemRefused"
    })
    assert.deepStrictEqual(
      ["ECONNRESET", "EPIPE", "ETIMEDOUT"].map((code) => streamReason(code)._tag),
      ["ResetByPeer", "ResetByPeer", "ConnectionLost"]
    )
    assert.deepStrictEqual(
      ["ENOTFOUND", "ENODATA", "EAI_AGAIN"].map((code) => lookupReason("x", code)._tag),
      ["NameNotFound", "NameNotFound", "LookupFailed"]
    )
    assert.strictEqual(codeOf(new Error("x")), "Error")
    assert.strictEqual(codeOf(undefined), "UNKNOWN")
  })
})
