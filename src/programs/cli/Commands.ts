/**
 * The commands and their flags. What a command does is loaded when it runs, so
 * that `--help` and `key` do not wait for a network stack.
 */
import { Duration, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag, GlobalFlag } from "effect/cli"
import { report } from "./Failure.ts"
import { layer as layerOutput, layerLog } from "./Output.ts"
import { DurationText, type Flags, resolve, type Settings, variable } from "./Settings.ts"

const described = (text: string, setting: string) => `${text} [${variable(setting)}]`

// ---- flags of every command

const Json = GlobalFlag.Setting("json")({
  flag: Flag.Boolean("json").pipe(
    Flag.withDescription(described("One JSON object a line on stdout, and nothing else there", "json")),
    Flag.optional
  )
})
const Verbose = GlobalFlag.Setting("verbose")({
  flag: Flag.Boolean("verbose").pipe(
    Flag.withDescription(described("Tell the causes of errors, and what happens inside, on stderr", "verbose")),
    Flag.optional
  )
})
const Config = GlobalFlag.Setting("config")({
  flag: Flag.String("config").pipe(
    Flag.withDescription(described("Read settings from this JSON file", "config")),
    Flag.withMetavar("FILE"),
    Flag.optional
  )
})
const globalFlags = [Json, Verbose, Config] as const

/** True if the command line or the environment asks for causes; for errors before there are settings. */
export const asksVerbose = (args: ReadonlyArray<string>, env: Readonly<Record<string, string | undefined>>): boolean =>
  args.includes("--verbose") || ["1", "true", "yes"].includes((env[variable("verbose")] ?? "").toLowerCase())

/** Settles the settings, runs the command under them, and tells its failure. */
const under = <E, R>(flags: Flags, body: (settings: Settings) => Effect.Effect<void, E, R>) =>
  Effect.gen(function* () {
    const config = Option.getOrUndefined(yield* Config)
    const json = Option.getOrUndefined(yield* Json)
    const verbose = Option.getOrUndefined(yield* Verbose)
    const settings = yield* report(resolve({ ...flags, config, json, verbose }), verbose === true)
    yield* report(body(settings), settings.verbose).pipe(
      Effect.provide([layerOutput(settings.json), layerLog(settings.verbose)])
    )
  })

/** A module that is loaded now. */
const load = <M>(module: () => Promise<M>): Effect.Effect<M> => Effect.promise(module)

