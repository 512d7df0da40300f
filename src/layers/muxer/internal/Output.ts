/**
 * Output: the bytes that a session has to send, in order. Headers and small
 * payloads are packed together; large payloads are only referred to. Each
 * protocol adds how its headers are written.
 */

/** Up to here a payload is copied beside its header: cheaper than two more pieces downstream. */
export const copyLimit = 4096
const smallSlab = 2048
/** For a first frame that is short: an idle session that answered a ping holds no more. So many bytes are in the heap itself. */
const tinySlab = 64
const largeSlab = 64 * 1024

export class Output {
  /** Bytes that wait to be sent. */
  size = 0
  private pieces: Array<Uint8Array> = []
  private first = 0
  private slab: Uint8Array | undefined
  /** Where in the slab that `reserve` gave the next bytes are written. */
  protected slabUsed = 0
  /** Where in the slab the bytes begin that are not a piece yet. */
  private slabStart = 0

  /** A slab with room for `length` bytes at `slabUsed`; call `wrote` after they were written. */
  protected reserve(length: number): Uint8Array {
    const slab = this.slab
    if (slab !== undefined && this.slabUsed + length <= slab.length) return slab
    this.seal()
    const usual = this.size >= smallSlab ? largeSlab : this.size > 0 || length > tinySlab ? smallSlab : tinySlab
    const fresh = new Uint8Array(Math.max(length, usual))
    this.slab = fresh
    this.slabUsed = 0
    this.slabStart = 0
    return fresh
  }

  protected wrote(length: number): void {
    this.slabUsed += length
    this.size += length
  }

  /** A payload that is not copied: it must not change until it was sent. */
  protected refer(payload: Uint8Array): void {
    this.seal()
    this.pieces.push(payload)
    this.size += payload.length
  }

  /** Makes a piece of the packed bytes. */
  private seal(): void {
    if (this.slab !== undefined && this.slabUsed > this.slabStart) {
      this.pieces.push(this.slab.subarray(this.slabStart, this.slabUsed))
      this.slabStart = this.slabUsed
    }
  }

  /**
   * Offers the bytes to `take`, which says how many it took; stops when it took
   * fewer than it was offered. True when nothing is left.
   */
  drain(take: (bytes: Uint8Array) => number): boolean {
    this.seal()
    for (;;) {
      const piece = this.pieces[this.first]
      if (piece === undefined) break
      const taken = take(piece)
      this.size -= taken
      if (taken < piece.length) {
        this.pieces[this.first] = piece.subarray(taken)
        this.pieces.splice(0, this.first)
        this.first = 0
        return false
      }
      this.first += 1
    }
    if (this.first > 0) {
      this.pieces = []
      this.first = 0
    }
    // A large slab is for a burst: an idle session should not hold it.
    if (this.slab !== undefined && this.slab.length > smallSlab && this.slabUsed * 2 > this.slab.length)
      this.slab = undefined
    return true
  }

  /** Frees memory kept for the next burst. */
  rest(): void {
    if (this.size === 0) this.slab = undefined
  }
}
