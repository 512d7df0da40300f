/**
 * What hostile nodes do to honest ones, each as one effect that ends by itself
 * or is ended by whoever runs it. What is expected of the honest end is not said
 * here: its limits and tables are watched, whatever comes.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import { flagRst, flagSyn, typeData, typePing, typeWindowUpdate } from "../../layers/muxer/yamux/Frame.ts"
import type { SimHost } from "../../layers/simulation/net/SimNetwork.ts"
import type { Prng } from "../../layers/simulation/Prng.ts"
import { propose } from "../../layers/swarm/negotiation/NegotiatedStream.ts"
import type { ByteStream } from "../../services/ByteStream.ts"
import { protocol as identifyProtocol, pushProtocol } from "../../services/Identify.ts"
import type { Socket } from "../../services/Net.ts"
import { protocol as pingProtocol } from "../../services/Ping.ts"
import { echo, stuck } from "./Agent.ts"
import {
  type Attacker,
  admit,
  connect,
  drain,
  enter,
  type Entered,
  frame,
  multiplex,
  open,
  type Persona,
  port,
  proposal,
  proposeNoise,
  serve,
  type Target,
  write
} from "./Attacker.ts"
import * as Lies from "./Lies.ts"

export interface Situation {
  readonly attacker: Attacker
  readonly target: Target
  /** One of the attacker's, drawn. */
  readonly host: SimHost
  /** One of the attacker's, drawn. */
  readonly persona: Persona
  readonly random: Prng
}

type Attack = (situation: Situation) => Effect.Effect<void, unknown, Scope.Scope | SecureRandom.SecureRandom>

/** Many at once, whatever becomes of each. */
const many = <A, E, R>(count: number, one: (i: number) => Effect.Effect<A, E, R>): Effect.Effect<void, never, R> =>
  Effect.forEach(Array.from({ length: count }), (_, i) => Effect.ignore(one(i)), {
    concurrency: "unbounded",
    discard: true
  })

const every = (ms: number, what: Effect.Effect<void, unknown>): Effect.Effect<never, unknown> =>
  Effect.forever(Effect.andThen(what, Effect.sleep(ms)))

/** Enters and goes on as one does who reads, but has no muxer. */
const inside = (
  { host, persona, target }: Situation,
  then: (entered: Entered) => Effect.Effect<void, unknown, Scope.Scope>,
  reads = true
) =>
  Effect.gen(function* () {
    const entered = yield* enter(persona, host, target)
    if (reads) yield* Effect.forkScoped(drain(entered.secured))
    yield* then(entered)
  })

/** An attacker as the peer that somebody has dialled. */
type Dialled = Pick<Situation, "attacker" | "persona" | "random">

const anotherOf = ({ attacker, persona, random }: Dialled): Persona =>
  random.pick(attacker.personas.filter((other) => other !== persona)) ?? persona

/** As a whole peer, except for what it says. */
const lying = (situation: Dialled, entered: Entered, role: "dialer" | "listener") =>
  Effect.gen(function* () {
    const { persona, random } = situation
    const muxed = yield* multiplex(entered, role)
    const [, lie] = Lies.draw(random)
    yield* Effect.forkScoped(
      serve(muxed, [identifyProtocol], (stream) => lie(stream, persona, anotherOf(situation), random))
    )
    return muxed
  })

/** The stages of a handshake at which one can stop, or say something else. */
const stages: ReadonlyArray<(raw: Socket, situation: Situation) => Effect.Effect<ByteStream, unknown>> = [
  (raw) => Effect.succeed(raw),
  (raw) => Effect.as(write(raw, proposeNoise.subarray(0, 11)), raw),
  (raw) => Effect.as(write(raw, proposeNoise), raw),
  // A length, and half of the first message.
  (raw, { random }) =>
    Effect.as(write(raw, Buffer.concat([proposeNoise, Uint8Array.of(0, 32), random.bytes(16)])), raw),
  // The whole of it, so that an answer is worked out.
  (raw, { random }) =>
    Effect.as(write(raw, Buffer.concat([proposeNoise, Uint8Array.of(0, 32), random.bytes(32)])), raw),
  // Through with security; no muxer in the handshake, and none after it.
  (raw, { persona }) =>
    Effect.gen(function* () {
      const agreed = yield* propose(raw, ["/noise"])
      const secured = yield* persona.security.secure(agreed.stream, {
        role: "dialer",
        expectedPeer: undefined,
        muxers: []
      })
      yield* write(secured, proposal("/yamux/1.0.0").subarray(0, 15))
      return secured
    })
]

