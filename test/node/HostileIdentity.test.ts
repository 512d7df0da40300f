/** Peers that are not who they say they are, in Noise and in TLS, at a whole node on real sockets, in both directions. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import * as net from "node:net"
import * as tls from "node:tls"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import * as NodeCrypto from "../../src/layers/crypto/NodeCrypto.ts"
import * as Libp2p from "../../src/layers/Libp2p.ts"
import * as Yamux from "../../src/layers/muxer/Yamux.ts"
import * as NodeNet from "../../src/layers/net/NodeNet.ts"
import * as Noise from "../../src/layers/security/Noise.ts"
import * as Tls from "../../src/layers/security/Tls.ts"
import * as Tcp from "../../src/layers/transport/Tcp.ts"
import { answer, propose } from "../../src/layers/swarm/negotiation/NegotiatedStream.ts"
import { Identity } from "../../src/services/Identity.ts"
import { Net } from "../../src/services/Net.ts"
import { lyingCertificates } from "../layers/security/tls/lies.ts"
import { certificate, certPem, keyPem, mallory, victim } from "../layers/security/tls/remote.ts"
import {
  awaitGone,
  endpointOf,
  eventually,
  proposal,
  rawConnect,
  realNode,
  refusalOf,
  runNodes,
  stillServes,
  tagsOf
} from "../support/peers.ts"
import type { TestNode } from "../support/nodes.ts"

const below = Layer.mergeAll(Tcp.layer, Tls.layer, Yamux.layer())

/** A listener with a certificate of TLS by hand, for those who propose nothing else. */
const tlsListener = (cert: Uint8Array) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly server: net.Server; readonly sockets: Set<net.Socket> }>((resume) => {
      const sockets = new Set<net.Socket>()
      const secureContext = tls.createSecureContext({ minVersion: "TLSv1.3", cert: certPem(cert), key: keyPem })
      const agreed = proposal("/tls/1.0.0")
      const server = net.createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        const begin = (): void => {
          // The first message of TLS comes along with the proposal.
          if (socket.read(agreed.length) === null) {
            socket.once("readable", begin)
            return
          }
          socket.write(agreed)
          const secured = new tls.TLSSocket(socket, {
            isServer: true,
            secureContext,
            requestCert: true,
            rejectUnauthorized: false
          })
          secured.on("error", () => {})
          sockets.add(secured)
        }
        begin()
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
      const bound = server.address()
      const port = bound === null || typeof bound === "string" ? 1 : bound.port
      return Multiaddr.fromStringUnsafe(`/ip4/127.0.0.1/tcp/${port}`)
    })
  )

/** A dialer with a certificate of TLS by hand; it waits until the node has let go. */
const tlsDialer = (address: Multiaddr.Multiaddr, cert: Uint8Array) =>
  Effect.scoped(
    Effect.gen(function* () {
      const agreed = proposal("/tls/1.0.0")
      const socket = yield* Effect.acquireRelease(
        Effect.callback<net.Socket>((resume) => {
          const socket = net.connect(endpointOf(address), () => socket.write(agreed))
          socket.on("error", () => {})
          const begin = (): void => {
            if (socket.read(agreed.length) === null) socket.once("readable", begin)
            else resume(Effect.succeed(socket))
          }
          begin()
        }),
        (socket) => Effect.sync(() => socket.destroy())
      )
      const secured = tls.connect({
        socket,
        secureContext: tls.createSecureContext({ minVersion: "TLSv1.3", cert: certPem(cert), key: keyPem }),
        rejectUnauthorized: false,
        checkServerIdentity: () => undefined,
        ALPNProtocols: ["libp2p"]
      })
      secured.on("error", () => {}).resume()
      yield* eventually(
        () => socket.destroyed || socket.readableEnded || secured.destroyed || secured.readableEnded,
        () => "the node keeps the connection"
      )
      secured.destroy()
    })
  )

/** Why a node refused whom it dialled. */
const dialRefused = (node: TestNode, address: Multiaddr.Multiaddr) =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(node.swarm.dial(address))
    const [attempt] = error.attempts
    assert.lengthOf(yield* node.swarm.connections(), 0)
    return { tags: attempt === undefined ? error.reason._tag : tagsOf(attempt.reason), message: error.message }
  })

