/** Where a node of the command line listens, and what it says of that. */
import * as Effect from "effect/Effect"
import * as Multiaddr from "../../data/Multiaddr.ts"
import { type ListenError, Swarm } from "../../services/Swarm.ts"
import { defaultListen, type Settings } from "./Settings.ts"

const defaultIp6 = defaultListen[1]

/** Listens on what was asked for. A machine without IPv6 is no error as long as nobody asked for it. */
export const listen = (settings: Settings) =>
  Effect.gen(function* () {
    const swarm = yield* Swarm
    const isDefault = settings.listen.map(String).join() === defaultListen.join()
    const mayLack = (error: ListenError) =>
      isDefault &&
      error.address === defaultIp6 &&
      error.reason._tag === "TransportFailed" &&
      error.reason.cause.reason._tag === "NetworkFailure"
    const lists = yield* Effect.forEach(settings.listen, (address) =>
      Effect.catchIf(swarm.listen(address), mayLack, (error) =>
        Effect.as(Effect.logDebug(`no IPv6: ${error.message}`), [])
      )
    )
    return lists.flat().map((address) => Multiaddr.withPeer(address, swarm.peerId))
  })

/** The rows of a table that say who a node is and where it listens. */
export const rows = (
  peer: string,
  keyFile: string,
  addresses: ReadonlyArray<string>,
  network?: string
): ReadonlyArray<readonly [string, ReadonlyArray<string>]> => [
  ["peer id", [peer]],
  ["key file", [keyFile]],
  ...(network === undefined ? [] : [["network", [`${network} (private)`]] as const]),
  ["listening", addresses.length === 0 ? ["nowhere: others cannot reach this node"] : addresses]
]
