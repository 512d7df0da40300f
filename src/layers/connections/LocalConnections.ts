/**
 * Connects to the peers that are heard on the local network, as many as is of
 * use, and tells the connection manager that they are worth something.
 *
 * ```
 * scope of the layer
 *  ├─ task: wakes the keeper when somebody is heard or a connection ends
 *  └─ keeper               decides whom to dial, now and whenever it is woken; takes its tags back at the end
 *      └─ a fiber a dial   at most `atOnce`
 * ```
 *
 * Two that hear each other dial once: the one with the smaller id begins, the
 * other waits a moment for it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { PeerId } from "../../data/PeerId.ts"
import { LocalNetwork, type LocalPeer } from "../../services/LocalNetwork.ts"
import { PeerStore, tolerant } from "../../services/PeerStore.ts"
import { Swarm } from "../../services/Swarm.ts"
import { monotonicMs } from "../internal/Monotonic.ts"
import { pauseMs } from "../internal/Retry.ts"

export interface Options {
  /** Peers of the local network that it connects to; more may connect to it. Default 32. */
  readonly most?: number | undefined
  /** Peers that are dialled at once. Default 8. */
  readonly atOnce?: number | undefined
  /** For one to answer. Default 10 seconds. */
  readonly patience?: Duration.Input | undefined
  /** What a connection with one is worth to the connection manager. Default 20. */
  readonly worth?: number | undefined
}

/** The name of the tag. */
export const tag = "local-network"
/** The one with the larger id waits so long for the other to dial. */
const headStart = Duration.millis(300)
/** It looks at least so often, whatever it was told. */
const heartbeat = Duration.seconds(15)
/** From one look to the next, however much is heard meanwhile. */
const betweenLooks = Duration.millis(100)
/** How long one that failed is left alone. */
const pauses = { firstMs: 5000, longestMs: 300_000 }
/**
 * Dials that may fail at once, all peers together, and how often one more may.
 * Anybody can announce peers without end, at whatever address of the network:
 * who does must not have all nodes knock there as often as it likes.
 */
const failuresAtOnce = 32
const failureEveryMs = 4000

interface Failures {
  readonly count: number
  readonly retryAt: number
}

const keep = Effect.fnUntraced(function* (options: Options = {}) {
  const network = yield* LocalNetwork
  const peerStore = yield* PeerStore
  const swarm = yield* Swarm
  const use = tolerant("the local network")
  const most = options.most ?? 32
  const atOnce = options.atOnce ?? 8
  const patience = options.patience ?? "10 seconds"
  const worth = options.worth ?? 20
  const self = swarm.peerId.toString()
  const dialling = yield* FiberMap.make<string>()
  const wake = yield* Queue.sliding<void>(1)
  /** Those that are worth something, since they are here and connected, whoever dialled. */
  const tagged = new Map<string, PeerId>()
  /** Of those that are there. */
  const failures = new Map<string, Failures>()

  /** Until when the dials that failed are made up for. */
  let owedUntil = 0

  const failed = Effect.fnUntraced(function* (id: string) {
    const count = (failures.get(id)?.count ?? 0) + 1
    const now = yield* monotonicMs
    failures.set(id, { count, retryAt: now + pauseMs(count, pauses, yield* Random.next) })
    owedUntil = Math.max(owedUntil, now) + failureEveryMs
  })

  const dial = ({ addresses, peer }: LocalPeer) =>
    Effect.gen(function* () {
      const id = peer.toString()
      if (id < self) yield* Effect.sleep(headStart)
      if ((yield* swarm.connections(peer)).length > 0) return
      yield* swarm.dial({ peer, addresses }).pipe(
        Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.fail({ message: "no answer in time" }) }),
        Effect.matchEffect({
          onSuccess: () => Effect.sync(() => failures.delete(id)),
          onFailure: ({ message }) => Effect.andThen(Effect.logDebug(`local network: ${message}`), failed(id))
        })
      )
    }).pipe(Effect.ensuring(Queue.offer(wake, undefined)))

  /** Who has gone is worth no more here than any other peer, wherever it is met again. */
  const untag = (id: string, peer: PeerId) =>
    Effect.suspend(() => {
      tagged.delete(id)
      return use.write(peerStore.setTag(peer, tag, undefined))
    })
  yield* Effect.addFinalizer(() => Effect.forEach(tagged, ([id, peer]) => untag(id, peer), { discard: true }))

  const look = Effect.gen(function* () {
    const now = yield* monotonicMs
    const connected = new Set((yield* swarm.connections()).map(({ remotePeer }) => remotePeer.toString()))
    const present = yield* network.peers
    const ids = new Set(present.map(({ peer }) => peer.toString()))
    for (const id of failures.keys()) if (!ids.has(id)) failures.delete(id)
    for (const [id, peer] of tagged) if (!ids.has(id) || !connected.has(id)) yield* untag(id, peer)
    for (const { peer } of present) {
      const id = peer.toString()
      if (!connected.has(id) || tagged.has(id)) continue
      tagged.set(id, peer)
      yield* use.write(peerStore.setTag(peer, tag, { value: worth }))
    }
    const isBusy = (id: string) => connected.has(id) || FiberMap.hasUnsafe(dialling, id)
    let count = present.filter(({ peer }) => isBusy(peer.toString())).length
    const under = yield* FiberMap.size(dialling)
    const mayFail = failuresAtOnce - Math.ceil(Math.max(0, owedUntil - now) / failureEveryMs) - under
    let free = Math.min(atOnce - under, mayFail)
    for (const one of present) {
      const id = one.peer.toString()
      if (count >= most || free <= 0) return
      if (isBusy(id)) continue
      if ((failures.get(id)?.retryAt ?? 0) > now) continue
      count++
      free--
      yield* FiberMap.run(dialling, id, dial(one), { onlyIfMissing: true })
    }
  })

  yield* Effect.forkScoped(
    Stream.runForEach(network.changes, () => Queue.offer(wake, undefined)),
    { startImmediately: true }
  )
  yield* swarm.forEachConnection((connection) =>
    Queue.offer(wake, undefined).pipe(
      Effect.andThen(connection.awaitClosed),
      Effect.ensuring(Queue.offer(wake, undefined)),
      Effect.asVoid
    )
  )
  yield* look.pipe(
    Effect.andThen(Effect.sleep(betweenLooks)),
    Effect.andThen(Effect.timeoutOption(Queue.take(wake), heartbeat)),
    Effect.forever,
    Effect.forkScoped
  )
})

/**
 * Connects for as long as the layer is in use.
 *
 * ```
 * LocalConnections.layer({ most: 8 })
 * ```
 */
export const layer = (options?: Options): Layer.Layer<never, never, LocalNetwork | PeerStore | Swarm> =>
  Layer.effectDiscard(keep(options))
