#!/usr/bin/env node
// The js-libp2p side of the interoperability suite.
// The command line is described in ../README.md.

import "./node20.js"
import { readFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { generateKeyPair, generateKeyPairFromSeed } from "@libp2p/crypto/keys"
import { identify, identifyPush } from "@libp2p/identify"
import { mplex } from "@libp2p/mplex"
import { noise } from "@libp2p/noise"
import { ping } from "@libp2p/ping"
import { preSharedKey } from "@libp2p/pnet"
import { tcp } from "@libp2p/tcp"
import { tls } from "@libp2p/tls"
import { yamux } from "@libp2p/yamux"
import { createLibp2p } from "libp2p"
import { version } from "libp2p/version"
import { dial, tests } from "./dial.js"
import { runDht } from "./dht.js"
import { runLan } from "./lan.js"
import { serve } from "./serve.js"

const USAGE = `usage:
  peer listen --transport T --security S --muxer M --listen ADDR [--seed N] [--key-type K] [--psk FILE]
  peer dial --transport T --security S --muxer M --addr ADDR --test NAME [--bytes N] [--count N] [--psk FILE]
  peer dht --listen ADDR [--mode server|client]
  peer supports
  peer --version-info`

// js-libp2p has ECDSA keys, but no peer ids for them.
const KEY_TYPES = { ed25519: "Ed25519", secp256k1: "secp256k1", rsa: "RSA" }

// What `peer supports` prints; every combination works.
const SUPPORTS = {
  transports: ["tcp"],
  securities: ["noise", "tls"],
  muxers: ["yamux", "mplex"],
  keyTypes: Object.keys(KEY_TYPES)
}

const [command, ...args] = process.argv.slice(2)
switch (command) {
  case "listen":
    await listen(options(args)).catch((err) => fatal(err.message))
    break
  case "dial": {
    const opts = options(args)
    if (tests[opts.test] == null) {
      fatal(`unknown test "${opts.test}"`)
    }
    const state = {}
    const node = await createNode(opts, state)
    const result = await dial(node, state, opts)
    printJSON(result)
    process.exit(result.ok ? 0 : 1)
    break
  }
  case "dht":
    await runDht(args, printJSON).catch((err) => fatal(err.message))
    break
  case "lan":
    await runLan(args, printJSON).catch((err) => fatal(err.message))
    break
  case "supports":
    printJSON(SUPPORTS)
    break
  case "--version-info":
    printJSON({ stack: "js-libp2p", version })
    break
  default:
    fatal(USAGE)
}

function options(args) {
  const string = (value) => ({ type: "string", default: value })
  let values
  try {
    ;({ values } = parseArgs({
      args,
      options: {
        transport: string("tcp"),
        security: string("noise"),
        muxer: string("yamux"),
        "key-type": string("ed25519"),
        seed: string(undefined),
        listen: string("/ip4/127.0.0.1/tcp/0"),
        psk: string(undefined),
        addr: string(""),
        test: string(""),
        bytes: string("67108864"),
        count: string("1000")
      }
    }))
  } catch (err) {
    fatal(`${err.message}\n${USAGE}`)
  }
  const chosen = {
    transports: values.transport,
    securities: values.security,
    muxers: values.muxer,
    keyTypes: values["key-type"]
  }
  for (const [kind, value] of Object.entries(chosen)) {
    if (!SUPPORTS[kind].includes(value)) {
      fatal(`js-libp2p does not support "${value}" (${kind}: ${SUPPORTS[kind].join(", ")})`)
    }
  }
  if (values.seed != null && values["key-type"] !== "ed25519") {
    fatal("--seed needs --key-type ed25519")
  }
  return { ...values, keyType: values["key-type"], bytes: Number(values.bytes), count: Number(values.count) }
}

/**
 * Makes a node with exactly one transport, one security protocol and one
 * muxer, and with every limit of js-libp2p lifted. `state.earlyMuxer` will
 * tell how the muxer of the last dialled connection was chosen.
 */
async function createNode(opts, state, listen = []) {
  const security = { noise: noise(), tls: tls() }[opts.security]
  // streams that arrive before the muxer has a listener count as early
  const maxEarlyStreams = Infinity
  const muxer = {
    yamux: yamux({ maxInboundStreams: Infinity, maxOutboundStreams: Infinity, maxEarlyStreams }),
    // mplex counts every new stream against this rate, not only those past a limit
    mplex: mplex({ disconnectThreshold: Infinity, maxEarlyStreams })
  }[opts.muxer]
  const unlimitedStreams = { maxInboundStreams: Infinity, maxOutboundStreams: Infinity }

  const node = await createLibp2p({
    privateKey: await privateKey(opts),
    nodeInfo: { userAgent: "interop-js" },
    addresses: { listen },
    transports: [tcp()],
    ...(opts.psk == null ? {} : { connectionProtector: preSharedKey({ psk: readFileSync(opts.psk) }) }),
    connectionEncrypters: [(components) => watchEarlyMuxer(security(components), state)],
    streamMuxers: [muxer],
    connectionManager: {
      maxConnections: Infinity,
      inboundConnectionThreshold: Infinity,
      maxIncomingPendingConnections: Infinity
    },
    connectionMonitor: { enabled: false },
    services: {
      identify: identify(unlimitedStreams),
      identifyPush: identifyPush(unlimitedStreams),
      ping: ping(unlimitedStreams)
    }
  })
  await serve(node, unlimitedStreams)
  return node
}

/** Connections do not expose this, only the result of the handshake does. */
function watchEarlyMuxer(encrypter, state) {
  const secureOutbound = encrypter.secureOutbound.bind(encrypter)
  encrypter.secureOutbound = async (...args) => {
    const secured = await secureOutbound(...args)
    state.earlyMuxer = secured.streamMuxer != null
    return secured
  }
  return encrypter
}

async function privateKey(opts) {
  if (opts.seed != null) {
    const seed = Buffer.alloc(32)
    seed.writeBigUInt64LE(BigInt(opts.seed))
    return generateKeyPairFromSeed("Ed25519", seed)
  }
  return generateKeyPair(KEY_TYPES[opts.keyType])
}

async function listen(opts) {
  const node = await createNode(opts, {}, [opts.listen])
  printJSON({
    event: "listening",
    peer: node.peerId.toString(),
    addresses: node.getMultiaddrs().map(String)
  })

  const stop = () => process.exit(0)
  process.on("SIGTERM", stop)
  process.on("SIGINT", stop)
  process.stdin.on("end", stop).on("close", stop).resume()
}

function printJSON(value) {
  console.log(JSON.stringify(value))
}

function fatal(message) {
  console.error(message)
  process.exit(2)
}
