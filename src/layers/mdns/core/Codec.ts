/**
 * What becomes of packets on their way: they are sent in the clear, as multicast
 * DNS has it, or sealed for those who have a key. Pure.
 */
import * as Result from "effect/Result"
import type { Beacon, Moment } from "./Beacon.ts"
import type { PacketError } from "./Guard.ts"
import * as Packet from "./Packet.ts"

export interface Codec {
  /** What is sent may be read by anybody, and anybody may ask. */
  readonly isPlain: boolean
  /** What is sent for a packet, at this moment of a clock that is never set. */
  readonly encode: (packet: Uint8Array, now: number) => ReadonlyArray<Uint8Array>
  /** Reads a packet that came from the host `source`. */
  readonly decode: (bytes: Uint8Array, source: string, now: number) => Result.Result<Packet.Message, PacketError>
}

/** For everybody. */
export const plain: Codec = { isPlain: true, encode: (packet) => [packet], decode: Packet.decode }

/** In seconds: the same for all, a goodbye too. What it says of how long something lasts is within. */
const ttl = 120

const refused = (detail: string): Result.Result<never, PacketError> => Result.fail({ _tag: "PacketError", detail })

/** For those who have the key of the beacon; also for everybody, if it is `alsoPlain`. */
export class Sealed implements Codec {
  /** By how much the wall clock is ahead of the one that is never set; whoever has clocks keeps it up to date. */
  aheadMs = 0
  readonly isPlain = false
  private readonly beacon: Beacon
  private readonly alsoPlain: boolean

  constructor(beacon: Beacon, alsoPlain: boolean) {
    this.beacon = beacon
    this.alsoPlain = alsoPlain
  }

  encode(packet: Uint8Array, now: number): ReadonlyArray<Uint8Array> {
    const envelope = this.beacon.seal(packet, this.moment(now))
    // What is too long to be sealed is not sent: all that is said is cut long before.
    const sealed =
      envelope === undefined
        ? []
        : [
            Packet.encode({
              kind: "response",
              questions: [],
              answers: [{ ...envelope, ttl, flush: true, type: "TXT" }],
              additionals: []
            })
          ]
    return this.alsoPlain ? [packet, ...sealed] : sealed
  }

  decode(bytes: Uint8Array, source: string, now: number): Result.Result<Packet.Message, PacketError> {
    const outer = Packet.decode(bytes)
    if (Result.isFailure(outer)) return outer
    const moment = this.moment(now)
    for (const rec of outer.success.answers) {
      if (rec.type !== "TXT" || !this.beacon.isOurs(rec.name, moment.wallMs)) continue
      return Result.match(this.beacon.open(rec, source, moment), { onFailure: refused, onSuccess: Packet.decode })
    }
    return this.alsoPlain ? outer : refused("it is not sealed")
  }

  private moment(now: number): Moment {
    return { wallMs: now + this.aheadMs, monotonicMs: now }
  }
}
