/**
 * Can the simulator find faults at all? Known faults are planted one at a time,
 * by layers that stand between the services of a node, and each must be found
 * by the check that is meant for it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result, Scope } from "effect"
import * as Multiaddr from "../../src/data/Multiaddr.ts"
import { draw } from "../../src/layers/simulation/Faults.ts"
import * as Libp2p from "../../src/layers/Libp2p.ts"
import * as ConnectionManagerLayer from "../../src/layers/connections/ConnectionManager.ts"
import * as Yamux from "../../src/layers/muxer/Yamux.ts"
import * as Noise from "../../src/layers/security/Noise.ts"
import { Prng } from "../../src/layers/simulation/Prng.ts"
import { start } from "../../src/layers/simulation/Simulate.ts"
import * as Tcp from "../../src/layers/transport/Tcp.ts"
import * as Agent from "../../src/programs/sim/Agent.ts"
import { find } from "../../src/programs/sim/Run.ts"
import { layerFor, program, type Scenario } from "../../src/programs/sim/Scenario.ts"
import * as Tight from "../../src/programs/sim/Tight.ts"
import { Actors } from "../../src/services/Actors.ts"
import { ConnectionManager } from "../../src/services/ConnectionManager.ts"
import { ConnectionSecurity } from "../../src/services/ConnectionSecurity.ts"
import { Crypto } from "../../src/services/Crypto.ts"
import { protocol as identifyProtocol } from "../../src/services/Identify.ts"
import { Net, type Socket } from "../../src/services/Net.ts"
import { Protocols } from "../../src/services/Protocols.ts"
import * as ProtocolStream from "../../src/services/ProtocolStream.ts"
import { type ConnectionReservation, ResourceManager } from "../../src/services/ResourceManager.ts"
import { type MuxedConnection, type MuxedStream, StreamMuxer } from "../../src/services/StreamMuxer.ts"

const scenario: Scenario = {
  name: "mutations",
  about: "a little of everything",
  nodes: 4,
  minutes: 1,
  habits: { ping: 2, echo: 2, upload: 2, burst: 1, stuck: 1, broken: 1, identify: 1, together: 1 },
  paceMs: 2000,
  link: { latencyMs: { min: 5, mean: 30, max: 200 } },
  faults: {},
  faultEveryMs: 1,
  faultLastsMs: 1
}
/** The same, where connections also end. */
const churning: Scenario = { ...scenario, habits: { ...scenario.habits, disconnect: 3, abandon: 1 } }

/** The first problem that up to three seeds find. */
const problemOf = (parts: Agent.Parts, options: { readonly scenario: Scenario; readonly crashes: boolean }) => {
  // A crash is to last for longer than a keep-alive takes.
  const durationMs = options.crashes ? 150_000 : 60_000
  for (let seed = 1; seed <= 3; seed++) {
    const schedule = options.crashes
      ? draw(new Prng(`crashes ${seed}`), {
          weights: { crash: 1, isolate: 1 },
          nodes: 4,
          durationMs,
          everyMs: 20_000,
          lastsMs: 100_000
        })
      : []
    const running = start(
      { seed, nodes: scenario.nodes, layer: Agent.layerOf(parts), link: scenario.link, until: "1 hour" },
      program(options.scenario, durationMs, schedule)
    )
    for (let next = running.next(); ; next = running.next()) {
      if (next.done !== true) continue
      if (next.value.problem !== undefined) return next.value.problem
      break
    }
  }
  return undefined
}

/** True at every `nth` call. */
const every = (nth: number) => {
  let calls = 0
  return () => ++calls % nth === 0
}

// ---- Where faults are planted.

const onNet = (change: (net: Net["Service"]) => Net["Service"]): Agent.Parts => ({
  below: Libp2p.layerTcp.pipe(Layer.provide(Layer.effect(Net, Effect.map(Net, change))))
})

const onCrypto = (change: (crypto: Crypto["Service"]) => Crypto["Service"]): Agent.Parts => ({
  below: Libp2p.layerTcp.pipe(Layer.provide(Layer.effect(Crypto, Effect.map(Crypto, change))))
})

type Secure = ConnectionSecurity["Service"]["protocols"][number]["secure"]

const onSecurity = (change: (secure: Secure) => Secure): Agent.Parts => ({
  below: Layer.mergeAll(
    Tcp.layer,
    Yamux.layer(),
    Layer.effect(
      ConnectionSecurity,
      Effect.map(ConnectionSecurity, ({ protocols }) => ({
        protocols: protocols.map((protocol) => ({ ...protocol, secure: change(protocol.secure) }))
      }))
    ).pipe(Layer.provide(Noise.layer))
  )
})

