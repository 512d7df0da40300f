/** Bytes that wait to be read, in the pieces they came in; small ones are joined. */

/** Pieces up to this size are joined while they wait. */
const small = 1024

export class Pieces {
  size = 0
  private pieces: Array<Uint8Array> = []
  private first = 0

  /** Takes over `bytes`. */
  put(bytes: Uint8Array): void {
    const tail = this.pieces.length - 1
    const last = tail >= this.first ? this.pieces[tail] : undefined
    if (last !== undefined && last.length + bytes.length <= small) {
      const joined = new Uint8Array(last.length + bytes.length)
      joined.set(last)
      joined.set(bytes, last.length)
      this.pieces[tail] = joined
    } else {
      this.pieces.push(bytes)
    }
    this.size += bytes.length
  }

  take(): Uint8Array | undefined {
    const piece = this.pieces[this.first]
    if (piece === undefined) return undefined
    this.size -= piece.length
    this.first++
    if (this.first === this.pieces.length) {
      this.pieces = []
      this.first = 0
    } else if (this.first >= 64) {
      this.pieces.splice(0, this.first)
      this.first = 0
    }
    return piece
  }

  /** Takes everything, in pieces of at most `most` bytes. */
  takeAll(most: number): Array<Uint8Array> {
    const all: Array<Uint8Array> = []
    const batch: Array<Uint8Array> = []
    let size = 0
    const close = (): void => {
      const [only] = batch
      if (only === undefined) return
      if (batch.length === 1) {
        all.push(only)
      } else {
        const joined = new Uint8Array(size)
        let at = 0
        for (const piece of batch) {
          joined.set(piece, at)
          at += piece.length
        }
        all.push(joined)
      }
      batch.length = 0
      size = 0
    }
    for (let piece = this.take(); piece !== undefined; piece = this.take()) {
      if (size + piece.length > most) close()
      batch.push(piece)
      size += piece.length
    }
    close()
    return all
  }

  drop(): void {
    this.pieces = []
    this.first = 0
    this.size = 0
  }
}
