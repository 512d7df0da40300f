/**
 * Sets and maps that hold nothing while they are empty. A node has thousands of
 * connections, most of them idle, and most sets of an idle one are empty; an
 * empty `Set` or `Map` takes 150 bytes.
 */

const none: ReadonlySet<never> = new Set()

export class LazySet<A> implements Iterable<A> {
  private items: Set<A> | undefined

  get size(): number {
    return this.items?.size ?? 0
  }

  add(item: A): void {
    this.items ??= new Set()
    this.items.add(item)
  }

  /** True when it was there. */
  delete(item: A): boolean {
    const { items } = this
    if (items?.delete(item) !== true) return false
    if (items.size === 0) this.items = undefined
    return true
  }

  /** The one that was added first. */
  get first(): A | undefined {
    return this.items?.values().next().value
  }

  clear(): void {
    this.items = undefined
  }

  [Symbol.iterator](): Iterator<A> {
    return (this.items ?? none).values()
  }
}

export class LazyMap<K, V> {
  private entries: Map<K, V> | undefined

  get size(): number {
    return this.entries?.size ?? 0
  }

  get(key: K): V | undefined {
    return this.entries?.get(key)
  }

  set(key: K, value: V): void {
    this.entries ??= new Map()
    this.entries.set(key, value)
  }

  /** True when it was there. */
  delete(key: K): boolean {
    const { entries } = this
    if (entries?.delete(key) !== true) return false
    if (entries.size === 0) this.entries = undefined
    return true
  }

  /** The oldest first. */
  values(): Iterable<V> {
    return this.entries?.values() ?? none
  }
}
