/** The commands that ask a network, and their flags. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { described, identity, load, optionalText, psk, under } from "./Under.ts"

export const provided = optionalText(
  "provided",
  "provided",
  "FILE",
  "Keep what is provided in this SQLite file, and go on announcing it when a node is started with it again; without it, that ends with the node"
)

export const bootstrap = Flag.String("bootstrap").pipe(
  Flag.withDescription(
    described(
      "Enter the network by this peer: a multiaddr that ends in /p2p/<peer id>, or public for the public IPFS network; may be given several times",
      "bootstrap"
    )
  ),
  Flag.withMetavar("ADDR"),
  Flag.atLeast(0)
)

const of = Flag.String("of").pipe(
  Flag.withDescription("Ask a running node, and not by --bootstrap: the address that it was given with --metrics"),
  Flag.withMetavar("URL"),
  Flag.optional
)

/** Of the commands that change something. */
const noOf =
  "There is no --of: what a running node serves over HTTP can be read by whoever reaches it, and so nobody may write by it."

const positive = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1, { message: "Expected a whole number above 0" }))

const quorum = (description: string) =>
  Flag.Int("quorum").pipe(
    Flag.withDescription(description),
    Flag.withMetavar("N"),
    Flag.withSchema(positive),
    Flag.optional
  )

const loadRouting = load(() => import("./RoutingCommand.ts"))
const loadRecords = load(() => import("./RecordCommand.ts"))
const given = (bootstrap: ReadonlyArray<string>, psk: Option.Option<string>) => ({
  bootstrap: bootstrap.length === 0 ? undefined : bootstrap,
  psk: Option.getOrUndefined(psk)
})

const exampleCid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
const cid = Argument.String("cid").pipe(Argument.withDescription("What names the content, such as bafkrei… or Qm…"))
const recordKey = Argument.String("key").pipe(
  Argument.withDescription(
    "A path such as /pk/0x0024…, the public key of a peer: the namespace first, of which this program knows pk; 0x… is hexadecimal, here of the peer id"
  )
)

export const find = Command.make(
  "find",
  {
    peer: Argument.String("peer").pipe(Argument.withDescription("A peer id, such as 12D3Koo… or Qm…")),
    bootstrap,
    psk,
    of
  },
  ({ bootstrap, of, peer, psk }) =>
    under(given(bootstrap, psk), (settings) =>
      Effect.flatMap(loadRouting, (routing) => routing.find(settings, peer, { of: Option.getOrUndefined(of) }))
    )
).pipe(
  Command.withDescription("Find where a peer can be reached, by asking the network"),
  Command.withExamples([
    {
      command: "effect-libp2p find 12D3Koo… --bootstrap /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…",
      description: "By way of a node"
    },
    {
      command: "effect-libp2p find 12D3Koo… --of http://127.0.0.1:9464",
      description: "By the node that was started with --metrics 9464"
    }
  ])
)

export const closest = Command.make(
  "closest",
  {
    key: Argument.String("key").pipe(Argument.withDescription("A peer id, a CID, or any text; not any text with --of")),
    bootstrap,
    psk,
    of
  },
  ({ bootstrap, key, of, psk }) =>
    under(given(bootstrap, psk), (settings) =>
      Effect.flatMap(loadRouting, (routing) => routing.closest(settings, key, { of: Option.getOrUndefined(of) }))
    )
).pipe(
  Command.withDescription("List the peers of the network that are closest to a key"),
  Command.withExamples([
    {
      command: `effect-libp2p closest ${exampleCid} --of 9464`,
      description: "Who would be told of this content, by the node that was started with --metrics 9464"
    }
  ])
)

export const providers = Command.make(
  "providers",
  {
    cid,
    count: Flag.Int("count").pipe(
      Flag.withAlias("c"),
      Flag.withDescription("Stop after so many"),
      Flag.withMetavar("N"),
      Flag.withSchema(positive),
      Flag.optional
    ),
    bootstrap,
    psk,
    of
  },
  ({ bootstrap, cid, count, of, psk }) =>
    under(given(bootstrap, psk), (settings) =>
      Effect.flatMap(loadRouting, (routing) =>
        routing.providers(settings, cid, { of: Option.getOrUndefined(of), count: Option.getOrUndefined(count) })
      )
    )
).pipe(
  Command.withDescription("List who has the content of a CID; exit code 1 if nobody is found"),
  Command.withExamples([
    {
      command: `effect-libp2p providers ${exampleCid} --of 9464`,
      description: "By the node that was started with --metrics 9464"
    }
  ])
)