const timeout = Flag.String("timeout").pipe(
  Flag.withDescription(described("How long to wait for an address to answer; 10s without it", "timeout")),
  Flag.withMetavar("TIME"),
  Flag.optional
)
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
    identity: Flag.String("identity").pipe(
      Flag.withDescription(described("The file of the node's key; made if it is not there", "identity")),
      Flag.withMetavar("FILE"),
      Flag.optional
    ),
    agent: Flag.String("agent").pipe(
      Flag.withDescription(described("How the node names itself to others", "agent")),
      Flag.withMetavar("NAME"),
      Flag.optional
    ),
    timeout
  },
  (flags) =>
    under(
      {
        listen: flags.listen.length === 0 ? undefined : flags.listen,
        identity: Option.getOrUndefined(flags.identity),
        agent: Option.getOrUndefined(flags.agent),
        timeout: Option.getOrUndefined(flags.timeout)
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
    { command: "effect-libp2p node --listen /ip4/0.0.0.0/tcp/4001 --json", description: "On port 4001, for a script" }
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
    timeout
  },
  ({ address, count, interval, timeout }) =>
    under({ timeout: Option.getOrUndefined(timeout) }, (settings) =>
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

const identify = Command.make("identify", { address, timeout }, ({ address, timeout }) =>
  under({ timeout: Option.getOrUndefined(timeout) }, (settings) =>
    Effect.flatMap(
      load(() => import("./IdentifyCommand.ts")),
      ({ run }) => run(settings, address)
    )
  )
).pipe(Command.withDescription("Show all that a node says of itself"))

// ---- key

const loadKey = load(() => import("./KeyCommand.ts"))
const outFlag = Flag.String("out").pipe(Flag.withMetavar("FILE"))
const out = outFlag.pipe(
  Flag.withDescription("Write the key to this file; without it, to that of this user's node"),
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
  Command.withDescription("Make, show, import and export the keys that peers are named after"),
  Command.withSubcommands([generate, show, importKey, exportKey])
)

// ---- sim

const loadSim = load(() => import("../sim/Command.ts"))

const simShow = Command.make(
  "show",
  {
    file: Argument.String("trace").pipe(Argument.withDescription("A trace file that a run left")),
    node: Flag.String("node").pipe(
      Flag.withDescription("Only what happened at this node, and the faults"),
      Flag.optional
    ),
    peer: Flag.String("peer").pipe(Flag.withDescription("Only what names this node, peer or address"), Flag.optional),
    protocol: Flag.String("protocol").pipe(
      Flag.withDescription("Only events of this kind or protocol, such as fault, net or echo"),
      Flag.optional
    ),
    from: Flag.String("from").pipe(
      Flag.withSchema(DurationText),
      Flag.withMetavar("TIME"),
      Flag.withDescription("From this virtual time, such as 90s"),
      Flag.optional
    ),
    to: Flag.String("to").pipe(
      Flag.withSchema(DurationText),
      Flag.withMetavar("TIME"),
      Flag.withDescription("Up to this virtual time"),
      Flag.optional
    )
  },
  ({ file, from, node, peer, protocol, to }) =>
    under({}, () =>
      Effect.flatMap(loadSim, (sim) =>
        sim.show(file, {
          node: Option.getOrUndefined(node),
          peer: Option.getOrUndefined(peer),
          protocol: Option.getOrUndefined(protocol),
          fromMs: Option.match(from, { onNone: () => 0, onSome: Duration.toMillis }),
          toMs: Option.match(to, { onNone: () => Number.POSITIVE_INFINITY, onSome: Duration.toMillis })
        })
      )
    )
).pipe(Command.withDescription("Print the trace of a run for people"))

const simDiff = Command.make(
  "diff",
  {
    left: Argument.String("trace").pipe(Argument.withDescription("A trace file")),
    right: Argument.String("other").pipe(Argument.withDescription("Another"))
  },
  ({ left, right }) => under({}, () => Effect.flatMap(loadSim, (sim) => sim.diff(left, right)))
).pipe(Command.withDescription("Say where two traces part; exit code 1 if they do"))

const sim = Command.make(
  "sim",
  {
    scenario: Flag.String("scenario").pipe(
      Flag.withDescription("chat, upgrade, restart, slow or storm"),
      Flag.withDefault("chat")
    ),
    nodes: Flag.Int("nodes").pipe(
      Flag.withDescription("How many nodes; each scenario has its own default"),
      Flag.withMetavar("N"),
      Flag.optional
    ),
    seed: Flag.Int("seed").pipe(
      Flag.withDescription("Everything random follows from it; 1 without it"),
      Flag.withMetavar("N"),
      Flag.withDefault(1)
    ),
    seeds: Flag.String("seeds").pipe(
      Flag.withDescription("Run these seeds on all cores, such as 1..500"),
      Flag.withMetavar("A..B"),
      Flag.optional
    ),
    for: Flag.String("for").pipe(
      Flag.withSchema(DurationText),
      Flag.withDescription("Virtual time, such as 1h"),
      Flag.withMetavar("TIME"),
      Flag.optional
    ),
    shuffle: Flag.Boolean("shuffle").pipe(
      Flag.withDescription("Explore interleavings: run what can run in an order drawn from the seed"),
      Flag.withDefault(false)
    ),
    checkDeterminism: Flag.Boolean("check-determinism").pipe(
      Flag.withDescription("Run each seed twice and compare the traces"),
      Flag.withDefault(false)
    ),
    faults: Flag.String("faults").pipe(
      Flag.withDescription("Only these faults of the schedule, by number, or none"),
      Flag.withMetavar("I,J"),
      Flag.optional
    ),
    trace: Flag.Boolean("trace").pipe(
      Flag.withDescription("Write the trace even if the run succeeds"),
      Flag.withDefault(false)
    ),
    traces: Flag.String("traces").pipe(
      Flag.withDescription("The folder for traces; reports/traces without it"),
      Flag.withMetavar("DIR"),
      Flag.withDefault("reports/traces")
    )
  },
  (flags) =>
    under({}, (settings) =>
      Effect.flatMap(loadSim, (sim) =>
        sim.run({
          ...flags,
          json: settings.json,
          nodes: Option.getOrUndefined(flags.nodes),
          seeds: Option.getOrUndefined(flags.seeds),
          durationMs: Option.getOrUndefined(Option.map(flags.for, Duration.toMillis)),
          faults: Option.getOrUndefined(flags.faults)
        })
      )
    )
).pipe(
  Command.withDescription(
    "Run a network of nodes in virtual time, under faults, from a seed. A failing run leaves a trace, and the line that repeats it."
  ),
  Command.withShortDescription("Run whole networks in virtual time"),
  Command.withExamples([
    { command: "effect-libp2p sim --scenario storm --nodes 50 --seed 7 --for 1h", description: "One run" },
    { command: "effect-libp2p sim --scenario storm --seeds 1..500", description: "Many, on all cores" }
  ]),
  Command.withSubcommands([simShow, simDiff])
)

export const root = Command.make("effect-libp2p").pipe(
  Command.withDescription("A libp2p node, and what it takes to look after one"),
  Command.withSubcommands([node, ping, identify, key, sim]),
  Command.withGlobalFlags(globalFlags)
)
