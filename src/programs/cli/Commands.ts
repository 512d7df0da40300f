/**
 * The commands and their flags. What a command does is loaded when it runs, so
 * that `--help` and `key` do not wait for a network stack.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Record from "effect/Record"
import * as Schema from "effect/Schema"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { bootstrap, closest, crawl, dht, find, get, provide, provided, providers, put } from "./NetworkCommands.ts"
import { sim } from "./SimCommands.ts"
import { described, globalFlags, identity, load, optionalText, psk, under } from "./Under.ts"
import { DurationText } from "./Values.ts"

const timeout = Flag.String("timeout").pipe(
  Flag.withDescription(described("How long to wait for an address to answer; 10s without it", "timeout")),
  Flag.withMetavar("TIME"),
  Flag.optional
)
const security = optionalText(
  "security",
  "security",
  "LIST",
  "How connections are secured, the preferred way first: noise, tls, plaintext (for tests only); noise,tls without it"
)
const muxers = optionalText(
  "muxers",
  "muxers",
  "LIST",
  "How connections are multiplexed, the preferred way first: yamux, mplex; yamux without it"
).pipe(Flag.withAlias("muxer"))
const limitsFile = optionalText(
  "limits",
  "limits",
  "FILE",
  'Limits to change, as a JSON file such as {"system": {"connections": 500}}; those of the machine without it'
)
const serviceFlag = (text: string) => optionalText("service", "service", "NAME", text)
const address = Argument.String("address").pipe(
  Argument.withDescription("A multiaddr, such as /ip4/192.0.2.1/tcp/4001, with or without /p2p/<peer id>")
)

// ---- node

const node = Command.make(
  "node",
  {
    listen: Flag.String("listen").pipe(
      Flag.withDescription(
        described("Listen on this multiaddr; may be given several times. Any free port without it", "listen")
      ),
      Flag.withMetavar("ADDR"),
      Flag.atLeast(0)
    ),
    identity,
    agent: Flag.String("agent").pipe(
      Flag.withDescription(described("How the node names itself to others", "agent")),
      Flag.withMetavar("NAME"),
      Flag.optional
    ),
    psk,
    security,
    muxers,
    limits: limitsFile,
    connections: optionalText(
      "connections",
      "connections",
      "LOW..HIGH",
      "Above HIGH connections, close those worth least until LOW are left; half to five eighths of the limit without it"
    ),
    deny: optionalText(
      "deny",
      "deny",
      "LIST",
      "Have no connection with these peer ids, addresses and networks, such as 203.0.113.0/24"
    ),
    allow: optionalText(
      "allow",
      "allow",
      "LIST",
      "Allow these addresses and networks although a larger network is denied"
    ),
    peerStore: optionalText(
      "peer-store",
      "peerStore",
      "FILE",
      "Keep what is known of peers in this SQLite file; without it, in memory, until the node stops"
    ),
    provided,
    dht: Flag.Literals("dht", ["auto", "server", "client", "off"]).pipe(
      Flag.withDescription(
        described(
          "Part in the DHTs: a server answers others, a client only asks; auto without it: a server once others can reach this node",
          "dht"
        )
      ),
      Flag.optional
    ),
    lan: optionalText(
      "lan",
      "lan",
      "ON",
      "on: find other nodes on the local network, be found by them, and connect; off: neither; on without it. In a private network only its nodes can read what is said; there, both says it in the clear, too"
    ),
    service: serviceFlag("Find only nodes of this service on the local network; all that name none without it"),
    bootstrap,
    metrics: optionalText(
      "metrics",
      "metrics",
      "ADDR",
      "Serve /metrics for Prometheus, /limits and /health on this address, such as 0.0.0.0:9464, and answer the commands that are given it with --of; a port alone is for this machine only"
    ),
    otlp: optionalText(
      "otlp",
      "otlp",
      "URL",
      "Send metrics and spans to this OTLP collector, such as http://127.0.0.1:4318"
    ),
    timeout
  },
  ({ bootstrap, listen, ...flags }) =>
    under(
      {
        listen: listen.length === 0 ? undefined : listen,
        bootstrap: bootstrap.length === 0 ? undefined : bootstrap,
        ...Record.map(flags, Option.getOrUndefined)
      },
      (settings) =>
        Effect.flatMap(
          load(() => import("./NodeCommand.ts")),
          ({ run }) => run(settings)
        )
    )
).pipe(
  Command.withDescription(
    "Start a node and say what happens to it, until it is stopped. Ctrl-C (SIGINT) and SIGTERM stop it in order, with exit code 0; SIGUSR2 prints its actors to stderr."
  ),
  Command.withShortDescription("Start a node"),
  Command.withExamples([
    { command: "effect-libp2p node", description: "On a free port, as the peer of this user" },
    { command: "effect-libp2p node --listen /ip4/0.0.0.0/tcp/4001 --json", description: "On port 4001, for a script" },
    { command: "effect-libp2p node --metrics 9464", description: "With metrics at http://127.0.0.1:9464/metrics" },
    {
      command: "effect-libp2p node --service chat",
      description: "With those of this service on the local network only"
    }
  ])
)

// ---- ping and identify

const ping = Command.make(
  "ping",
  {
    address,
    count: Flag.Int("count").pipe(
      Flag.withAlias("c"),
      Flag.withDescription("Stop after so many pings; without it, when you press Ctrl-C"),
      Flag.withMetavar("N"),
      Flag.withSchema(
        Schema.Int.check(Schema.isGreaterThanOrEqualTo(1, { message: "Expected a whole number above 0" }))
      ),
      Flag.optional
    ),
    interval: Flag.String("interval").pipe(
      Flag.withAlias("i"),
      Flag.withDescription("Wait so long after each ping; 1s without it"),
      Flag.withMetavar("TIME"),
      Flag.withSchema(DurationText),
      Flag.withDefault(Duration.seconds(1))
    ),
    psk,
    security,
    muxers,
    timeout
  },
  ({ address, count, interval, ...flags }) =>
    under(Record.map(flags, Option.getOrUndefined), (settings) =>
      Effect.flatMap(
        load(() => import("./PingCommand.ts")),
        ({ run }) => run(settings, { address, count: Option.getOrUndefined(count), interval })
      )
    )
).pipe(
  Command.withDescription(
    "Measure the round trip to a node. Ctrl-C ends it with a summary, and exit code 0 if the node answered."
  ),
  Command.withShortDescription("Measure the round trip to a node"),
  Command.withExamples([{ command: "effect-libp2p ping --count 4 /ip4/192.0.2.1/tcp/4001", description: "Four pings" }])
)

const identify = Command.make("identify", { address, psk, security, muxers, timeout }, ({ address, ...flags }) =>
  under(Record.map(flags, Option.getOrUndefined), (settings) =>
    Effect.flatMap(
      load(() => import("./IdentifyCommand.ts")),
      ({ run }) => run(settings, address)
    )
  )
).pipe(Command.withDescription("Show all that a node says of itself"))

// ---- lan

const lan = Command.make(
  "lan",
  {
    service: serviceFlag("Show only nodes of this service; all without it"),
    psk: psk.pipe(
      Flag.withDescription(
        described("Show the nodes of the private network whose key is in this file, and no others", "psk")
      )
    ),
    once: Flag.Boolean("once").pipe(Flag.withDescription("Show it once, and end"), Flag.withDefault(false)),
    wait: Flag.String("wait").pipe(
      Flag.withDescription("With --once: listen for so long before; 3s without it"),
      Flag.withMetavar("TIME"),
      Flag.withSchema(DurationText),
      Flag.withDefault(Duration.seconds(3))
    )
  },
  ({ once, psk, service, wait }) =>
    under({ psk: Option.getOrUndefined(psk), service: Option.getOrUndefined(service) }, (settings) =>
      Effect.flatMap(
        load(() => import("./LanCommand.ts")),
        ({ run }) => run(settings, { once, wait })
      )
    )
).pipe(
  Command.withDescription(
    "Show who is on the local network: peers, their addresses and services, and when they were heard last. It is hearsay until somebody connects. This command is not seen itself. Ctrl-C ends it, with exit code 0."
  ),
  Command.withShortDescription("Show who is on the local network"),
  Command.withExamples([
    { command: "effect-libp2p lan", description: "A table that follows what happens" },
    { command: "effect-libp2p lan --once --json", description: "One line a peer, for a script" },
    { command: "effect-libp2p lan --service chat", description: "Nodes that were started with --service chat" }
  ])
)

// ---- limits

const limits = Command.make(
  "limits",
  {
    limits: limitsFile,
    of: Flag.String("of").pipe(
      Flag.withDescription("Show the use of a running node: the address that it was given with --metrics"),
      Flag.withMetavar("URL"),
      Flag.optional
    ),
    timeout
  },
  ({ of, ...flags }) =>
    under(Record.map(flags, Option.getOrUndefined), (settings) =>
      Effect.flatMap(
        load(() => import("./LimitsCommand.ts")),
        ({ run }) => run(settings, Option.getOrUndefined(of))
      )
    )
).pipe(
  Command.withDescription(
    "Show every limit that a node would have on this machine with these settings; or, with --of, the limits of a running node and how much of them is in use. docs/limits.md says what each is for."
  ),
  Command.withShortDescription("Show the limits of a node and their use"),
  Command.withExamples([
    { command: "effect-libp2p limits", description: "Of a node on this machine" },
    {
      command: "effect-libp2p limits --of http://127.0.0.1:9464",
      description: "Of the node that was started with --metrics 9464"
    }
  ])
)

// ---- key

const loadKey = load(() => import("./KeyCommand.ts"))
const outFlag = Flag.String("out").pipe(Flag.withMetavar("FILE"))
const out = outFlag.pipe(
  Flag.withDescription("Write the key to this file; without it, to that of this user's node"),
  Flag.optional
)
const outOfPsk = outFlag.pipe(
  Flag.withDescription("Write the key to this file; without it, to swarm.key beside the key of this user's node"),
  Flag.optional
)
const force = Flag.Boolean("force").pipe(
  Flag.withDescription("Overwrite a file that is there"),
  Flag.withDefault(false)
)
const file = Argument.String("file").pipe(
  Argument.withDescription("A key file; that of this user's node without it"),
  Argument.optional
)

const generate = Command.make(
  "generate",
  {
    type: Flag.Literals("type", ["ed25519", "secp256k1", "ecdsa", "rsa"]).pipe(
      Flag.withDescription("The type of the key; ed25519 without it"),
      Flag.withDefault("ed25519")
    ),
    bits: Flag.Int("bits").pipe(
      Flag.withDescription("The size of an RSA key, 2048 to 8192; 2048 without it"),
      Flag.withMetavar("N"),
      Flag.optional
    ),
    out,
    force
  },
  ({ bits, force, out, type }) =>
    under({}, (settings) =>
      Effect.flatMap(loadKey, (key) =>
        key.generate({
          type,
          bits: Option.getOrUndefined(bits),
          out: Option.getOrElse(out, () => settings.identity),
          force
        })
      )
    )
).pipe(Command.withDescription("Make a key and write it to a file that only this user may read"))

const show = Command.make("show", { file }, ({ file }) =>
  under({}, (settings) => Effect.flatMap(loadKey, (key) => key.show(Option.getOrElse(file, () => settings.identity))))
).pipe(Command.withDescription("Show the peer id, type and public half of a key; never its private half"))

const makePsk = Command.make("psk", { out: outOfPsk }, ({ out }) =>
  under({}, (settings) => Effect.flatMap(loadKey, (key) => key.makePsk(settings, Option.getOrUndefined(out))))
).pipe(
  Command.withDescription(
    "Make the key of a private network, and write it to a file that only this user may read: the form of swarm.key, as go-libp2p, js-libp2p and Kubo have it. Copy it to each node of the network. A file that is there is never overwritten."
  ),
  Command.withShortDescription("Make the key of a private network"),
  Command.withExamples([
    {
      command: "effect-libp2p key psk --out swarm.key",
      description: "A new network; its nodes are started with --psk swarm.key"
    }
  ])
)

const importKey = Command.make(
  "import",
  {
    from: Argument.String("file").pipe(
      Argument.withDescription("The libp2p protobuf of a private key, that in base64, or PEM; - for stdin")
    ),
    out,
    force
  },
  ({ force, from, out }) =>
    under({}, (settings) =>
      Effect.flatMap(loadKey, (key) =>
        key.importKey({ from, out: Option.getOrElse(out, () => settings.identity), force })
      )
    )
).pipe(Command.withDescription("Bring in a key of another program, such as Kubo or OpenSSL"))

const exportKey = Command.make(
  "export",
  {
    file,
    format: Flag.Literals("format", ["protobuf", "base64", "pem"]).pipe(
      Flag.withDescription(
        "protobuf as libp2p programs keep it, the same in base64, or PEM (PKCS#8); base64 without it"
      ),
      Flag.withDefault("base64")
    ),
    out: outFlag.pipe(Flag.withDescription("Write the key to this file; without it, to stdout"), Flag.optional),
    force
  },
  ({ file, force, format, out }) =>
    under({}, (settings) =>
      Effect.flatMap(loadKey, (key) =>
        key.exportKey({
          from: Option.getOrElse(file, () => settings.identity),
          format,
          out: Option.getOrUndefined(out),
          force
        })
      )
    )
).pipe(Command.withDescription("Write out a private key, for another program. Who has it can be this peer."))

const key = Command.make("key").pipe(
  Command.withDescription(
    "Make, show, import and export the keys that peers are named after; make those that private networks share"
  ),
  Command.withSubcommands([generate, show, importKey, exportKey, makePsk])
)

export const root = Command.make("effect-libp2p").pipe(
  Command.withDescription("A libp2p node, and what it takes to look after one"),
  Command.withSubcommands([
    node,
    ping,
    identify,
    find,
    closest,
    provide,
    providers,
    put,
    get,
    dht,
    crawl,
    lan,
    limits,
    key,
    sim
  ]),
  Command.withGlobalFlags(globalFlags)
)
