// Written by `node tools/contracts.ts build` from the Solidity beside it; do not edit.
export {}