const onMuxer = (change: (connection: MuxedConnection) => MuxedConnection, options?: Yamux.Options): Agent.Parts => ({
  below: Layer.mergeAll(
    Tcp.layer,
    Noise.layer,
    Layer.effect(
      StreamMuxer,
      Effect.map(StreamMuxer, ({ protocols }) => ({
        protocols: protocols.map((protocol) => ({
          ...protocol,
          make: (connection, how) => Effect.map(protocol.make(connection, how), change)
        }))
      }))
    ).pipe(Layer.provide(Yamux.layer(options)))
  )
})

/** The same stream, each of its properties its own, so that a copy has them too. */
const plain = (stream: MuxedStream): MuxedStream => ({
  id: stream.id,
  direction: stream.direction,
  ownedReads: stream.ownedReads,
  tryRead: () => stream.tryRead(),
  readable: Effect.suspend(() => stream.readable),
  tryWrite: (bytes) => stream.tryWrite(bytes),
  writable: Effect.suspend(() => stream.writable),
  flush: () => stream.flush(),
  closeWrite: Effect.suspend(() => stream.closeWrite),
  closeRead: () => stream.closeRead(),
  reset: (because) => stream.reset(because),
  onClosed: (done) => stream.onClosed(done)
})

const onStreams = (change: (stream: MuxedStream) => MuxedStream) =>
  onMuxer((connection) => ({
    ...connection,
    tryOpenStream: () => {
      const stream = connection.tryOpenStream()
      return stream === undefined ? undefined : change(plain(stream))
    },
    openStream: Effect.map(connection.openStream, (stream) => change(plain(stream))),
    acceptStream: Effect.map(connection.acceptStream, (stream) => change(plain(stream)))
  }))

const onProtocols = (change: (protocols: Protocols["Service"]) => Protocols["Service"]): Agent.Parts => ({
  beside: Layer.merge(
    Agent.beside,
    Layer.effect(Protocols, Effect.map(Protocols, change)).pipe(Layer.provide(Agent.beside))
  )
})

const onActors = (change: (actors: Actors["Service"]) => Actors["Service"]): Agent.Parts => ({
  beside: Layer.merge(Agent.beside, Layer.effect(Actors, Effect.map(Actors, change)).pipe(Layer.provide(Agent.beside)))
})

// ---- The faults.

interface Mutation {
  readonly name: string
  /** Made anew for each run, since faults count calls. */
  readonly parts: () => Agent.Parts
  /** What the report must say. */
  readonly found: RegExp
  readonly scenario?: Scenario
  readonly crashes?: boolean
}

/** A socket that cannot be reset. Not a copy of its fields: some of them are computed when they are asked for. */
const unclosed = (socket: Socket): Socket => ({
  local: socket.local,
  remote: socket.remote,
  ownedReads: socket.ownedReads,
  tryRead: socket.tryRead,
  tryWrite: socket.tryWrite,
  flush: socket.flush,
  get readable() {
    return socket.readable
  },
  get writable() {
    return socket.writable
  },
  get closeWrite() {
    return socket.closeWrite
  },
  reset: () => {}
})

const somewhere = Multiaddr.fromStringUnsafe("/ip4/192.0.2.1/tcp/1")

