/** The service over a table: reads the clock, checks records, and waits until writes are safe. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { PeerId } from "../../../data/PeerId.ts"
import { Crypto } from "../../../services/Crypto.ts"
import { PeerStore, PeerStoreError, type PeerStoreErrorReason, RecordRejected } from "../../../services/PeerStore.ts"
import * as SignedEnvelope from "../../../services/SignedEnvelope.ts"
import { defaultTtl } from "./Limits.ts"
import type { Storage } from "../../internal/Storage.ts"
import type { Table } from "./Table.ts"

const millis = (ttl: Duration.Input | undefined, otherwise: number): number =>
  ttl === undefined ? otherwise : Duration.toMillis(ttl)

const refuse = (peer: PeerId, reason: PeerStoreErrorReason): PeerStoreError =>
  new PeerStoreError({ where: peer.toString(), reason })

/** The service over `table`. All times are of the clock of the fiber that makes it. */
export const make = (
  table: Table,
  storage: Storage<PeerStoreError>
): Effect.Effect<PeerStore["Service"], never, Crypto> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const crypto = yield* Crypto
    const now = () => clock.currentTimeMillisUnsafe()

    const write = <A>(change: () => Result.Result<A, PeerStoreError>): Effect.Effect<A, PeerStoreError> =>
      Effect.suspend(() => {
        const refusal = storage.refusal()
        if (refusal !== undefined) return Effect.fail(refusal)
        const result = change()
        return Result.isFailure(result) ? Effect.fail(result.failure) : Effect.as(storage.stored, result.success)
      })

    const writeOf = (
      peer: PeerId,
      change: () => Result.Result<void, PeerStoreErrorReason>
    ): Effect.Effect<void, PeerStoreError> => write(() => Result.mapError(change(), (reason) => refuse(peer, reason)))

    return PeerStore.of({
      get: (peer) => Effect.sync(() => table.get(peer, now())),
      peers: (limit = 1000) => Effect.sync(() => table.peers(limit, now())),
      size: Effect.sync(() => table.size(now())),
      forget: (peer) => write(() => Result.succeed(table.forget(peer))),
      addresses: (peer) => Effect.sync(() => table.addresses(peer, now())),
      addAddresses: (peer, addresses, how, ttl) =>
        write(() => Result.succeed(table.addAddresses(peer, addresses, how, millis(ttl, defaultTtl[how]), now()))),
      removeAddresses: (peer, addresses) => write(() => Result.succeed(table.removeAddresses(peer, addresses, now()))),
      addRecord: (peer, given, ttl) =>
        write(() => {
          const reject = (detail: string) => Result.fail(refuse(peer, new RecordRejected({ detail })))
          const { maxRecordSize } = table.limits
          const size = given instanceof Uint8Array ? given.length : given.envelope.length
          if (size > maxRecordSize) return reject(`it has ${size} bytes, over the limit of ${maxRecordSize}`)
          const opened =
            given instanceof Uint8Array ? SignedEnvelope.openPeerRecord(crypto, given) : Result.succeed(given)
          if (Result.isFailure(opened)) return reject(opened.failure.detail)
          const record = opened.success
          if (record.peer.toString() !== peer.toString()) return reject(`it is about ${record.peer.toString()}`)
          return Result.succeed(table.addRecord(record, millis(ttl, defaultTtl.certified), now()))
        }),
      record: (peer) => Effect.sync(() => table.record(peer, now())?.slice()),
      setPublicKey: (peer, key) => writeOf(peer, () => table.setPublicKey(peer, key, now())),
      setProtocols: (peer, protocols) => writeOf(peer, () => table.setProtocols(peer, protocols, now())),
      setTag: (peer, name, tag) => writeOf(peer, () => table.setTag(peer, name, tag, now())),
      worth: (peer) => table.worth(peer, now()),
      setMetadata: (peer, name, value) => writeOf(peer, () => table.setMetadata(peer, name, value, now()))
    })
  })
