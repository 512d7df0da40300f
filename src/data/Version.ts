/** The name and version of this package, as it tells peers; a test holds them against package.json. */
export const name = "effect-libp2p"
export const version = "0.1.0"
