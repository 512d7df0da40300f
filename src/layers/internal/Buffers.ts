/**
 * Buffers of one size, used again and again. Memory outside the heap is what a
 * byte path costs most with: for every 64 MiB of it the whole heap is collected.
 * What is given back must not be referred to any more; what is not, is lost to
 * the collector, and does no harm.
 */
export class Buffers {
  readonly size: number
  private readonly keep: number
  private readonly free: Array<Uint8Array> = []

  /** At most `keep` of them wait for their next use. */
  constructor(size: number, keep: number) {
    this.size = size
    this.keep = keep
  }

  /** Its content has no meaning. */
  take(): Uint8Array {
    return this.free.pop() ?? new Uint8Array(this.size)
  }

  /** Takes a buffer back; one of another size is none of these. */
  give(buffer: Uint8Array): void {
    if (buffer.length === this.size && this.free.length < this.keep) this.free.push(buffer)
  }
}

/** From here up, memory is given back at once: below, that costs more than it spares. */
const largeBytes = 4096

/**
 * Gives the memory of bytes back at once, if they have it to themselves. What OpenSSL puts out is in memory of its own
 * each time, and waiting for the collector to find it costs as much as the cipher. Nobody may refer to it any more.
 */
export const release = ({ buffer, length }: Uint8Array): void => {
  if (length >= largeBytes && length === buffer.byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0)
}