const mutations: ReadonlyArray<Mutation> = [
  {
    name: "a wake-up is dropped",
    parts: () => {
      const now = every(40)
      return onStreams((stream) => ({
        ...stream,
        readable: Effect.suspend(() => (now() ? Effect.never : stream.readable))
      }))
    },
    found: /though nothing was wrong/
  },
  {
    name: "a stream is not reset",
    parts: () => onStreams((stream) => ({ ...stream, reset: () => {} })),
    found: /streams are left on connection/
  },
  {
    // With the one behind it, for what is sent and not taken.
    name: "the deadline of the keep-alive is forgotten",
    parts: () => onMuxer((connection) => connection, { keepAliveTimeoutMs: 1e9, sendTimeoutMs: 1e9 }),
    found: /keeps a connection that its peer has not had/,
    crashes: true
  },
  {
    name: "a nonce is used twice",
    parts: () =>
      onCrypto((crypto) => ({
        ...crypto,
        aeadKey: (bytes) => {
          const key = crypto.aeadKey(bytes)
          const once = (counter: number) => (counter === 7 ? 6 : counter)
          return {
            open: (counter, associated, sealed) => key.open(counter, associated, sealed),
            openInto: (counter, sealed, target, offset) => key.openInto(counter, sealed, target, offset),
            seal: (counter, associated, parts) => key.seal(once(counter), associated, parts),
            sealInto: (counter, parts, target, offset) => key.sealInto(once(counter), parts, target, offset)
          }
        }
      })),
    found: /though nothing was wrong/
  },
  {
    name: "two pieces of a stream change places",
    parts: () =>
      onStreams((stream) => {
        let held: Uint8Array | undefined
        return {
          ...stream,
          tryRead: () => {
            const first = held ?? stream.tryRead()
            const copy = first instanceof Uint8Array ? new Uint8Array(first) : undefined
            const second =
              held === undefined && first instanceof Uint8Array && first.length > 1000 ? stream.tryRead() : undefined
            held = undefined
            if (!(second instanceof Uint8Array)) return copy ?? first
            // The first may be lent, and no longer than until the second was asked for.
            held = copy
            return second
          },
          readable: Effect.suspend(() => (held === undefined ? stream.readable : Effect.void))
        }
      }),
    found: /an echo differed after|came to another hash|though nothing was wrong/
  },
  {
    name: "the bytes that come with the end of the handshake are lost",
    parts: () =>
      onSecurity(
        (secure) => (raw, options) =>
          Effect.map(secure(raw, options), (secured) => {
            secured.tryRead()
            return secured
          })
      ),
    found: /though nothing was wrong|still waits to identify/
  },
  {
    name: "a byte is delivered twice",
    parts: () => {
      const now = every(50)
      return onStreams((stream) => ({
        ...stream,
        tryRead: () => {
          const bytes = stream.tryRead()
          return bytes instanceof Uint8Array && bytes.length > 200 && now()
            ? // The last: the first ones of a stream may be those of its negotiation.
              new Uint8Array([...bytes, ...bytes.subarray(-1)])
            : bytes
        }
      }))
    },
    found: /an echo differed after|came to another hash/
  },
  {
    name: "the backlog of accepted connections is never released",
    parts: () =>
      onNet((net) => ({
        ...net,
        listen: (options) =>
          Effect.map(net.listen(options), (listener) => {
            let room = 1
            return { ...listener, accept: Effect.suspend(() => (room-- > 0 ? listener.accept : Effect.never)) }
          })
      })),
    found: /DeadlineExceeded, though nothing was wrong/
  },
  {
    name: "a half-close is ignored",
    parts: () => onStreams((stream) => ({ ...stream, closeWrite: Effect.void })),
    found: /IdentifyTimeout, though nothing was wrong/
  },
  {
    name: "identify tells the observed address of somebody else",
    parts: () =>
      onProtocols((protocols) => ({
        ...protocols,
        handle: (protocol, handler, options) =>
          protocols.handle(
            protocol,
            protocol === identifyProtocol
              ? (stream) => handler(ProtocolStream.make({ ...stream, remoteAddress: somewhere }))
              : handler,
            options
          )
      })),
    found: /as the observed address of a connection from/
  },
  {
    name: "a dead connection stays in the table",
    parts: () => onMuxer((connection) => ({ ...connection, awaitClosed: Effect.never })),
    found: /keeps a connection that its peer has not had|its peer does not have connection/,
    crashes: true
  },
  {
    name: "the message that ends a connection is lost",
    parts: () =>
      onActors((actors) => ({
        ...actors,
        spawn: (options) =>
          actors.spawn(options.name.startsWith("connection ") ? { ...options, onStopped: undefined } : options)
      })),
    found: /keeps a connection that its peer has not had|its peer does not have connection|does not end/,
    crashes: true
  },
  {
    name: "a socket is never closed",
    parts: () =>
      onNet((net) => ({
        ...net,
        connect: (options) => Effect.map(Scope.provide(net.connect(options), Scope.makeUnsafe()), unclosed)
      })),
    found: /\d+ connections are open, and \d+ sockets/,
    scenario: churning
  },
  {
    name: "identify leaves out what the node speaks",
    parts: () => onProtocols((protocols) => ({ ...protocols, list: () => [] })),
    found: /identify leaves protocols out/
  }
]

// ---- Faults of the limits, found in a storm of hostile peers.

