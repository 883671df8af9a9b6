// A process with roles.

export * from './bundle.ts'
export * from './chain.ts'
export * from './embedded.ts'
export * from './keystore.ts'
export * from './meter.ts'
export * from './node.ts'
export * from './receipt.ts'
export type { CheatPlan } from './roles/solve.ts'
export * from './store.ts'
export * from './submit.ts'
export * from './training/local.ts'
export * from './training/stepper.ts'
