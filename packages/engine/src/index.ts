// How a graph gets fast, with the same bits.
export * from './backend.ts'
export { type SelfTest, selfTest } from './conform.ts'
export { ArenaError } from './plan.ts'
export { planOf, type StepPlan, type WasmOptions, wasm, wasmWith } from './wasm/run.ts'
export { chunkHashes, fastTensorRoot } from './wasm/sha256.ts'
export { startThreads, stopThreads, ThreadError } from './wasm/threads.ts'