/** The first problem that up to so many seeds find. */
const stormProblemOf = (
  seeds: number,
  change: (parts: Agent.Parts) => Agent.Parts,
  only?: ReadonlyArray<string>
): string | undefined => {
  const storm = find("swarm-storm")
  if (storm === undefined) return "there is no such scenario"
  const tight: Scenario = {
    ...storm,
    parts: (node) => change(Tight.parts(node)),
    paceMs: 1000,
    hostile: { everyMs: 1000, lastsMs: 8000, visitEveryMs: 8000, only },
    bounds: { peers: Tight.maxPeers, everyMs: 1000 }
  }
  for (let seed = 1; seed <= seeds; seed++) {
    const running = start(
      { seed, nodes: 4, layer: layerFor(tight), link: tight.link, until: "1 hour" },
      program(tight, 20_000, [], 2)
    )
    for (let next = running.next(); ; next = running.next()) {
      if (next.done !== true) continue
      if (next.value.problem !== undefined) return next.value.problem
      break
    }
  }
  return undefined
}

const onResources = (change: (resources: ResourceManager["Service"]) => ResourceManager["Service"]) => ({
  resources: Layer.effect(ResourceManager, Effect.map(ResourceManager, change)).pipe(Layer.provide(Tight.resources))
})

const onReservations = (change: (reservation: ConnectionReservation) => ConnectionReservation) =>
  onResources((resources) => ({
    ...resources,
    acceptConnection: (remote) => Result.map(resources.acceptConnection(remote), change),
    dialConnection: () => Result.map(resources.dialConnection(), change)
  }))

/** So few that there is always somebody to close. */
const few = ConnectionManagerLayer.layer({ lowWater: 2, highWater: 3, grace: "1 second" })

const stormMutations: ReadonlyArray<
  readonly [name: string, change: () => Partial<Agent.Parts>, found: RegExp, attacks?: ReadonlyArray<string>]
> = [
  [
    "a limit of inbound connections is not enforced",
    () =>
      onResources((resources) => ({
        ...resources,
        acceptConnection: (remote) =>
          Result.orElse(resources.acceptConnection(remote), () => resources.dialConnection())
      })),
    /\d+ sockets from \S+ are open, and the limit is/,
    ["connections from one address"]
  ],
  [
    "a limit of streams is not enforced",
    () =>
      onReservations((reservation) => ({
        ...reservation,
        openStream: () => Result.succeed({ setProtocol: () => undefined, release: () => {} })
      })),
    /\d+ streams are open on one connection/,
    ["streams without end"]
  ],
  [
    "a connection's reservation is not released",
    () => {
      const now = every(10)
      return onReservations((reservation) => (now() ? { ...reservation, release: () => {} } : reservation))
    },
    /are in use, and \d+ connections are open/
  ],
  [
    "a stream's reservation is not released",
    () => {
      const now = every(100)
      return onReservations((reservation) => ({
        ...reservation,
        openStream: (direction) =>
          Result.map(reservation.openStream(direction), (stream) => (now() ? { ...stream, release: () => {} } : stream))
      }))
    },
    /streams of .* are in use, and \d+ connections are open/
  ],
  [
    "a protected peer is trimmed",
    () => ({
      manager: Layer.effect(
        ConnectionManager,
        Effect.map(ConnectionManager, (manager) => ({ ...manager, protect: () => Effect.void }))
      ).pipe(Layer.provide(few))
    }),
    /the connection of a protected peer was closed/,
    ["connections of many peers"]
  ],
  ["the peer store has no bound", () => ({ beside: Agent.beside }), /\d+ peers are known, and the limit is/, ["lies"]]
]

describe("planted faults of the limits are found", () => {
  it("without one, nothing is found", () => {
    assert.isUndefined(stormProblemOf(1, (parts) => parts))
  })

  it("without one, nothing is found where many are closed to make room", () => {
    assert.isUndefined(stormProblemOf(1, (parts) => ({ ...parts, manager: few })))
  })

  it.each(stormMutations.map((mutation) => [mutation[0], mutation] as const))("%s", (_, [, change, found, attacks]) => {
    const changed = change()
    assert.match(stormProblemOf(3, (parts) => ({ ...parts, ...changed }), attacks) ?? "nothing was found", found)
  })
})

describe("planted faults are found", () => {
  it.each([
    ["in calm", scenario, false],
    ["while connections end", churning, false],
    ["while nodes crash", scenario, true]
  ] as const)("without one, nothing is found %s", (_, which, crashes) => {
    assert.isUndefined(problemOf({}, { scenario: which, crashes }))
  })

  it.each(mutations.map((mutation) => [mutation.name, mutation] as const))(
    "%s",
    (_, { crashes = false, found, parts, scenario: which = scenario }) => {
      assert.match(problemOf(parts(), { scenario: which, crashes }) ?? "nothing was found", found)
    }
  )
})
