// Who is right: commitments, traces, scalar steps, every legal move, the honest next one. Pure: no clock, no network, no chain.

export * from './arbiter.ts'
export * from './claims.ts'
export * from './commit.ts'
export * from './game.ts'
export * from './leaf.ts'
export * from './position.ts'
export { identity, type Read, scalarStep, terms } from './scalar.ts'
export { type Operand, type TraceSource, witness } from './witness.ts'
