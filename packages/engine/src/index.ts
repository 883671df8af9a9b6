// How a graph gets fast, with the same bits.
export * from './backend.ts'
export { ArenaError } from './plan.ts'
export { wasm } from './wasm/run.ts'
