/** Tags of a peer: values that fall to zero as their decay says. */
import * as Duration from "effect/Duration"
import type { Tag } from "../../../services/PeerStore.ts"

/** A tag as it is kept. */
export interface KeptTag {
  /** As it was when it was set. */
  readonly value: number
  readonly shape: "none" | "linear" | "exponential"
  /** In milliseconds; without meaning when the shape is `none`. */
  readonly over: number
  readonly setAt: number
  /** From then on the tag is gone. */
  readonly expiresAt: number
}

/** A sum of values must stay a number. */
const bounded = (value: number): number =>
  Number.isNaN(value) ? 0 : Math.min(Math.max(value, -Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER)

const lasts = (value: number, shape: KeptTag["shape"], over: number): number => {
  if (shape === "none") return Number.POSITIVE_INFINITY
  if (!(over > 0) || value === 0) return 0
  if (shape === "linear") return over
  // At exactly 1 it is still there: it is gone with the millisecond after.
  const halvings = Math.log2(Math.abs(value))
  return halvings < 0 ? 0 : Math.floor(over * halvings) + 1
}

/** The tag as it was read from storage or is to be kept. */
export const kept = (value: number, shape: KeptTag["shape"], over: number, setAt: number): KeptTag => {
  const finite = bounded(value)
  return { value: finite, shape, over, setAt, expiresAt: setAt + lasts(finite, shape, over) }
}

export const fromTag = (tag: Tag, now: number): KeptTag =>
  tag.decay === undefined
    ? kept(tag.value, "none", 0, now)
    : kept(tag.value, tag.decay.shape, Duration.toMillis(tag.decay.over), now)

/** The value at a time; 0 when the tag is gone. */
export const valueAt = (tag: KeptTag, now: number): number => {
  if (tag.shape === "none") return tag.value
  if (now >= tag.expiresAt) return 0
  // A clock that was set back does not raise the value.
  const passed = Math.max(0, now - tag.setAt) / tag.over
  return tag.shape === "linear" ? tag.value * (1 - passed) : tag.value * 2 ** -passed
}
