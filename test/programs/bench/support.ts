import type { Report, Row } from "../../../src/programs/bench/Report.ts"

export const row = (name: string, ours: number, js: number, spread = 0): Row => ({
  name,
  unit: "MiB/s",
  better: "higher",
  ours: { median: ours, min: ours * (1 - spread), max: ours * (1 + spread) },
  peers: { js: { median: js, min: js, max: js } },
  ratios: { js: ours / js }
})

export const report = (...rows: ReadonlyArray<Row>): Report => ({
  machine: { cpu: "A <cpu> & more", cores: 2, memoryGiB: 8, system: "linux", loadBefore: 0.1, loadAfter: 0.2 },
  date: "2026-01-02",
  minutes: 1.5,
  versions: { node: "24.0.0" },
  effort: { rounds: 5, seconds: 1, warmupSeconds: 1, idle: 10, idleRounds: 1, limits: true },
  rows,
  skipped: { go: "go is not installed" },
  failures: []
})
