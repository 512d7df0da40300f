/** What every transport promises, as tests; also that its connections are byte streams. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Multiaddr from "../data/Multiaddr.ts"
import { write } from "../services/ByteStream.ts"
import type { TransportError, TransportProtocol } from "../services/Transport.ts"
import { byteStreamSuite, type ByteStreamOptions, pattern, readExactly, reasonOf } from "./ByteStream.ts"

/** Two nodes' transports that can reach each other. */
export interface TwoSides {
  readonly dialer: TransportProtocol
  readonly listener: TransportProtocol
  /** Where the listener can listen, as often as it is asked to: with a port of the system's choice. */
  readonly listenAt: Multiaddr.Multiaddr
}

const foreign = ["/unix/%2Ftmp%2Fx", "/dns4/example.com", "/ip4/127.0.0.1/udp/4001/quic-v1"].flatMap((text) =>
  Result.match(Multiaddr.fromString(text), { onFailure: () => [], onSuccess: (address) => [address] })
)

const withSomePeer = (address: Multiaddr.Multiaddr): Multiaddr.Multiaddr =>
  Multiaddr.fromStringUnsafe(`${address.toString()}/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA`)

/** Why the network refused; any other failure is shown as it is. */
const networkReason = (error: TransportError): string =>
  error.reason._tag === "NetworkFailure" ? error.reason.cause.reason._tag : error.reason._tag

export const transportSuite = <E>(
  name: string,
  make: Effect.Effect<TwoSides, E, Scope.Scope>,
  options: ByteStreamOptions = {}
): void => {
  const test = options.live === true ? it.live : it.effect
  const first = (addresses: ReadonlyArray<Multiaddr.Multiaddr>): Multiaddr.Multiaddr =>
    addresses[0] ?? assert.fail("the listener has no address")
  const joined = Effect.gen(function* () {
    const { dialer, listenAt, listener } = yield* make
    const listening = yield* listener.listen(listenAt)
    const address = first(yield* listening.addresses)
    const client = yield* dialer.dial(address)
    const server = yield* listening.accept
    return { address, client, dialer, listener, listening, server }
  })

  byteStreamSuite(
    `${name}: connections`,
    Effect.map(joined, ({ client, server }) => [client, server] as const),
    options
  )

  describe(`${name}: a transport`, () => {
    test("tells which addresses are its own", () =>
      Effect.gen(function* () {
        const { address, dialer, listener } = yield* joined
        assert.isTrue(dialer.canDial(address))
        assert.isTrue(dialer.canDial(withSomePeer(address)))
        assert.isTrue(listener.canListen(address))
        for (const other of foreign) {
          assert.isFalse(dialer.canDial(other), other.toString())
          assert.isFalse(listener.canListen(other), other.toString())
          assert.strictEqual((yield* Effect.flip(dialer.dial(other))).reason._tag, "UnsupportedAddress")
          assert.strictEqual((yield* Effect.flip(listener.listen(other))).reason._tag, "UnsupportedAddress")
        }
      }))

    test("both ends know both addresses", () =>
      Effect.gen(function* () {
        const { address, client, server } = yield* joined
        assert.strictEqual(client.remoteAddress.toString(), address.toString())
        assert.strictEqual(server.localAddress.toString(), address.toString())
        assert.strictEqual(server.remoteAddress.toString(), client.localAddress.toString())
      }))

    test("all addresses of a listener can be dialled, with a peer's name too", () =>
      Effect.gen(function* () {
        const { dialer, listenAt, listener } = yield* make
        const listening = yield* listener.listen(listenAt)
        for (const address of yield* listening.addresses) {
          const client = yield* dialer.dial(withSomePeer(address))
          const server = yield* listening.accept
          yield* write(client, pattern(0, 10))
          assert.deepStrictEqual(yield* readExactly(server, 10), pattern(0, 10))
        }
      }))

    test("refuses an address that is taken, and dials to one that is closed", () =>
      Effect.gen(function* () {
        const { dialer, listenAt, listener } = yield* make
        const scope = yield* Scope.make()
        const listening = yield* Scope.provide(listener.listen(listenAt), scope)
        const address = first(yield* listening.addresses)
        const taken = yield* Effect.flip(listener.listen(address))
        assert.strictEqual(networkReason(taken), "AddressInUse")
        const waiting = yield* Effect.forkChild(Effect.flip(Effect.scoped(listening.accept)))
        for (let i = 0; i < 5; i++) yield* Effect.yieldNow
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(networkReason(yield* Fiber.join(waiting)), "SocketClosed")
        const refused = yield* Effect.flip(dialer.dial(address))
        assert.deepStrictEqual([refused.address, networkReason(refused)], [address.toString(), "ConnectionRefused"])
      }))

    test("a connection ends with the scope that it was opened in", () =>
      Effect.gen(function* () {
        const { dialer, listenAt, listener } = yield* make
        const listening = yield* listener.listen(listenAt)
        const address = first(yield* listening.addresses)
        const scope = yield* Scope.make()
        const client = yield* Scope.provide(dialer.dial(address), scope)
        const server = yield* listening.accept
        yield* write(client, pattern(0, 10))
        yield* readExactly(server, 10)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(yield* reasonOf(server), "ResetByPeer")
        assert.strictEqual((yield* Effect.flip(client.readable)).reason._tag, "ResetLocally")
      }))

    test("an interrupted dial or accept leaves nothing behind", () =>
      Effect.gen(function* () {
        const { dialer, listenAt, listener } = yield* make
        const listening = yield* listener.listen(listenAt)
        const address = first(yield* listening.addresses)
        const accepting = yield* Effect.forkChild(Effect.scoped(listening.accept))
        yield* Effect.yieldNow
        yield* Fiber.interrupt(accepting)
        const dialling = yield* Effect.forkChild(Effect.scoped(dialer.dial(address)))
        yield* Fiber.interrupt(dialling)
        const client = yield* dialer.dial(address)
        const server = yield* listening.accept
        yield* write(client, pattern(0, 10))
        assert.deepStrictEqual(yield* readExactly(server, 10), pattern(0, 10))
      }))
  })
}
