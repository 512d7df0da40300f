/** What hostile peers say of themselves when they are asked, and unasked. */
import * as Effect from "effect/Effect"
import * as LengthPrefix from "../../data/LengthPrefix.ts"
import * as Identify from "../../data/messages/Identify.ts"
import * as Multiaddr from "../../data/Multiaddr.ts"
import type { Prng } from "../../layers/simulation/Prng.ts"
import * as Keys from "../../data/Keys.ts"
import * as Varint from "../../data/Varint.ts"
import type { ByteStream, StreamError } from "../../services/ByteStream.ts"
import { Identity } from "../../services/Identity.ts"
import { protocol as identifyProtocol, pushProtocol } from "../../services/Identify.ts"
import { sealPeerRecord } from "../../services/SignedEnvelope.ts"
import { type Persona, write } from "./Attacker.ts"

const somewhere = (i: number): Multiaddr.Multiaddr =>
  Multiaddr.fromStringUnsafe(`/ip4/192.0.${(i >> 8) & 255}.${i & 255}/tcp/4001`)

const honest = (persona: Persona): Identify.Identify => ({
  publicKey: Keys.encodePublicKey(persona.identity.publicKey),
  listenAddrs: [somewhere(1).bytes],
  protocols: [identifyProtocol, pushProtocol, "/lies/1.0.0"],
  observedAddr: somewhere(7).bytes,
  agentVersion: "liar"
})

const aThousand = Array.from({ length: 1000 }, (_, i) => somewhere(i).bytes)

type Lie = (stream: ByteStream, persona: Persona, other: Persona, random: Prng) => Effect.Effect<void, StreamError>

const say = (stream: ByteStream, message: Identify.Identify) =>
  write(stream, LengthPrefix.encode(Identify.encode(message)))

/** Each is an answer to identify, or a push. */
const lies: Readonly<Record<string, Lie>> = {
  "a true message": (stream, persona) => say(stream, honest(persona)),
  "10 MiB announced": (stream, _, __, random) =>
    Effect.andThen(write(stream, Varint.encode(10 * 1024 * 1024)), write(stream, random.bytes(40_000))),
  "the key of another": (stream, persona, other) =>
    say(stream, { ...honest(persona), publicKey: Keys.encodePublicKey(other.identity.publicKey) }),
  "the record of another": (stream, persona, other) =>
    Effect.flatMap(
      Effect.provideService(sealPeerRecord([somewhere(3)], 9n), Identity, other.identity),
      (signedPeerRecord) => say(stream, { ...honest(persona), signedPeerRecord })
    ),
  "a record of its own": (stream, persona, _, random) =>
    Effect.flatMap(
      Effect.provideService(
        sealPeerRecord([somewhere(random.below(5000))], BigInt(random.below(1000))),
        Identity,
        persona.identity
      ),
      (signedPeerRecord) => say(stream, { ...honest(persona), signedPeerRecord })
    ),
  "a thousand addresses": (stream, persona) => say(stream, { ...honest(persona), listenAddrs: aThousand }),
  "a thousand protocols": (stream, persona) =>
    say(stream, { ...honest(persona), protocols: Array.from({ length: 1000 }, (_, i) => `/lie/${i}`) }),
  "no end": (stream, persona) =>
    Effect.andThen(
      say(stream, honest(persona)),
      Effect.forever(Effect.andThen(Effect.sleep("2 seconds"), write(stream, Uint8Array.of(0))))
    ),
  "no answer": () => Effect.never,
  "a hundred parts": (stream) => write(stream, new Uint8Array(100)),
  garbage: (stream, _, __, random) => write(stream, random.bytes(1 + random.below(2000))),
  "half a message": (stream, persona) => {
    const bytes = LengthPrefix.encode(Identify.encode(honest(persona)))
    return write(stream, bytes.subarray(0, bytes.length >> 1))
  }
}

const names = Object.keys(lies)

/** One of them, drawn. */
export const draw = (random: Prng): readonly [name: string, lie: Lie] => {
  const name = random.pick(names) ?? "garbage"
  return [name, lies[name] ?? (() => Effect.void)]
}
