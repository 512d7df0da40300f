/**
 * Inbox: the bytes that arrived on one stream and were not read yet. They are
 * kept as views of the batches that brought them, except where a small view
 * would hold a large batch in memory: those are copied and packed together.
 */

/** A view may hold at most this many times its own size in memory. */
const slack = 4
/** Copied pieces are packed into buffers that double up to this size. */
const largestPack = 16 * 1024

/** Shared by all that are empty, so that an idle stream holds no array. Never changed. */
const none: Array<Uint8Array> = []

export class Inbox {
  /** Bytes that wait to be read. */
  size = 0
  private pieces: Array<Uint8Array> = none
  private first = 0
  /** The buffer that the last piece is packed in, while it is. */
  private pack: Uint8Array | undefined
  private packUsed = 0

  push(bytes: Uint8Array): void {
    const length = bytes.length
    if (length * slack >= bytes.buffer.byteLength) {
      this.seal()
      this.add(bytes)
    } else {
      let pack = this.pack
      if (pack === undefined || this.packUsed + length > pack.length) {
        this.seal()
        pack = new Uint8Array(Math.max(length, Math.min(this.size, largestPack)))
        this.pack = pack
      }
      pack.set(bytes, this.packUsed)
      this.packUsed += length
    }
    this.size += length
  }

  private seal(): void {
    const pack = this.pack
    if (pack === undefined) return
    this.add(this.packUsed === pack.length ? pack : pack.subarray(0, this.packUsed))
    this.pack = undefined
    this.packUsed = 0
  }

  private add(piece: Uint8Array): void {
    if (this.pieces === none) this.pieces = [piece]
    else this.pieces.push(piece)
  }

  /** The oldest bytes, which are the caller's from now on; `undefined` when there are none. */
  shift(): Uint8Array | undefined {
    if (this.first === this.pieces.length) this.seal()
    const piece = this.pieces[this.first]
    if (piece === undefined) return undefined
    this.size -= piece.length
    this.first += 1
    if (this.first === this.pieces.length) {
      this.pieces = none
      this.first = 0
    } else if (this.first >= 32) {
      this.pieces.splice(0, this.first)
      this.first = 0
    }
    return piece
  }

  clear(): void {
    this.size = 0
    this.pieces = none
    this.first = 0
    this.pack = undefined
    this.packUsed = 0
  }
}
