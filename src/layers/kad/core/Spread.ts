/** Choosing from several lists alike. */
import type * as Key from "./Key.ts"

/** Of each list in turn the next that was not chosen yet, until there are `count`. */
export const spread = <A extends { readonly key: Key.Key }>(
  lists: ReadonlyArray<ReadonlyArray<A>>,
  count: number
): ReadonlyArray<A> => {
  const chosen = new Map<string, A>()
  const left = lists.map((list) => list.values())
  for (let going = left.length; going > 0 && chosen.size < count;) {
    going = 0
    for (const list of left) {
      for (const one of list) {
        if (chosen.has(one.key.id)) continue
        chosen.set(one.key.id, one)
        going += 1
        break
      }
      if (chosen.size >= count) break
    }
  }
  return [...chosen.values()]
}
