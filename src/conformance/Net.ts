/** What every layer of Net promises, as tests; also that its sockets are byte streams. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { read, write } from "../services/ByteStream.ts"
import { type Endpoint, Net, type NetError, type Socket, type SocketListener } from "../services/Net.ts"
import {
  byteStreamSuite,
  type ByteStreamOptions,
  pattern,
  readExactly,
  reasonOf,
  settle,
  tester
} from "./ByteStream.ts"

export interface NetOptions extends ByteStreamOptions {
  /** An address of this host to listen on. Default 127.0.0.1. */
  readonly host?: string | undefined
  /** How often sockets are opened and closed in the test for leaks. Default 50. */
  readonly cycles?: number | undefined
  /** A name that has addresses, and whether its TXT records are known. */
  readonly name?: string | undefined
  /** False where dialling from a listened port gives another port. */
  readonly portReuse?: boolean | undefined
  /** A multicast group that datagrams of this host can be sent to, and the address of the interface. */
  readonly multicast?: { readonly group: string; readonly via: string } | undefined
}

interface Joined {
  readonly net: Net["Service"]
  readonly listener: SocketListener
  readonly client: Socket
  readonly server: Socket
}

export const netSuite = <E>(name: string, layer: Layer.Layer<Net, E>, options: NetOptions = {}): void => {
  const test = tester(options)
  const settled = options.settle ?? settle(50)
  const host = options.host ?? "127.0.0.1"
  const any: Endpoint = { host, port: 0 }
  const build: Effect.Effect<Net["Service"], E, Scope.Scope> = Effect.flatMap(Layer.build(layer), (context) =>
    Effect.provide(Effect.service(Net), context)
  )
  const joined: Effect.Effect<Joined, E | NetError, Scope.Scope> = Effect.gen(function* () {
    const net = yield* build
    const listener = yield* net.listen(any)
    const client = yield* net.connect(listener.local)
    const server = yield* listener.accept
    return { net, listener, client, server }
  })

  byteStreamSuite(
    `${name}: accepted and dialled sockets`,
    Effect.map(joined, ({ client, server }) => [client, server] as const),
    options
  )
  byteStreamSuite(
    `${name}: dialled and accepted sockets`,
    Effect.map(joined, ({ client, server }) => [server, client] as const),
    options
  )

  describe(`${name}: Net`, () => {
    test("both ends agree on where they are", () =>
      Effect.gen(function* () {
        const { client, listener, server } = yield* joined
        assert.isAbove(listener.local.port, 0)
        assert.deepStrictEqual(client.remote, listener.local)
        assert.deepStrictEqual(server.local, client.remote)
        assert.deepStrictEqual(server.remote, client.local)
      }))

    test("a port that nobody listens on refuses", () =>
      Effect.gen(function* () {
        const net = yield* build
        const local = yield* Effect.scoped(Effect.map(net.listen(any), (listener) => listener.local))
        const error = yield* Effect.flip(net.connect(local))
        assert.deepStrictEqual(
          [error.operation, error.reason._tag, error.endpoint],
          ["connect", "ConnectionRefused", local]
        )
      }))

    test("a port in use is refused, and free again when its scope closes", () =>
      Effect.gen(function* () {
        const net = yield* build
        const local = yield* Effect.scoped(
          Effect.gen(function* () {
            const { local } = yield* net.listen(any)
            const error = yield* Effect.flip(net.listen(local))
            assert.deepStrictEqual([error.operation, error.reason._tag], ["listen", "AddressInUse"])
            const shared = yield* net.listen({ ...any, reusePort: true })
            const second = yield* Effect.flip(net.listen({ ...shared.local, reusePort: true }))
            assert.strictEqual(second.reason._tag, "AddressInUse")
            return local
          })
        )
        yield* net.listen({ ...local, reusePort: true })
      }))

    test("an address of nobody's, a name and a bad port are typed errors", () =>
      Effect.gen(function* () {
        const net = yield* build
        const foreign = yield* Effect.flip(net.listen({ host: "192.0.2.1", port: 0 }))
        assert.strictEqual(foreign.reason._tag, "AddressUnavailable")
        assert.strictEqual(
          (yield* Effect.flip(net.listen({ host: "localhost", port: 0 }))).reason._tag,
          "SystemRefused"
        )
        assert.strictEqual(
          (yield* Effect.flip(net.connect({ host: "localhost", port: 1 }))).reason._tag,
          "SystemRefused"
        )
        assert.strictEqual((yield* Effect.flip(net.listen({ host, port: 65_536 }))).reason._tag, "SystemRefused")
        assert.strictEqual((yield* Effect.flip(net.bind({ host: "localhost", port: 0 }))).reason._tag, "SystemRefused")
      }))

    test("closing a listener ends accept, and resets those that nobody accepted, not those accepted", () =>
      Effect.gen(function* () {
        const net = yield* build
        const scope = yield* Scope.make()
        const listener = yield* Scope.provide(net.listen(any), scope)
        const client = yield* net.connect(listener.local)
        const server = yield* listener.accept
        const ignored = yield* net.connect(listener.local)
        yield* write(server, pattern(0, 1))
        yield* readExactly(client, 1)
        // So that the system has handed it over.
        yield* settled
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* Effect.flip(Effect.scoped(listener.accept))).reason._tag, "SocketClosed")
        assert.strictEqual(yield* reasonOf(ignored), "ResetByPeer")
        yield* write(client, pattern(0, 100))
        assert.deepStrictEqual(yield* readExactly(server, 100), pattern(0, 100))
      }))

    test("closing a listener wakes those who wait for a connection", () =>
      Effect.gen(function* () {
        const net = yield* build
        const scope = yield* Scope.make()
        const listener = yield* Scope.provide(net.listen(any), scope)
        const wait = Effect.forkChild(Effect.flip(Effect.scoped(listener.accept)))
        const waiting = [yield* wait, yield* wait]
        for (let i = 0; i < 5; i++) yield* Effect.yieldNow
        yield* Scope.close(scope, Exit.void)
        for (const fiber of waiting) {
          const error = yield* Fiber.join(fiber)
          assert.deepStrictEqual([error.operation, error.reason._tag], ["accept", "SocketClosed"])
        }
      }))

    test("connections beyond the backlog are reset", () =>
      Effect.gen(function* () {
        const net = yield* build
        const listener = yield* net.listen({ ...any, backlog: 2 })
        const clients: Array<Socket> = []
        for (let i = 0; i < 4; i++) {
          const client = yield* Effect.result(net.connect(listener.local))
          if (client._tag === "Success") clients.push(client.success)
          yield* settled
        }
        const last = clients.slice(2)
        for (const client of last) assert.strictEqual(yield* reasonOf(client), "ResetByPeer")
        const server = yield* listener.accept
        yield* write(server, pattern(0, 10))
        const first = clients[0]
        if (first === undefined) return assert.fail("the first connection was refused")
        assert.deepStrictEqual(yield* readExactly(first, 10), pattern(0, 10))
      }))

    test("closing the scope after closeWrite loses nothing", () =>
      Effect.gen(function* () {
        const net = yield* build
        const listener = yield* net.listen(any)
        const size = 30_000
        yield* Effect.scoped(
          Effect.gen(function* () {
            const client = yield* net.connect(listener.local)
            yield* write(client, pattern(0, size))
            yield* client.closeWrite
          })
        )
        const server = yield* listener.accept
        assert.deepStrictEqual(yield* readExactly(server, size), pattern(0, size))
        assert.strictEqual(yield* read(server), null)
      }))

    test("closing the scope without closeWrite is seen as a reset, never as an end", () =>
      Effect.gen(function* () {
        const net = yield* build
        const listener = yield* net.listen(any)
        const scope = yield* Scope.make()
        const client = yield* Scope.provide(net.connect(listener.local), scope)
        const server = yield* listener.accept
        yield* write(client, pattern(0, 10))
        yield* readExactly(server, 10)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(yield* reasonOf(server), "ResetByPeer")
      }))

    test("a socket fails, and does not hang, after its scope closed", () =>
      Effect.gen(function* () {
        const net = yield* build
        const listener = yield* net.listen(any)
        const client = yield* Effect.scoped(net.connect(listener.local))
        assert.strictEqual((yield* Effect.flip(client.readable)).reason._tag, "ResetLocally")
        assert.strictEqual((yield* Effect.flip(client.writable)).reason._tag, "ResetLocally")
        assert.strictEqual(client.tryWrite(pattern(0, 1)), 0)
        client.reset("late")
      }))

    test("interrupted waits for accept and connect lose no connection", () =>
      Effect.gen(function* () {
        const net = yield* build
        const listener = yield* net.listen(any)
        for (let i = 0; i < 5; i++) {
          const accepting = yield* Effect.forkChild(Effect.scoped(listener.accept))
          yield* Effect.yieldNow
          yield* Fiber.interrupt(accepting)
        }
        const client = yield* net.connect(listener.local)
        const server = yield* listener.accept
        yield* write(client, pattern(0, 10))
        assert.deepStrictEqual(yield* readExactly(server, 10), pattern(0, 10))
        const dialling = yield* Effect.forkChild(Effect.scoped(net.connect({ host: "192.0.2.1", port: 9 })))
        yield* Effect.yieldNow
        yield* Fiber.interrupt(dialling)
      }))

    test("opens and closes again and again", () =>
      Effect.gen(function* () {
        const net = yield* build
        const listener = yield* net.listen(any)
        for (let i = 0; i < (options.cycles ?? 50); i++) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const client = yield* net.connect(listener.local)
              const server = yield* listener.accept
              yield* write(client, pattern(i, 10))
              assert.deepStrictEqual(yield* readExactly(server, 10), pattern(i, 10))
              if (i % 2 === 0) return
              yield* client.closeWrite
              yield* server.closeWrite
              assert.strictEqual(yield* read(server), null)
            })
          )
        }
      }))

    test("dials from a port that is listened on, where it can, and connects anyway where it cannot", () =>
      Effect.gen(function* () {
        const net = yield* build
        const target = yield* net.listen(any)
        const own = yield* net.listen({ ...any, reusePort: true })
        const client = yield* net.connect({ ...target.local, localPort: own.local.port })
        const server = yield* target.accept
        assert.deepStrictEqual(server.remote, client.local)
        if (options.portReuse !== false) assert.strictEqual(client.local.port, own.local.port)
        // The same two ports at both ends a second time cannot be.
        const second = yield* net.connect({ ...target.local, localPort: own.local.port })
        assert.notStrictEqual(second.local.port, client.local.port)
        // The listener still accepts.
        yield* net.connect(own.local)
        yield* own.accept
        // Nobody listens on that port: it is a wish, not a condition.
        yield* net.connect({ ...target.local, localPort: 1 })
        // Its own port would be itself.
        const self = yield* net.connect({ ...own.local, localPort: own.local.port })
        assert.notStrictEqual(self.local.port, own.local.port)
      }))

    test("knows its interfaces", () =>
      Effect.gen(function* () {
        const all = yield* (yield* build).interfaces
        assert.isTrue(
          all.some((one) => one.internal && one.host === "127.0.0.1" && one.family === 4 && one.prefixLength === 8)
        )
      }))

    test("a name that does not exist is a typed error", () =>
      Effect.gen(function* () {
        const net = yield* build
        const error = yield* Effect.flip(net.lookup("no-such-host.invalid", "any"))
        assert.strictEqual(error.operation, "lookup")
        // A machine without a resolver cannot know that the name does not exist.
        assert.include(["NameNotFound", "LookupFailed"], error.reason._tag)
      }))

    if (options.name !== undefined) {
      const known = options.name
      test("looks a name up", () =>
        Effect.gen(function* () {
          const found = yield* (yield* build).lookup(known, 4)
          assert.isAbove(found.length, 0)
          assert.isTrue(found.every((address) => !address.includes(":")))
        }))
    }
  })

  describe(`${name}: datagrams`, () => {
    const bind = { ...any }

    test("arrive with the address of their sender", () =>
      Effect.gen(function* () {
        const net = yield* build
        const left = yield* net.bind(bind)
        const right = yield* net.bind(bind)
        yield* left.send(pattern(0, 100), right.local)
        const got = yield* right.receive
        assert.deepStrictEqual([Uint8Array.from(got.bytes), got.from], [pattern(0, 100), left.local])
        yield* right.send(pattern(5, 10), got.from)
        assert.deepStrictEqual(Uint8Array.from((yield* left.receive).bytes), pattern(5, 10))
      }))

    test("an interrupted receive loses none, and more than the backlog are dropped", () =>
      Effect.gen(function* () {
        const net = yield* build
        const left = yield* net.bind(bind)
        const right = yield* net.bind({ ...bind, backlog: 4 })
        const receiving = yield* Effect.forkChild(right.receive)
        yield* Effect.yieldNow
        yield* Fiber.interrupt(receiving)
        for (let i = 0; i < 20; i++) yield* left.send(pattern(i, 10), right.local)
        yield* settled
        for (let i = 0; i < 4; i++)
          assert.deepStrictEqual(Uint8Array.from((yield* right.receive).bytes), pattern(i, 10))
        yield* left.send(pattern(77, 10), right.local)
        assert.deepStrictEqual(Uint8Array.from((yield* right.receive).bytes), pattern(77, 10))
      }))

    test("too large, to a name, and on a closed socket: typed errors", () =>
      Effect.gen(function* () {
        const net = yield* build
        const scope = yield* Scope.make()
        const socket = yield* Scope.provide(net.bind(bind), scope)
        const large = yield* Effect.flip(socket.send(new Uint8Array(70_000), socket.local))
        assert.deepStrictEqual([large.operation, large.reason._tag], ["send", "SystemRefused"])
        const waiting = yield* Effect.forkChild(Effect.flip(socket.receive))
        yield* Effect.yieldNow
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* Fiber.join(waiting)).reason._tag, "SocketClosed")
        assert.strictEqual((yield* Effect.flip(socket.receive)).reason._tag, "SocketClosed")
        assert.strictEqual((yield* Effect.flip(socket.send(pattern(0, 1), socket.local))).reason._tag, "SocketClosed")
      }))

    test("a port is shared only by those who ask to", () =>
      Effect.gen(function* () {
        const net = yield* build
        const first = yield* net.bind({ ...bind, reuseAddress: true })
        yield* net.bind({ ...first.local, reuseAddress: true })
        const error = yield* Effect.flip(net.bind(first.local))
        assert.deepStrictEqual([error.operation, error.reason._tag], ["bind", "AddressInUse"])
      }))

    test("a group that is none is a typed error", () =>
      Effect.gen(function* () {
        const net = yield* build
        const socket = yield* net.bind(bind)
        assert.strictEqual((yield* Effect.flip(socket.join("10.0.0.1"))).operation, "join")
      }))

    if (options.multicast !== undefined) {
      const { group, via } = options.multicast
      test("reach all who joined a group, and no more once they left", () =>
        Effect.gen(function* () {
          const net = yield* build
          const first = yield* net.bind({ host: "0.0.0.0", port: 0, reuseAddress: true })
          const second = yield* net.bind({ ...first.local, reuseAddress: true })
          const sender = yield* net.bind({ host: "0.0.0.0", port: 0 })
          yield* sender.setMulticast({ ttl: 1, loopback: true, via })
          yield* first.join(group, via)
          yield* second.join(group, via)
          const to = { host: group, port: first.local.port }
          yield* sender.send(pattern(0, 10), to)
          assert.deepStrictEqual(Uint8Array.from((yield* first.receive).bytes), pattern(0, 10))
          assert.deepStrictEqual(Uint8Array.from((yield* second.receive).bytes), pattern(0, 10))
          yield* second.leave(group, via)
          yield* first.leave(group, via)
          yield* sender.send(pattern(1, 10), to)
          yield* settled
          yield* first.join(group, via)
          yield* sender.send(pattern(2, 10), to)
          assert.deepStrictEqual(Uint8Array.from((yield* first.receive).bytes), pattern(2, 10))
        }))
    }
  })
}
