/** The bytes of a file, growing by doubling so that many small writes stay cheap. */
export class Content {
  size = 0
  private bytes = new Uint8Array(0)

  /** The bytes from `offset` on, at most `length`; lent until the next change. */
  view(offset: number, length: number): Uint8Array {
    return this.bytes.subarray(Math.min(offset, this.size), Math.min(offset + length, this.size))
  }

  /** A hole before `offset` reads as zeros. */
  write(offset: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return
    const end = offset + bytes.length
    this.reserve(end)
    this.bytes.set(bytes, offset)
    if (end > this.size) this.size = end
  }

  truncate(size: number): void {
    if (size > this.size) this.reserve(size)
    // What lies behind the end must read as zeros when the file grows again.
    else this.bytes.fill(0, size, this.size)
    this.size = size
  }

  copyOf(other: Content): void {
    this.size = other.size
    this.bytes = other.bytes.slice(0, other.size)
  }

  private reserve(size: number): void {
    if (size <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(size, 2 * this.bytes.length))
    grown.set(this.bytes)
    this.bytes = grown
  }
}
