/** The kept inputs of each target: those that once led to something new. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const directory = join(dirname(fileURLToPath(import.meta.url)), "corpus")

export const corpusOf = (target: string): ReadonlyArray<Uint8Array> => {
  const folder = join(directory, target)
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .toSorted()
    .map((name) => new Uint8Array(readFileSync(join(folder, name))))
}
