import { recordStoreSuite, smallQuota } from "../../../src/conformance/RecordStore.ts"
import * as MemoryRecordStore from "../../../src/layers/records/MemoryRecordStore.ts"

recordStoreSuite("memory", MemoryRecordStore.make({ quota: smallQuota }), { quota: smallQuota })
