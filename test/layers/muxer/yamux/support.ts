/** Sessions, and frames by hand, for the tests of the Yamux core. */
import { assert } from "@effect/vitest"
import { defaults, type Limits } from "../../../../src/layers/muxer/yamux/Limits.ts"
import { Session } from "../../../../src/layers/muxer/yamux/Session.ts"
import type { StreamState } from "../../../../src/layers/muxer/yamux/StreamState.ts"

export const KiB = 1024
export const window = 256 * KiB

export const make = (client: boolean, limits: Partial<Limits> = {}): Session =>
  new Session(client, { ...defaults, ...limits }, 0)

/** All that waits to be sent. */
export const output = (session: Pick<Session, "drain">): Uint8Array => {
  const parts: Array<Uint8Array> = []
  session.drain((bytes) => {
    parts.push(bytes.slice())
    return bytes.length
  })
  return new Uint8Array(Buffer.concat(parts))
}

/** In hexadecimal, a space after every four bytes. */
export const hex = (bytes: Uint8Array): string =>
  Buffer.from(bytes)
    .toString("hex")
    .replace(/.{8}(?=.)/g, "$& ")

/** A frame, with as much payload as its length says if it is a data frame. */
export const frame = (type: number, flags: number, id: number, length: number, payload?: Uint8Array): Uint8Array => {
  const header = Buffer.alloc(12)
  header.writeUInt8(type, 1)
  header.writeUInt16BE(flags, 2)
  header.writeUInt32BE(id, 4)
  header.writeUInt32BE(length, 8)
  return new Uint8Array(Buffer.concat([header, payload ?? new Uint8Array(type === 0 ? length : 0)]))
}

export const [data, update, ping, goAway] = [0, 1, 2, 3]
export const [syn, ack, fin, rst] = [1, 2, 4, 8]

export const random = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

export const defined = <A>(value: A | undefined): A => {
  if (value === undefined) return assert.fail("expected a value")
  return value
}

export const open = (session: Session): StreamState => defined(session.open())
export const accept = (session: Session): StreamState => defined(session.accept())

/** Carries all output both ways until there is none. */
export const carry = (left: Session, right: Session, nowMs = 0): void => {
  for (;;) {
    const there = output(left)
    const back = output(right)
    if (there.length === 0 && back.length === 0) return
    right.receive(there, nowMs)
    left.receive(back, nowMs)
  }
}

export const drainInbox = (session: Session, stream: StreamState, nowMs = 0): number => {
  let total = 0
  for (;;) {
    const bytes = session.read(stream, nowMs)
    if (bytes === undefined || bytes === null) return total
    total += bytes.length
  }
}