const stall: Attack = (situation) =>
  Effect.gen(function* () {
    const raw = yield* connect(situation.host, situation.target)
    const stream = yield* (situation.random.pick(stages) ?? Effect.succeed)(raw, situation)
    // One byte now and then, so that it is not silent.
    if (situation.random.chance(0.5)) return yield* every(3000, write(stream, Uint8Array.of(0)))
    yield* drain(stream)
  })

/** Frames that are wrong, or too many. */
const frames =
  (make: (random: Prng) => ReadonlyArray<Uint8Array>): Attack =>
  (situation) =>
    inside(situation, ({ secured }) =>
      Effect.gen(function* () {
        for (const bytes of make(situation.random)) yield* write(secured, bytes)
        yield* Effect.sleep(2000)
      })
    )

const ids = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => 2 * i + 1)

export const attacks: Readonly<Record<string, Attack>> = {
  "connections from one address": ({ host, target }) => many(24, () => Effect.flatMap(connect(host, target), drain)),
  "connections from one subnet": ({ attacker, target }) =>
    many(32, (i) =>
      Effect.flatMap(connect(attacker.hosts[i % attacker.hosts.length] ?? attacker.hosts[0], target), drain)
    ),
  "connections of many peers": ({ attacker, target, random }) =>
    many(10, (i) =>
      Effect.gen(function* () {
        const who = random.pick(attacker.personas)
        const { secured } = yield* enter(who, attacker.hosts[i % attacker.hosts.length] ?? attacker.hosts[0], target)
        yield* drain(secured)
      })
    ),
  "connections of one peer": ({ attacker, persona, target }) =>
    many(8, (i) =>
      Effect.gen(function* () {
        const { secured } = yield* enter(persona, attacker.hosts[i] ?? attacker.hosts[0], target)
        yield* drain(secured)
      })
    ),
  "a stalled handshake": stall,
  "many stalled handshakes": (situation) =>
    many(8, (i) => stall({ ...situation, host: situation.attacker.hosts[i] ?? situation.host })),
  "garbage in the handshake": (situation) =>
    Effect.gen(function* () {
      const { host, random, target } = situation
      const raw = yield* connect(host, target)
      const stream = yield* (random.pick(stages) ?? Effect.succeed)(raw, situation)
      yield* write(stream, random.bytes(1 + random.below(random.chance(0.2) ? 100_000 : 500)))
      yield* drain(stream)
    }),
  "garbage in the muxer": frames((random) => [random.bytes(13 + random.below(4000))]),
  "streams without end": frames((random) => {
    const protocol = random.pick([echo, pingProtocol, stuck, identifyProtocol, "/none/1.0.0"])
    return ids(300).map((id) => open(id, protocol, 1000))
  }),
  "streams that propose nothing": frames(() => ids(300).map((id) => frame(typeWindowUpdate, flagSyn, id, 0))),
  "rapid reset": frames((random) => {
    const proposes = random.chance(0.5)
    return [
      Buffer.concat(
        ids(600).flatMap((id) => [
          proposes ? open(id, echo) : frame(typeWindowUpdate, flagSyn, id, 0),
          frame(typeWindowUpdate, flagRst, id, 0)
        ])
      )
    ]
  }),
  "a window overdrawn": frames((random) => {
    const chunk = random.bytes(60_000)
    return [open(1, stuck), ...Array.from({ length: 6 }, () => frame(typeData, 0, 1, chunk.length, chunk))]
  }),
  "windows filled": frames((random) => {
    const chunk = random.bytes(65_000)
    return ids(8).flatMap((id) => [
      open(id, stuck),
      ...Array.from({ length: 3 }, () => frame(typeData, 0, id, chunk.length, chunk))
    ])
  }),
  "a window beyond 32 bits": frames(() => [open(1, stuck, 0xffff_0000), frame(typeWindowUpdate, 0, 1, 0xffff_0000)]),
  "pings without end": frames(() => [
    Buffer.concat(Array.from({ length: 1500 }, (_, i) => frame(typePing, flagSyn, 0, i)))
  ]),
  "never reading": (situation) =>
    inside(
      situation,
      ({ secured }) =>
        Effect.gen(function* () {
          const chunk = situation.random.bytes(60_000)
          for (const id of ids(4)) {
            yield* write(secured, open(id, echo, 0x0fff_ffff))
            for (let i = 0; i < 4; i++) yield* write(secured, frame(typeData, 0, id, chunk.length, chunk))
          }
          return yield* Effect.never
        }),
      false
    ),
  silence: (situation) => inside(situation, () => Effect.never, false),
  lies: (situation) =>
    Effect.gen(function* () {
      yield* lying(situation, yield* enter(situation.persona, situation.host, situation.target), "dialer")
      yield* Effect.sleep(5000 + situation.random.below(15_000))
    }),
  "pushes without end": (situation) =>
    Effect.gen(function* () {
      const { persona, random } = situation
      const muxed = yield* lying(situation, yield* enter(persona, situation.host, situation.target), "dialer")
      const push = Effect.gen(function* () {
        const { stream } = yield* propose(yield* muxed.openStream, [pushProtocol])
        const [, lie] = Lies.draw(random)
        yield* Effect.timeoutOption(lie(stream, persona, anotherOf(situation), random), 3000)
        yield* stream.closeWrite
      })
      yield* many(30, () => push)
      for (let i = 0; i < 10; i++) yield* Effect.ignore(push)
    }),
  "gone without a word": (situation) =>
    Effect.gen(function* () {
      const { host, random } = situation
      yield* lying(situation, yield* enter(situation.persona, host, situation.target), "dialer")
      yield* Effect.sleep(random.below(2000))
      host.crash()
      yield* Effect.sleep(random.below(5000))
    }).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          situation.host.boot()
        })
      )
    )
}

