// How a graph gets fast, with the same bits.
export * from './backend.ts'
export { type SelfTest, selfTest } from './conform.ts'
export { ArenaError } from './plan.ts'
export { wasm } from './wasm/run.ts'
export { chunkHashes, fastTensorRoot } from './wasm/sha256.ts'
