/** What a run found, as it is written to a file and read again. */
import { readFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const Measured = Schema.Struct({ median: Schema.Finite, min: Schema.Finite, max: Schema.Finite })
const byName = <A, I>(value: Schema.Codec<A, I>) => Schema.Record(Schema.String, value)

/** One benchmark. A ratio is of the medians; above 1, ours is better. */
export const Row = Schema.Struct({
  name: Schema.String,
  unit: Schema.String,
  better: Schema.Literals(["higher", "lower"]),
  ours: Measured,
  peers: byName(Measured),
  ratios: byName(Schema.Finite),
  /** What the machine gives at the most, and the like, for context. */
  limits: Schema.optionalKey(byName(Measured))
})
export type Row = typeof Row.Type

export const Report = Schema.Struct({
  machine: Schema.Struct({
    cpu: Schema.String,
    cores: Schema.Finite,
    memoryGiB: Schema.Finite,
    system: Schema.String,
    loadBefore: Schema.Finite,
    loadAfter: Schema.Finite
  }),
  date: Schema.String,
  /** How long it took. */
  minutes: Schema.Finite,
  versions: byName(Schema.String),
  effort: Schema.Struct({
    rounds: Schema.Finite,
    seconds: Schema.Finite,
    warmupSeconds: Schema.Finite,
    idle: Schema.Finite,
    idleRounds: Schema.Finite,
    nodes: Schema.optional(Schema.Finite),
    limits: Schema.Boolean
  }),
  rows: Schema.Array(Row),
  /** Peers that were not measured, and why. */
  skipped: byName(Schema.String),
  failures: Schema.Array(Schema.String)
})
export type Report = typeof Report.Type

/** The file is not there, or is not a report. */
export class ReportError extends Schema.TaggedError<ReportError>()("ReportError", {
  file: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.file}: ${this.detail}. A report is made by: npm run bench -- --out ${this.file}`
  }
}

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Report))

export const read = (file: string): Effect.Effect<Report, ReportError> =>
  Effect.try({
    try: () => readFileSync(file, "utf8"),
    catch: () => new ReportError({ file, detail: "cannot be read" })
  }).pipe(
    Effect.flatMap((text) =>
      Effect.mapError(
        decode(text),
        (error) => new ReportError({ file, detail: `is not a report: ${error.message.split("\n")[0]}` })
      )
    )
  )
