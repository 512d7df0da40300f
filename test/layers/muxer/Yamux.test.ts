import * as Yamux from "../../../src/layers/muxer/Yamux.ts"
import { muxerSuite } from "../../conformance/StreamMuxer.ts"

const window = 256 * 1024

muxerSuite("Yamux", Yamux.make({ acceptBacklog: 256 }), { acceptBacklog: 256, window: [window, window] })
