/** Verdict: what the failure of an attempt says of the address, and of the network to it. Pure. */
import type { NetErrorReason } from "../../../services/Net.ts"
import type { AttemptReason } from "../../../services/Swarm.ts"

/** What this machine refuses has nothing to do with the address. */
const ofThisMachine = (reason: NetErrorReason): boolean =>
  reason._tag === "AddressInUse" ||
  reason._tag === "AddressUnavailable" ||
  (reason._tag === "SystemRefused" && /^(EMFILE|ENFILE|ENOBUFS|ENOMEM|EPERM)$/.test(reason.code))

/** True when the address failed, rather than a limit, a rule or a lack of this node. */
export const failedItself = (reason: AttemptReason): boolean => {
  switch (reason._tag) {
    case "TransportFailed": {
      const { reason: why } = reason.cause
      return why._tag === "NetworkFailure" && !ofThisMachine(why.cause.reason)
    }
    case "NegotiationFailed":
    case "SecurityFailed":
    case "DeadlineExceeded":
    case "UnresolvedName":
      return true
    default:
      return false
  }
}

/** True when the network brought nothing back, not even a refusal. */
export const noAnswer = (reason: AttemptReason): boolean => {
  if (reason._tag === "DeadlineExceeded") return reason.stage === "dialing"
  if (reason._tag !== "TransportFailed" || reason.cause.reason._tag !== "NetworkFailure") return false
  const { _tag } = reason.cause.reason.cause.reason
  return _tag === "Unreachable" || _tag === "ConnectTimeout"
}
