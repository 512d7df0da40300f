/**
 * The numbers behind the metrics: plain cells, read by Effect's metric registry
 * when somebody takes a snapshot of it. An exporter of Effect, Prometheus or
 * OTLP, thus shows them together with the application's own.
 */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Definition } from "./Catalogue.ts"

/**
 * Series of one metric. No label is chosen by a remote, so this is never met in
 * practice; it is there so that a mistake costs a wrong label, not the memory.
 */
const maxSeries = 512

interface Cell {
  value: number
  readonly remove: () => void
  /** Histograms only. */
  readonly observe: (value: number) => void
}

const noop = () => {}

/** The sums of a histogram. Adding to it here costs a fifth of adding to Effect's own by way of its registry. */
class Totals {
  readonly #bounds: ReadonlyArray<number>
  /** How many were at most each bound, and more than the one before; the last is for the rest. */
  readonly #counts: Array<number>
  #count = 0
  #sum = 0
  #min = Number.MAX_VALUE
  #max = -Number.MAX_VALUE

  constructor(bounds: ReadonlyArray<number>) {
    this.#bounds = bounds
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0)
  }

  add(value: number): void {
    let at = 0
    while (at < this.#bounds.length && value > (this.#bounds[at] ?? 0)) at++
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
    this.#count++
    this.#sum += value
    if (value < this.#min) this.#min = value
    if (value > this.#max) this.#max = value
  }

  state(): Metric.HistogramState {
    let sofar = 0
    const buckets = this.#bounds.map((bound, index): [number, number] => [bound, (sofar += this.#counts[index] ?? 0)])
    return { buckets, count: this.#count, min: this.#min, max: this.#max, sum: this.#sum }
  }
}

export class Instruments {
  readonly #context: Context.Context<never>
  readonly #families = new Map<Definition, Map<string, Cell>>()

  /** `context` tells the registry, and attributes that every series gets. */
  constructor(context: Context.Context<never>) {
    this.#context = context
  }

  #attributes(definition: Definition, labels: ReadonlyArray<string>): Record<string, string> {
    return Object.fromEntries(definition.labels.map((name, index) => [name, labels[index] ?? ""]))
  }

  #make(definition: Definition, labels: ReadonlyArray<string>): Cell {
    const options = { description: definition.help, attributes: this.#attributes(definition, labels) }
    const { name } = definition
    const context = this.#context
    switch (definition.type) {
      case "histogram": {
        const totals = new Totals(definition.buckets)
        const metric = Metric.histogram(name, { ...options, boundaries: definition.buckets })
        const { remove } = Metric.registerUnsafe(metric, context, {
          get: () => totals.state(),
          update: noop,
          modify: noop
        })
        return { value: 0, remove, observe: (value) => totals.add(value) }
      }
      case "counter": {
        const { remove } = Metric.registerUnsafe(Metric.counter(name, { ...options, incremental: true }), context, {
          get: () => ({ count: cell.value, incremental: true }),
          update: noop,
          modify: noop
        })
        const cell: Cell = { value: 0, remove, observe: noop }
        return cell
      }
      case "gauge": {
        const { remove } = Metric.registerUnsafe(Metric.gauge(name, options), context, {
          get: () => ({ value: cell.value }),
          update: noop,
          modify: noop
        })
        const cell: Cell = { value: 0, remove, observe: noop }
        return cell
      }
    }
  }

  #cell(definition: Definition, labels: ReadonlyArray<string>): Cell {
    let family = this.#families.get(definition)
    if (family === undefined) {
      family = new Map()
      this.#families.set(definition, family)
    }
    const key = labels.join("\n")
    const found = family.get(key)
    if (found !== undefined) return found
    if (family.size >= maxSeries && labels.some((label) => label !== "other")) {
      return this.#cell(
        definition,
        labels.map(() => "other")
      )
    }
    const cell = this.#make(definition, labels)
    family.set(key, cell)
    return cell
  }

  /** Adds to a counter; by nothing, it shows from the start with the value 0. */
  add(definition: Definition, by = 1, labels: ReadonlyArray<string> = []): void {
    this.#cell(definition, labels).value += by
  }

  /** Sets a gauge, or a counter that is counted elsewhere. */
  set(definition: Definition, value: number, labels: ReadonlyArray<string> = []): void {
    this.#cell(definition, labels).value = value
  }

  /** Sets a counter to a sum of what may be told in part only: it never falls. */
  raise(definition: Definition, value: number, labels: ReadonlyArray<string> = []): void {
    const cell = this.#cell(definition, labels)
    cell.value = Math.max(cell.value, value)
  }

  /** Sets every series of a gauge to those given; the others go. */
  replace(definition: Definition, values: Iterable<readonly [labels: ReadonlyArray<string>, value: number]>): void {
    const gone = new Map(this.#families.get(definition))
    for (const [labels, value] of values) {
      this.set(definition, value, labels)
      gone.delete(labels.join("\n"))
    }
    for (const [key, cell] of gone) {
      cell.remove()
      this.#families.get(definition)?.delete(key)
    }
  }

  /** Adds to a histogram. */
  observe(definition: Definition, value: number, labels: ReadonlyArray<string> = []): void {
    this.#cell(definition, labels).observe(value)
  }

  /** Takes every series out of the registry. */
  removeAll(): void {
    for (const family of this.#families.values()) for (const cell of family.values()) cell.remove()
    this.#families.clear()
  }
}
