/**
 * Faults on any Net: between a program and the sockets of its operating system,
 * or of a simulated network. For tests in staging: the same program, the real
 * network, and `FaultControls` to make it worse while it runs.
 *
 * Limits: a socket that is reset or closed in a black hole does tell the remote.
 * Delays count from when this process sees the bytes. A datagram is late and
 * limited in rate only on its way out.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { FaultControls } from "../../services/FaultControls.ts"
import {
  type BindOptions,
  ConnectionRefused,
  ConnectTimeout,
  type Datagram,
  type DatagramSocket,
  type Endpoint,
  Net,
  NetError,
  type Socket,
  type SocketListener
} from "../../services/Net.ts"
import { decorate } from "./FaultyStream.ts"
import { beforeConnect, chance, type FaultOptions, makeTools, maybeCorrupt, sampleDelay, type Tools } from "./Tools.ts"

export type { FaultOptions }

/** Datagrams of one socket that may be on their way late; more are lost, as in a full queue. */
const lateDatagrams = 1024

const decorateSocket = (tools: Tools, socket: Socket): Effect.Effect<Socket, never, Scope.Scope> =>
  Effect.map(decorate(tools, socket, socket.remote.host), (stream) =>
    Object.assign(stream, { local: socket.local, remote: socket.remote })
  )

/** Accepts, and resets at once those that are to be refused. */
const accept = (tools: Tools, listener: SocketListener): SocketListener["accept"] =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      for (;;) {
        const own = yield* Scope.fork(scope)
        const socket = yield* restore(Scope.provide(listener.accept, own)).pipe(
          Effect.onError(() => Scope.close(own, Exit.void))
        )
        if (tools.controls.of(socket.remote.host).refuse !== true)
          return yield* Scope.provide(decorateSocket(tools, socket), own)
        tools.controls.count("refused")
        socket.reset("refused by a fault")
        yield* Scope.close(own, Exit.void)
      }
    })
  )

const bind = (
  tools: Tools,
  inner: Net["Service"],
  options: BindOptions
): Effect.Effect<DatagramSocket, NetError, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const socket = yield* inner.bind(options)
    let late = 0
    let gate = 0

    /** True when it is lost. */
    const loses = (host: string): boolean => {
      const faults = tools.controls.of(host)
      if (faults.blackHole !== true && !chance(tools, faults.dropDatagrams)) return false
      tools.controls.count("droppedDatagrams")
      return true
    }
    const ownCopy = (host: string, bytes: Uint8Array): Uint8Array => {
      const faults = tools.controls.of(host)
      if (faults.corrupt === undefined && faults.delayMs === undefined && faults.bytesPerSecond === undefined)
        return bytes
      const copy = new Uint8Array(bytes)
      maybeCorrupt(tools, faults, copy)
      return copy
    }
    const lateness = (host: string, size: number): number => {
      const faults = tools.controls.of(host)
      const now = tools.now()
      if (faults.bytesPerSecond !== undefined) gate = Math.max(gate, now) + (size * 1000) / faults.bytesPerSecond
      return sampleDelay(tools, faults) + (faults.bytesPerSecond === undefined ? 0 : gate - now)
    }
    const send = (bytes: Uint8Array, to: Endpoint): Effect.Effect<void, NetError> =>
      Effect.suspend(() => {
        if (loses(to.host)) return Effect.void
        const sent = ownCopy(to.host, bytes)
        const wait = lateness(to.host, bytes.length)
        if (wait <= 0) return socket.send(sent, to)
        if (late >= lateDatagrams) {
          tools.controls.count("droppedDatagrams")
          return Effect.void
        }
        late++
        return Effect.sleep(Math.ceil(wait)).pipe(
          Effect.andThen(Effect.ignore(socket.send(sent, to))),
          Effect.ensuring(
            Effect.sync(() => {
              late--
            })
          ),
          Effect.forkIn(scope),
          Effect.asVoid
        )
      })
    const receive: Effect.Effect<Datagram, NetError> = Effect.flatMap(socket.receive, (datagram) => {
      const { host } = datagram.from
      if (loses(host)) return receive
      return Effect.succeed({ bytes: ownCopy(host, datagram.bytes), from: datagram.from })
    })
    return { ...socket, send, receive }
  })

/** A Net with the faults of the controls on every socket. */
export const make = (
  inner: Net["Service"],
  options: FaultOptions = {}
): Effect.Effect<Net["Service"], never, FaultControls> =>
  Effect.map(makeTools(options), (tools) =>
    Net.of({
      ...inner,
      connect: (to) => {
        const endpoint = { host: to.host, port: to.port }
        return beforeConnect(
          tools,
          to.host,
          () => new NetError({ operation: "connect", endpoint, reason: new ConnectionRefused() }),
          () => new NetError({ operation: "connect", endpoint, reason: new ConnectTimeout() })
        ).pipe(
          Effect.andThen(inner.connect(to)),
          Effect.flatMap((socket) => decorateSocket(tools, socket))
        )
      },
      listen: (at) => Effect.map(inner.listen(at), (listener) => ({ ...listener, accept: accept(tools, listener) })),
      bind: (at) => bind(tools, inner, at)
    })
  )

/**
 * Puts the faults on the Net that is provided to it.
 *
 * ```
 * const FaultyNode = FaultyNet.layer().pipe(
 *   Layer.provide(NodeNet.layer),
 *   Layer.provideMerge(Controls.layer())
 * )
 * // in the program: yield* (yield* FaultControls).set({ delayMs: 300 }, "192.0.2.7")
 * ```
 */
export const layer = (options?: FaultOptions): Layer.Layer<Net, never, Net | FaultControls> =>
  Layer.effect(
    Net,
    Effect.flatMap(Net, (inner) => make(inner, options))
  )