export const provide = Command.make(
  "provide",
  {
    cids: Argument.String("cid").pipe(
      Argument.withDescription("What names the content; several may be given"),
      Argument.atLeast(1)
    ),
    listen: Flag.String("listen").pipe(
      Flag.withDescription(
        described("Listen on this multiaddr; may be given several times. Any free port without it", "listen")
      ),
      Flag.withMetavar("ADDR"),
      Flag.atLeast(0)
    ),
    optimistic: Flag.Boolean("optimistic-provide").pipe(
      Flag.withDescription(
        described(
          "Tell peers while they are looked for, and be done when most were told, once the network's size is known",
          "optimisticProvide"
        )
      ),
      Flag.optional
    ),
    identity,
    provided,
    bootstrap,
    psk
  },
  ({ bootstrap, cids, identity, listen, optimistic, provided, psk }) =>
    under(
      {
        ...given(bootstrap, psk),
        identity: Option.getOrUndefined(identity),
        provided: Option.getOrUndefined(provided),
        listen: listen.length === 0 ? undefined : listen,
        optimisticProvide: Option.getOrUndefined(optimistic)
      },
      (settings) => Effect.flatMap(loadRouting, (routing) => routing.provide(settings, cids))
    )
).pipe(
  Command.withDescription(
    `Announce that a node here has the content of these CIDs, and run it until it is stopped. It enters by --bootstrap, as all commands that ask a network do, and does not look for others on the local network as "node" does. ${noOf}`
  ),
  Command.withShortDescription("Announce content, and run a node that has it"),
  Command.withExamples([
    {
      command: `effect-libp2p provide ${exampleCid} --bootstrap /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…`,
      description: "As a peer of this user; with --provided FILE always as the same"
    }
  ])
)

export const put = Command.make(
  "put",
  {
    key: recordKey,
    value: Argument.String("value").pipe(Argument.withDescription("Text, or - for stdin")),
    quorum: quorum("How many peers must have taken it; one without it"),
    bootstrap,
    psk
  },
  ({ bootstrap, key, psk, quorum, value }) =>
    under(given(bootstrap, psk), (settings) =>
      Effect.flatMap(loadRecords, (records) => records.put(settings, key, value, Option.getOrUndefined(quorum)))
    )
).pipe(
  Command.withDescription(`Store a record in the network. ${noOf}`),
  Command.withShortDescription("Store a record in the network"),
  Command.withExamples([
    {
      command: "effect-libp2p key show --json | jq -r .publicKey | base64 -d > me.pub",
      description:
        "The record of this user's node: its public key, which for an Ed25519 key is in its peer id, after 0024"
    },
    {
      command:
        "effect-libp2p put /pk/0x0024$(xxd -p -c 36 me.pub) - --bootstrap /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo… < me.pub",
      description: "Store it"
    }
  ])
)

export const get = Command.make(
  "get",
  {
    key: recordKey,
    quorum: quorum("Take the best once so many peers have answered with a valid one; all are asked without it"),
    bootstrap,
    psk
  },
  ({ bootstrap, key, psk, quorum }) =>
    under(given(bootstrap, psk), (settings) =>
      Effect.flatMap(loadRecords, (records) => records.get(settings, key, Option.getOrUndefined(quorum)))
    )
).pipe(Command.withDescription("Get the best record of a key; its bytes as they are when stdout is no terminal"))

const loadDht = load(() => import("./DhtCommand.ts"))

export const dht = Command.make("dht", { bootstrap, psk, of }, ({ bootstrap, of, psk }) =>
  under(given(bootstrap, psk), (settings) =>
    Effect.flatMap(loadDht, (dht) => dht.dht(settings, Option.getOrUndefined(of)))
  )
).pipe(
  Command.withDescription(
    "Draw the routing table of a running node, or of one that is made for this, bucket by bucket"
  ),
  Command.withShortDescription("Draw the routing table of a node"),
  Command.withExamples([
    { command: "effect-libp2p dht --of 9464", description: "Of the node that was started with --metrics 9464" }
  ])
)

export const crawl = Command.make(
  "crawl",
  {
    max: Flag.Int("max").pipe(
      Flag.withDescription("Visit at most so many peers; 100000 without it"),
      Flag.withMetavar("N"),
      Flag.withSchema(positive),
      Flag.optional
    ),
    bootstrap,
    psk
  },
  ({ bootstrap, max, psk }) =>
    under(given(bootstrap, psk), (settings) =>
      Effect.flatMap(loadDht, (dht) => dht.crawl(settings, Option.getOrUndefined(max)))
    )
).pipe(Command.withDescription("Visit everyone in the network, and tell of each who answers and whom it knows"))
