/** Bytes held back in one direction of a connection: late, and no faster than allowed. In order, bounded by its user. */
import type { Faults } from "../../services/FaultControls.ts"
import { maybeCorrupt, sampleDelay, type Tools } from "./Tools.ts"

interface Piece {
  /** `null` is the end of the stream. */
  readonly bytes: Uint8Array | null
  readonly due: number
}

/** What one step may let through at a limited rate, in milliseconds of that rate. */
const stepMs = 20
/** Memory that a piece takes besides its bytes, so that many tiny ones are bounded too. */
const pieceCost = 64
/** What an unused rate may save up, in milliseconds. */
const savedMs = 50

/** True when bytes cannot simply pass. */
export const holds = (faults: Faults): boolean =>
  faults.blackHole === true ||
  faults.delayMs !== undefined ||
  faults.bytesPerSecond !== undefined ||
  (faults.corrupt ?? 0) > 0

export class Line {
  private size = 0
  private readonly tools: Tools
  private pieces: Array<Piece> = []
  private first = 0
  private lastDue = 0
  /** When the limited rate lets the next byte through. */
  private gate = 0

  constructor(tools: Tools) {
    this.tools = tools
  }

  get isEmpty(): boolean {
    return this.first === this.pieces.length
  }

  get room(): number {
    return Math.max(0, this.tools.capacity - this.size)
  }

  /** `bytes` belong to the line from now on. */
  put(bytes: Uint8Array | null, faults: Faults): void {
    const due = this.tools.now() + sampleDelay(this.tools, faults)
    this.lastDue = Math.max(this.lastDue, due)
    this.pieces.push({ bytes, due: this.lastDue })
    this.size += pieceCost + (bytes?.length ?? 0)
  }

  /** Milliseconds until the next bytes may pass: 0 for now, infinite in a black hole; `undefined` when there are none. */
  wait(faults: Faults): number | undefined {
    const head = this.pieces[this.first]
    if (head === undefined) return undefined
    if (faults.blackHole === true) return Number.POSITIVE_INFINITY
    const due = faults.delayMs === undefined ? 0 : head.due
    const open = faults.bytesPerSecond === undefined ? 0 : this.gate
    return Math.max(0, Math.max(due, open) - this.tools.now())
  }

  /** What may pass now, if `wait` says 0; corrupted with the probability of the fault. */
  take(faults: Faults): Uint8Array | null | undefined {
    const head = this.pieces[this.first]
    if (head === undefined) return undefined
    let { bytes } = head
    const rate = faults.bytesPerSecond
    const most = rate === undefined ? Number.POSITIVE_INFINITY : Math.max(1, Math.floor((rate * stepMs) / 1000))
    if (bytes !== null && bytes.length > most) {
      this.pieces[this.first] = { bytes: bytes.subarray(most), due: head.due }
      bytes = bytes.subarray(0, most)
    } else this.next()
    if (bytes === null) return null
    this.size -= bytes.length
    if (rate !== undefined) this.gate = Math.max(this.gate, this.tools.now() - savedMs) + (bytes.length * 1000) / rate
    maybeCorrupt(this.tools, faults, bytes)
    return bytes
  }

  drop(): void {
    this.pieces = []
    this.first = 0
    this.size = 0
  }

  private next(): void {
    this.first++
    this.size -= pieceCost
    if (this.first === this.pieces.length) {
      this.pieces = []
      this.first = 0
    } else if (this.first >= 64) {
      this.pieces.splice(0, this.first)
      this.first = 0
    }
  }
}
