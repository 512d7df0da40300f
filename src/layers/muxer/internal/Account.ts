/** Account: the memory of one connection, as its session holds it, told to the resource manager. */
import { describeLimit, type LimitExceeded, type MemoryAccount } from "../../../services/ResourceManager.ts"
import type { Session } from "./Session.ts"
import type { StreamState } from "./StreamState.ts"

/** What a connection may hold to say when memory is refused, in bytes: resets, and its goodbye. */
const lastWords = 4096

export class Account<S extends StreamState> {
  /** What it was set to last, in bytes. */
  bytes = 0
  private readonly session: Session<S>
  /** `undefined` when there is none, or the connection has ended. */
  private memory: MemoryAccount | undefined

  constructor(session: Session<S>, memory: MemoryAccount | undefined) {
    this.session = session
    this.memory = memory
  }

  /**
   * Sets it to what the connection holds now. If that is refused, the streams that
   * hold most are reset until it holds no more than before: send that, and `retry`.
   */
  set(): LimitExceeded | undefined {
    const { memory, session } = this
    const { held } = session
    if (memory === undefined || held === this.bytes) return undefined
    const refusal = memory.resize(held)
    if (refusal === undefined) {
      if (held > this.bytes) session.pressed = false
      this.bytes = held
      return undefined
    }
    session.pressed = true
    session.shed(Math.max(0, this.bytes - session.outputSize), describeLimit(refusal))
    return refusal
  }

  /** False when the connection holds too much all the same. */
  retry(): boolean {
    const { held } = this.session
    if (held > this.bytes) return held - this.bytes <= lastWords
    // To hold less is never refused.
    this.memory?.resize(held)
    this.bytes = held
    return true
  }

  /** The connection has ended: what is still to be read belongs to its readers. */
  close(): void {
    this.memory?.resize(0)
    this.memory = undefined
    this.bytes = 0
  }
}
