// A profile that only its owner can write, and that everyone can check.
import { Clock, Effect, Layer } from "effect"
import {
  Crypto,
  IdentityFromSeed,
  Identity,
  Iprs,
  MemoryRecordStore,
  NodeCrypto,
  RecordStore,
  RecordValidators
} from "effect-libp2p"

const bytes = (text: string) => new TextEncoder().encode(text)

/** Names such as `/profile/<peer id>`: that peer alone may sign for them. */
const scheme = Effect.map(Crypto.Crypto, (crypto) => Iprs.keyScheme(crypto))
const Rules = Layer.unwrap(Effect.map(scheme, (by) => RecordValidators.layer({ profile: Iprs.validator(by) })))
const Records = MemoryRecordStore.layer().pipe(Layer.provide(Rules))

const publish = (text: string, parents: ReadonlyArray<Iprs.IprsRecord>) =>
  Effect.gen(function* () {
    const { peerId } = yield* Identity.Identity
    const store = yield* RecordStore.RecordStore
    const name = Iprs.nameOf("profile", peerId)
    // Newer than its parents, until there is one that comes after it.
    const record = yield* Iprs.sign(name, bytes(text), Iprs.after(parents))
    yield* store.put(name, record.bytes, { ttl: "1 day" })
    return { name, record }
  })

export const program = Effect.gen(function* () {
  const first = yield* publish("I am new here", [])
  const second = yield* publish("I have been here for a while", [first.record])
  const store = yield* RecordStore.RecordStore
  const outdated = yield* Effect.flip(store.put(first.name, first.record.bytes))
  const { value } = yield* store.get(second.name)
  const now = yield* Clock.currentTimeMillis
  const found = yield* Effect.fromResult(Iprs.verify(yield* scheme, second.name, value, now))
  return { text: new TextDecoder().decode(found.value), because: outdated.reason._tag }
}).pipe(
  Effect.provide(
    Layer.merge(Records, IdentityFromSeed.layer(new Uint8Array(32).fill(7))).pipe(Layer.provideMerge(NodeCrypto.layer))
  )
)