describe("TLS", () => {
  it.live("every certificate that proves nothing is refused when it comes in, and the node goes on", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1, below: Libp2p.layerTcpTls })
        const honest = yield* realNode({ seed: 2, below })
        for (const { der, title } of lyingCertificates) {
          assert.strictEqual(yield* refusalOf(node, tlsDialer(node.address, der)), "SecurityFailed BadIdentity", title)
        }
        assert.lengthOf(yield* node.swarm.connections(), 0)
        yield* stillServes(honest, node)
      })
    )
  )

  it.live("every certificate that proves nothing is refused when it is dialled, and the error says what is wrong", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1, below })
        for (const { der, title, words } of lyingCertificates) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const { message, tags } = yield* dialRefused(node, yield* tlsListener(der))
              assert.strictEqual(tags, "SecurityFailed BadIdentity", title)
              assert.match(message, new RegExp(words.source.replace(/\$$/, "")))
            })
          )
        }
        yield* stillServes(yield* realNode({ seed: 2, below }), node)
      })
    )
  )

  it.live("a good certificate of another than the one dialled is WrongPeer, and of the one dialled is taken", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1, below })
        const address = yield* tlsListener(certificate())
        const wrong = yield* dialRefused(node, Multiaddr.withPeer(address, victim.peerId))
        assert.strictEqual(wrong.tags, "SecurityFailed WrongPeer")
        assert.include(wrong.message, victim.peerId.toString())
        assert.include(wrong.message, mallory.peerId.toString())
        const right = yield* node.swarm.dial(Multiaddr.withPeer(address, mallory.peerId))
        assert.strictEqual(right.remotePeer.toString(), mallory.peerId.toString())
        yield* right.close
      })
    )
  )

  it.live("a first message that comes a byte at a time ends by the deadline, and keeps nobody out", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1, below: Libp2p.layerTcpTls, swarm: { upgradeDeadline: 300 } })
        const honest = yield* realNode({ seed: 2, below })
        const why = yield* refusalOf(
          node,
          Effect.scoped(
            Effect.gen(function* () {
              const slow = yield* Effect.forEach(Array.from({ length: 20 }), () => rawConnect(node.address))
              // A record of the handshake, 512 bytes long, of which there will never be more than a few.
              for (const socket of slow)
                socket.write(Buffer.concat([proposal("/tls/1.0.0"), Buffer.of(22, 3, 1, 2, 0, 1)]))
              yield* stillServes(honest, node)
              while (slow.some((socket) => !socket.readableEnded && !socket.destroyed)) {
                for (const socket of slow) if (!socket.destroyed) socket.write(Buffer.of(0))
                yield* Effect.sleep(20)
              }
              yield* Effect.forEach(slow, awaitGone)
            })
          )
        )
        assert.strictEqual(why, "DeadlineExceeded securing")
        assert.strictEqual((yield* node.swarm.counters).inboundFailed, 20)
      })
    )
  )
})

describe("Noise", () => {
  /** Says that it is the victim, and signs with its own key. */
  const impostor = { ...victim, sign: mallory.sign }
  const build = Effect.gen(function* () {
    const layer = Layer.mergeAll(
      NodeNet.layer,
      NodeCrypto.layer,
      SecureRandom.layerWebCrypto,
      Layer.succeed(Identity, impostor)
    )
    const context = yield* Layer.build(layer)
    return { net: Context.get(context, Net), security: yield* Effect.provideContext(Noise.make, context) }
  })

  it.live("a payload signed by another key is refused when it comes in", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1 })
        const why = yield* refusalOf(
          node,
          Effect.scoped(
            Effect.gen(function* () {
              const { net, security } = yield* build
              const raw = yield* net.connect(endpointOf(node.address))
              const agreed = yield* propose(raw, [Noise.id])
              const secured = yield* security.secure(agreed.stream, {
                role: "dialer",
                expectedPeer: undefined,
                muxers: []
              })
              secured.flush()
              raw.flush()
              yield* Effect.exit(raw.readable)
            })
          )
        )
        assert.strictEqual(why, "SecurityFailed BadIdentity")
        assert.lengthOf(yield* node.swarm.connections(), 0)
        yield* stillServes(yield* realNode({ seed: 2 }), node)
      })
    )
  )

  it.live("and when it is dialled, under the name of the one it pretends to be", () =>
    runNodes(
      Effect.gen(function* () {
        const node = yield* realNode({ seed: 1 })
        const { net, security } = yield* build
        const listener = yield* net.listen({ host: "127.0.0.1", port: 0 })
        yield* Effect.forkScoped(
          Effect.gen(function* () {
            const raw = yield* listener.accept
            const agreed = yield* answer(
              raw,
              (protocol) => protocol === Noise.id,
              () => [Noise.id]
            )
            yield* security.secure(agreed.stream, { role: "listener", expectedPeer: undefined, muxers: [] })
          }).pipe(Effect.exit)
        )
        const address = Multiaddr.fromStringUnsafe(`/ip4/127.0.0.1/tcp/${listener.local.port}`)
        const { message, tags } = yield* dialRefused(node, Multiaddr.withPeer(address, victim.peerId))
        assert.strictEqual(tags, "SecurityFailed BadIdentity")
        assert.include(message, "did not sign")
        yield* stillServes(yield* realNode({ seed: 2 }), node)
      })
    )
  )
})
