// Talking to the network.

export * from './actions/audit.ts'
export * from './actions/dispute.ts'
export * from './actions/ledger.ts'
export * from './actions/stake.ts'
export * from './actions/task.ts'
export * from './client.ts'
export * from './deploy.ts'
export * from './events.ts'
export * from './hazard.ts'
export * from './offer.ts'
export * from './spec.ts'
