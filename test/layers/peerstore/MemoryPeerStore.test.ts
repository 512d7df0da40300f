import { Effect } from "effect"
import * as NodeCrypto from "../../../src/layers/crypto/NodeCrypto.ts"
import * as MemoryPeerStore from "../../../src/layers/peerstore/MemoryPeerStore.ts"
import { peerStoreSuite, smallBounds } from "../../../src/conformance/PeerStore.ts"

peerStoreSuite("memory", Effect.provide(MemoryPeerStore.make(smallBounds), NodeCrypto.layer), smallBounds)
