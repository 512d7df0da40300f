/**
 * Inbox: the bytes that arrived on one stream and were not read yet. They are
 * views of the batches that brought them, and stay so where a stream has a fair
 * part of its batch. Where a few bytes would keep a large batch in memory, or
 * many tiny pieces would cost more than they hold, they are copied together:
 * not as each frame comes, but once, when they are read or the next batch comes.
 * Of a batch that was only lent, all that is not read at once is copied.
 */

/** What is kept may hold at most this many times its own size in memory. */
const slack = 4
/** Pieces that are smaller on average are joined with what already waits. */
const tiny = 512
/** Copies are gathered in buffers that double up to this size. */
const largestPack = 16 * 1024

/** Shared by all that are empty, so that an idle stream holds no array. Never changed. */
const none: Array<Uint8Array> = []

export class Inbox {
  /** Bytes that wait to be read. */
  size = 0
  private pieces: Array<Uint8Array> = none
  private first = 0
  /** Where in `pieces` those begin of which is not decided yet whether to copy them. */
  private looseFrom = 0
  private looseBytes = 0
  /** A buffer with room left, of which the piece before `looseFrom` is a part. */
  private pack: Uint8Array | undefined
  private packUsed = 0

  /** Adds bytes of the current batch. True if `settle` should be called before the next batch. */
  push(bytes: Uint8Array): boolean {
    const fresh = this.looseBytes === 0
    if (fresh) this.looseFrom = this.pieces.length
    if (this.pieces === none) this.pieces = [bytes]
    else this.pieces.push(bytes)
    this.size += bytes.length
    this.looseBytes += bytes.length
    return fresh
  }

  /** Decides what to copy of the bytes that came since the last time, which are of one batch; of a lent one, all. */
  settle(lent: boolean): void {
    const loose = this.looseBytes
    if (loose === 0) return
    const backing = this.pieces[this.looseFrom]?.buffer.byteLength ?? 0
    if (lent || loose * slack < backing || this.isCrumbled) return this.copyLoose()
    this.looseBytes = 0
    this.pack = undefined
  }

  /** What came is in pieces so small that together they cost less. */
  private get isCrumbled(): boolean {
    const count = this.pieces.length - this.looseFrom
    return (this.size > this.looseBytes || count > 1) && this.looseBytes < tiny * count
  }

  private copyLoose(): void {
    const loose = this.looseBytes
    const from = this.looseFrom
    const before = this.size - loose
    this.looseBytes = 0
    let { pack } = this
    let at = from - 1
    if (pack === undefined || pack.length - this.packUsed < loose) {
      pack = new Uint8Array(Math.max(loose, Math.min(before, largestPack)))
      at = from
      this.packUsed = 0
    }
    for (let index = from; index < this.pieces.length; index += 1) {
      const piece = this.pieces[index]
      if (piece === undefined) continue
      pack.set(piece, this.packUsed)
      this.packUsed += piece.length
    }
    this.pieces.length = at
    this.pieces.push(this.packUsed === pack.length ? pack : pack.subarray(0, this.packUsed))
    this.pack = this.packUsed < pack.length ? pack : undefined
  }

  /** The oldest bytes, the caller's from now on, or for as long as their batch is lent; `undefined` when there are none. */
  shift(lent: boolean): Uint8Array | undefined {
    const isLoose = this.looseBytes > 0 && this.first === this.looseFrom
    if (isLoose && !lent) this.settle(false)
    else if (isLoose && this.isCrumbled) this.copyLoose()
    const piece = this.pieces[this.first]
    if (piece === undefined) return undefined
    this.size -= piece.length
    this.first += 1
    if (isLoose && this.looseBytes > 0) {
      this.looseBytes -= piece.length
      this.looseFrom += 1
    }
    if (this.first === this.pieces.length) {
      this.pieces = none
      this.first = 0
      this.pack = undefined
    } else {
      // The piece of the pack was taken: nothing may be added to it.
      if (this.looseBytes > 0 && this.first === this.looseFrom) this.pack = undefined
      if (this.first >= 32) {
        this.pieces.splice(0, this.first)
        this.looseFrom -= this.first
        this.first = 0
      }
    }
    return piece
  }

  clear(): void {
    this.size = 0
    this.pieces = none
    this.first = 0
    this.looseBytes = 0
    this.pack = undefined
  }
}
