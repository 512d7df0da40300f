/** Batches that were opened and wait for their reader, first in, first out. What feeds it bounds it: nothing more is opened before all were taken. */
export class Batches {
  private items: Array<Uint8Array> = []
  private first = 0

  get isEmpty(): boolean {
    return this.items.length === 0
  }

  push(batch: Uint8Array): void {
    this.items.push(batch)
  }

  take(): Uint8Array | undefined {
    const batch = this.items[this.first]
    if (batch === undefined) return undefined
    this.first += 1
    if (this.first === this.items.length) this.clear()
    return batch
  }

  clear(): void {
    this.items = []
    this.first = 0
  }
}