export const names = Object.keys(attacks)

/** What an attacker does to those who dial it. */
const receptions: Readonly<
  Record<string, (raw: Socket, situation: Dialled) => Effect.Effect<void, unknown, Scope.Scope>>
> = {
  "says nothing": (raw) => drain(raw),
  "hangs up": (raw) => Effect.sync(() => raw.reset("not now")),
  "talks nonsense": (raw, { random }) => Effect.andThen(write(raw, random.bytes(300)), drain(raw)),
  "stops after the handshake": (raw, situation) =>
    Effect.flatMap(admit(situation.persona, raw), ({ secured }) => drain(secured)),
  lies: (raw, situation) =>
    Effect.gen(function* () {
      yield* lying(situation, yield* admit(situation.persona, raw), "listener")
      yield* Effect.sleep(20_000)
    }),
  "is another peer": (raw, situation) =>
    Effect.gen(function* () {
      yield* lying(situation, yield* admit(anotherOf(situation), raw), "listener")
      yield* Effect.sleep(20_000)
    })
}

export const receptionNames = Object.keys(receptions)

/**
 * Listens on the attacker's first host, as its first peer, and receives each
 * who comes in a way that is drawn. Ends with the scope.
 */
export const receive = (
  attacker: Attacker,
  met: (what: string) => Effect.Effect<void>
): Effect.Effect<void, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const [host] = attacker.hosts
    const [persona] = attacker.personas
    const { random } = attacker
    const listener = yield* host.net.listen({ host: host.addresses[0] ?? "", port })
    const one = Effect.gen(function* () {
      const raw = yield* listener.accept
      const name = random.pick(receptionNames) ?? "hangs up"
      const reception = receptions[name] ?? drain
      yield* met(`reception: ${name}`)
      yield* Effect.forkScoped(Effect.ignoreCause(Effect.scoped(reception(raw, { attacker, persona, random }))))
    })
    return yield* Effect.forever(one)
  })
