// Written by `node tools/contracts.ts build` from the Solidity beside it; do not edit.
export { Arbiter } from './abi/Arbiter.ts'
export { Audit } from './abi/Audit.ts'
export { Decoys } from './abi/Decoys.ts'
export { Dispute } from './abi/Dispute.ts'
export { Intake } from './abi/Intake.ts'
export { Market } from './abi/Market.ts'
export { Stake } from './abi/Stake.ts'
export { TestToken } from './abi/TestToken.ts'
