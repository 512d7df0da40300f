/**
 * What the hostile nodes of `swarm-storm` are made of: hosts in one subnet, and
 * a few peer ids. They have no swarm; they use the network, the handshake and
 * the muxer's frames directly, so that they can stop, lie or go on where a
 * whole node would not.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { PeerId } from "../../data/PeerId.ts"
import { protocol as yamux } from "../../layers/muxer/yamux/Session.ts"
import * as Frame from "../../layers/muxer/yamux/Frame.ts"
import * as Yamux from "../../layers/muxer/Yamux.ts"
import * as Noise from "../../layers/security/Noise.ts"
import type { SimHost } from "../../layers/simulation/net/SimNetwork.ts"
import { environment } from "../../layers/simulation/Nodes.ts"
import type { Prng } from "../../layers/simulation/Prng.ts"
import type { Simulation } from "../../layers/simulation/Simulate.ts"
import type { SimNode } from "../../layers/simulation/SimNode.ts"
import { answer, propose } from "../../layers/swarm/negotiation/NegotiatedStream.ts"
import * as ByteStream from "../../services/ByteStream.ts"
import type { SecuredConnection, SecurityProtocol } from "../../services/ConnectionSecurity.ts"
import { Identity } from "../../services/Identity.ts"
import type { Socket } from "../../services/Net.ts"
import type { MuxedConnection, MuxedStream } from "../../services/StreamMuxer.ts"
import type { AgentNode } from "./Agent.ts"

/** One peer id of an attacker. */
export interface Persona {
  readonly identity: Identity["Service"]
  readonly peerId: PeerId
  readonly security: SecurityProtocol
}

export interface Attacker {
  readonly name: string
  /** In one subnet. */
  readonly hosts: readonly [SimHost, ...Array<SimHost>]
  readonly personas: readonly [Persona, ...Array<Persona>]
  readonly random: Prng
}

export type Target = SimNode<AgentNode>

/** Where attackers listen. */
export const port = 4001
const hostsOfAttacker = 8
const personasOfAttacker = 3

const persona = (random: Prng, name: string): Effect.Effect<Persona, never, Scope.Scope | SecureRandom.SecureRandom> =>
  Effect.gen(function* () {
    const context = yield* Layer.build(environment(random.fork(name).bytes(32)).layer)
    const identity = Context.get(context, Identity)
    return { identity, peerId: identity.peerId, security: yield* Effect.provideContext(Noise.make, context) }
  })

/** Puts a hostile node on the network. Its addresses share a /24, which no other node has. */
export const make = Effect.fnUntraced(function* (simulation: Simulation<AgentNode>, index: number) {
  const { network, world } = simulation
  const name = `h${index}`
  const random = world.random.fork(`attacker ${name}`)
  const add = (i: number): SimHost => {
    const host = `${name}.${i}`
    const { scheduler } = world.place(host)
    return network.addHost({
      name: host,
      addresses: [`172.${16 + (index % 3)}.${index}.${i + 1}`],
      schedule: scheduler.schedule
    })
  }
  const attacker: Attacker = {
    name,
    random,
    hosts: [add(0), ...Array.from({ length: hostsOfAttacker - 1 }, (_, i) => add(i + 1))],
    personas: [
      yield* persona(random, "0"),
      ...(yield* Effect.forEach(Array.from({ length: personasOfAttacker - 1 }), (_, i) => persona(random, `${i + 1}`)))
    ]
  }
  return attacker
})

/** Where an attacker listens. */
export const addressOf = (attacker: Attacker, i = 0): Multiaddr.Multiaddr =>
  Multiaddr.fromStringUnsafe(`/ip4/${(attacker.hosts[i] ?? attacker.hosts[0]).addresses[0] ?? ""}/tcp/${port}`)

// ---- connections

/** A TCP connection and nothing more. */
export const connect = (host: SimHost, target: Target) =>
  host.net.connect({ host: target.host.addresses[0] ?? "", port })

export const write = ByteStream.write

/** Reads, and forgets, until the end. */
export const drain = (stream: ByteStream.ByteStream): Effect.Effect<void> =>
  Effect.ignore(
    Effect.gen(function* () {
      for (;;) if ((yield* ByteStream.read(stream)) === null) return
    })
  )

/** A connection as a peer has it after the handshake. */
export interface Entered {
  readonly raw: Socket
  readonly secured: SecuredConnection
}

/** Connects and completes the handshake as one of the attacker's peers. */
export const enter = Effect.fnUntraced(function* (who: Persona, host: SimHost, target: Target) {
  const raw = yield* connect(host, target)
  const agreed = yield* propose(raw, [Noise.id])
  const secured = yield* who.security.secure(agreed.stream, {
    role: "dialer",
    expectedPeer: undefined,
    muxers: [yamux]
  })
  // The last message of the handshake waits for the first bytes otherwise.
  secured.flush()
  raw.flush()
  const entered: Entered = { raw, secured }
  return entered
})

/** The handshake of one that was dialled. */
export const admit = Effect.fnUntraced(function* (who: Persona, raw: Socket) {
  const agreed = yield* answer(
    raw,
    (protocol) => protocol === Noise.id,
    () => [Noise.id]
  )
  const secured = yield* who.security.secure(agreed.stream, {
    role: "listener",
    expectedPeer: undefined,
    muxers: [yamux]
  })
  const entered: Entered = { raw, secured }
  return entered
})

/** A whole muxer on it, for lies about what is above. */
export const multiplex = ({ secured }: Entered, role: "dialer" | "listener") =>
  Effect.flatMap(Yamux.make({ closeGraceMs: 100 }), (muxer) => muxer.make(secured, { role }))

// ---- frames

/** What a dialer of Noise sends before it needs an answer. */
export const proposeNoise = Buffer.from("\x13/multistream/1.0.0\n\x07/noise\n")

/** A proposal of one protocol, as multistream-select has it. */
export const proposal = (protocol: string): Buffer =>
  Buffer.from(`\x13/multistream/1.0.0\n${String.fromCharCode(protocol.length + 1)}${protocol}\n`)

export const frame = (type: number, flags: number, id: number, length: number, payload?: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(Frame.headerLength + (payload?.length ?? 0))
  Frame.writeHeader(bytes, 0, type, flags, id, length)
  if (payload !== undefined) bytes.set(payload, Frame.headerLength)
  return bytes
}

/** Opens stream `id` with a proposal of `protocol`, and lets the other end send `window` more bytes. */
export const open = (id: number, protocol: string, window = 0): Uint8Array => {
  const bytes = proposal(protocol)
  return Buffer.concat([
    frame(Frame.typeWindowUpdate, Frame.flagSyn, id, window),
    frame(Frame.typeData, 0, id, bytes.length, bytes)
  ])
}

// ---- lies

/** Serves what the other end opens: the protocols it is asked for, with an answer of one's own. */
export const serve = (
  muxed: MuxedConnection,
  protocols: ReadonlyArray<string>,
  respond: (stream: ByteStream.ByteStream) => Effect.Effect<void, unknown>
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    const one = (stream: MuxedStream) =>
      Effect.gen(function* () {
        const agreed = yield* answer(
          stream,
          (protocol) => protocols.includes(protocol),
          () => protocols
        )
        yield* respond(agreed.stream)
        yield* stream.closeWrite
      }).pipe(Effect.ignore)
    for (;;) yield* Effect.forkScoped(one(yield* muxed.acceptStream))
  }).pipe(Effect.ignore)
