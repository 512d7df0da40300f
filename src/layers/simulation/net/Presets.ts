/** Links and networks that are like some in the world. */
import type { Prng } from "../Prng.ts"
import type { SimHost } from "./Host.ts"
import type { LinkOptions } from "./Link.ts"

/** A wired local network. */
export const lan: LinkOptions = { latencyMs: { min: 0.1, mean: 0.3, max: 2 }, bitsPerSecond: 1_000_000_000 }
/** Two homes with fibre in different cities. */
export const wan: LinkOptions = {
  latencyMs: { min: 25, mean: 30, max: 120 },
  bitsPerSecond: 100_000_000,
  loss: 0.0005,
  reorder: 0.001
}
/** A phone on the move. */
export const mobile: LinkOptions = {
  latencyMs: { min: 40, mean: 80, max: 800 },
  bitsPerSecond: 12_000_000,
  loss: 0.01,
  reorder: 0.01,
  duplicate: 0.001,
  queueBytes: 512 * 1024
}

/**
 * The regions of the gossipsub interoperability scenario
 * (libp2p/test-plans, gossipsub-interop/network_graph.py).
 */
export const regions = [
  "australia",
  "europe",
  "east_asia",
  "west_asia",
  "na_east",
  "na_west",
  "south_africa",
  "south_america"
] as const
export type Region = (typeof regions)[number]

/** How many of the hosts are in each region. */
const weights: Readonly<Record<Region, number>> = {
  australia: 290,
  europe: 5599,
  east_asia: 1059,
  west_asia: 161,
  na_east: 2894,
  na_west: 1240,
  south_africa: 47,
  south_america: 36
}

/** Milliseconds, one way, to each region in the order of `regions`. */
const latencies: Readonly<Record<Region, ReadonlyArray<number>>> = {
  australia: [2, 165, 110, 180, 150, 110, 220, 190],
  europe: [165, 2, 125, 60, 70, 110, 95, 140],
  east_asia: [110, 125, 4, 110, 140, 100, 175, 175],
  west_asia: [180, 60, 110, 5, 110, 150, 110, 145],
  na_east: [150, 70, 140, 110, 2, 60, 130, 100],
  na_west: [110, 110, 100, 150, 60, 2, 160, 100],
  south_africa: [220, 95, 175, 110, 130, 160, 7, 190],
  south_america: [190, 140, 175, 145, 100, 100, 195, 7]
}

/** Milliseconds from one region to another, one way. */
export const latencyBetween = (from: Region, to: Region): number => latencies[from][regions.indexOf(to)] ?? 0

/** Where a host is and how fast it is connected. */
export interface Place {
  readonly region: Region
  /** One of the few that have a fast connection. */
  readonly supernode: boolean
  readonly upBitsPerSecond: number
  readonly downBitsPerSecond: number
}

/** Places for hosts, and the links between them. */
export interface Geography {
  /** Draws the place of the next host, and remembers it by the host's name. Give its rates to `addHost`. */
  readonly place: (name: string) => Place
  /** For `SimNetwork.setLinks`; hosts without a place are in Europe. */
  readonly links: (from: SimHost, to: SimHost) => LinkOptions
}

const geography = (random: Prng, supernodes: number, fast: number, slow: number, jitter: number): Geography => {
  const places = new Map<string, Place>()
  const total = regions.reduce((sum, region) => sum + weights[region], 0)
  const drawRegion = (): Region => {
    let left = random.below(total)
    for (const region of regions) {
      left -= weights[region]
      if (left < 0) return region
    }
    return "europe"
  }
  const cache = new Map<string, LinkOptions>()
  return {
    place: (name) => {
      const region = drawRegion()
      const supernode = random.chance(supernodes)
      const rate = supernode ? fast : slow
      const place = { region, supernode, upBitsPerSecond: rate, downBitsPerSecond: rate }
      places.set(name, place)
      return place
    },
    links: (from, to) => {
      const there = places.get(from.name)?.region ?? "europe"
      const here = places.get(to.name)?.region ?? "europe"
      const key = `${there} ${here}`
      const known = cache.get(key)
      if (known !== undefined) return known
      const min = latencyBetween(there, here)
      const link: LinkOptions = { latencyMs: jitter === 0 ? min : { min, mean: min * (1 + jitter), max: min * 3 } }
      cache.set(key, link)
      return link
    }
  }
}

/**
 * The network of the gossipsub interoperability scenario: 8 regions, a fifth
 * of the hosts at 1024 Mbit/s and the others at 50, latencies without jitter.
 *
 * ```
 * const world = Presets.ethereumLike(random)
 * network.setLinks(world.links)
 * const { upBitsPerSecond, downBitsPerSecond } = world.place("node1")
 * network.addHost({ name: "node1", addresses, schedule, upBitsPerSecond, downBitsPerSecond })
 * ```
 */
export const ethereumLike = (random: Prng): Geography => geography(random, 0.2, 1_024_000_000, 50_000_000, 0)

/** The same regions with some jitter, and a bandwidth of 100 Mbit/s for all. */
export const regional = (random: Prng): Geography => geography(random, 0, 100_000_000, 100_000_000, 0.1)
