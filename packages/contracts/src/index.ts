// Written by `node tools/contracts.ts build` from the Solidity beside it; do not edit.
export { Arbiter } from './abi/Arbiter.ts'
export { Audit } from './abi/Audit.ts'
export { Dispute } from './abi/Dispute.ts'
export { Market } from './abi/Market.ts'
export { Stake } from './abi/Stake.ts'
export { TestToken } from './abi/TestToken.ts'
