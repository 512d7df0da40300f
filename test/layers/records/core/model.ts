/** What a store of records does, said as simply as possible: a list that is searched from end to end. */
import * as Bytes from "../../../../src/data/Bytes.ts"
import type { QuotaBounds } from "../../../../src/services/RecordStore.ts"
import type { RecordValidator } from "../../../../src/services/RecordValidators.ts"

export interface Held {
  readonly key: string
  readonly value: string
  readonly expiresAt: number
}

/** Values are `<rank>` or `<rank>@<time until which it is valid>`; of equal ranks the one of more text is better. */
export const rules: RecordValidator = {
  validate: (_key, value, nowMs) => {
    const [rank, until] = Bytes.toUtf8(value).split("@")
    if (rank === undefined || !/^\d+$/.test(rank)) return "no rank"
    return until !== undefined && nowMs >= Number(until) ? "over" : undefined
  },
  select: (_key, values) => {
    const texts = values.map(Bytes.toUtf8)
    const [best] = texts.toSorted(better)
    return texts.indexOf(best ?? "")
  }
}

const better = (a: string, b: string): number => Number.parseInt(b) - Number.parseInt(a) || (a < b ? 1 : -1)

export class Model {
  held: ReadonlyArray<Held> = []
  now = 0

  readonly quota: QuotaBounds

  constructor(quota: QuotaBounds) {
    this.quota = quota
  }

  #valid(value: string): boolean {
    return rules.validate(new Uint8Array(), Bytes.fromUtf8(value), this.now) === undefined
  }

  get(key: string): Held | undefined {
    return this.list("").find((one) => one.key === key)
  }

  list(prefix: string): ReadonlyArray<Held> {
    return this.held
      .filter(({ expiresAt, key, value }) => key.startsWith(prefix) && this.now < expiresAt && this.#valid(value))
      .toSorted((a, b) => (a.key < b.key ? -1 : 1))
  }

  put(key: string, value: string, ttl: number): string {
    if (key.length > this.quota.keyBytes) return "key bytes"
    if (value.length > this.quota.valueBytes) return "value bytes"
    if (!this.#valid(value)) return "RecordInvalid"
    const old = this.get(key)
    if (old !== undefined && old.value !== value && better(value, old.value) > 0) return "RecordOutdated"
    const rest = this.held.filter((one) => one.key !== key && this.now < one.expiresAt)
    const unexpired = this.held.find((one) => one.key === key && this.now < one.expiresAt)
    const bytes = (of: ReadonlyArray<Held>) => of.reduce((sum, one) => sum + one.key.length + one.value.length, 0)
    if (unexpired === undefined && rest.length >= this.quota.records) return "records"
    const grows = unexpired === undefined || value.length > unexpired.value.length
    if (grows && bytes(rest) + key.length + value.length > this.quota.bytes) return "bytes"
    const expiresAt = this.now + ttl
    this.held =
      old?.value === value
        ? [...rest, { key, value, expiresAt: Math.max(expiresAt, old.expiresAt) }]
        : ttl > 0
          ? [...rest, { key, value, expiresAt }]
          : rest
    return "ok"
  }

  delete(key: string): void {
    this.held = this.held.filter((one) => one.key !== key)
  }
}
