// Talking to the network.

export * from './client.ts'
export * from './offer.ts'
export * from './spec.ts'
