/**
 * Connection: a multiplexed connection as its users see it: what they ask for,
 * answered by the session or once the driver wakes them.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import { untraced } from "../../../data/Untraced.ts"
import {
  KeepAliveTimeout,
  type MuxedConnection,
  type MuxedStream,
  MuxerError,
  type MuxerErrorReason,
  type MuxerProtocol,
  RemoteGoAway,
  StreamLimit,
  Unsupported
} from "../../../services/StreamMuxer.ts"
import * as Deadlines from "../../internal/Deadlines.ts"
import { Driver, type Options, type Shared } from "./Driver.ts"
import { reasonOf } from "./SessionEnd.ts"
import { Stream } from "./Stream.ts"
import type { StreamState } from "./StreamState.ts"

/** A plain object, which users may change by spreading it. */
const connectionOf = <S extends StreamState>(driver: Driver<S>): MuxedConnection => {
  const { session } = driver
  const { liveness, protocol } = session

  const fail = (reason: MuxerErrorReason): Effect.Effect<never, MuxerError> =>
    Effect.suspend(() => Effect.fail(untraced(() => new MuxerError({ protocol, reason }))))

  const tryOpenStream = (): MuxedStream | undefined => {
    const state = session.open()
    return state === undefined ? undefined : new Stream(driver, state)
  }

  const openStream: Effect.Effect<MuxedStream, MuxerError> = Effect.suspend(() => {
    const stream = tryOpenStream()
    if (stream !== undefined) return Effect.succeed(stream)
    const { ended, hasIds, maxId, remoteGoAway } = session
    if (ended !== undefined) return fail(reasonOf(ended))
    if (remoteGoAway !== undefined) return fail(new RemoteGoAway({ code: remoteGoAway }))
    if (!hasIds) return fail(new StreamLimit({ scope: "stream ids", limit: maxId, current: maxId }))
    driver.schedule()
    return Effect.andThen(driver.openers.wait, openStream)
  })

  const acceptStream: Effect.Effect<MuxedStream, MuxerError> = Effect.suspend(() => {
    const state = session.accept()
    if (state !== undefined) {
      driver.schedule()
      return Effect.succeed(new Stream(driver, state))
    }
    if (session.ended !== undefined) return fail(reasonOf(session.ended))
    return Effect.andThen(driver.acceptors.wait, acceptStream)
  })

  const ping: Effect.Effect<number, MuxerError> = Effect.suspend(() => {
    if (liveness === undefined) {
      const detail = "this protocol has no ping; the protocol /ipfs/ping/1.0.0 measures a round trip on a stream"
      return fail(new Unsupported({ detail }))
    }
    const before = liveness.pongs
    session.ping(driver.now())
    driver.schedule()
    const answer: Effect.Effect<number, MuxerError> = Effect.suspend(() => {
      if (liveness.pongs !== before) return Effect.succeed(liveness.latestMs)
      if (session.ended !== undefined) return fail(reasonOf(session.ended))
      return Effect.andThen(driver.pingers.wait, answer)
    })
    const afterMs = driver.pingTimeoutMs
    return Effect.timeoutOrElse(answer, {
      duration: afterMs,
      orElse: () => fail(new KeepAliveTimeout({ afterMs }))
    })
  })

  return {
    protocol,
    openStream,
    tryOpenStream,
    acceptStream,
    isOpen: () => session.ended === undefined && session.remoteGoAway === undefined,
    streamCount: () => session.streamCount,
    ping,
    close: driver.close,
    awaitClosed: Deferred.await(driver.ended)
  }
}

/** Makes what multiplexes a connection until the scope closes; the connection ends with it. */
export const make = <S extends StreamState>(
  options: Options<S>
): Effect.Effect<MuxerProtocol["make"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const shared: Shared<S> = {
      ...options,
      clock: yield* Clock.Clock,
      dispatcher: (yield* Scheduler.Scheduler).makeDispatcher(),
      deadlines: yield* Deadlines.make,
      fork: Effect.runForkWith(yield* Effect.context())
    }
    return (connection, { memory, role }) =>
      Effect.suspend(() => {
        const ended = Deferred.makeUnsafe<MuxerErrorReason>()
        const driver = new Driver(connection, role === "dialer", shared, ended, memory)
        return Effect.map(
          Effect.flatMap(Effect.scope, (scope) => Scope.addFinalizer(scope, driver.stop)),
          () => {
            driver.start()
            return connectionOf(driver)
          }
        )
      })
  })
