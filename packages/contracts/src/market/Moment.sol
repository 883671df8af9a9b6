// SPDX-License-Identifier: Apache-2.0
// Where a run stands between two steps, as a claim's leaves commit to it (docs/protocol.md §1). Twin: dispute/commit.
pragma solidity ^0.8.28;

library Moment {
    /// sha256(0x02 ‖ state root ‖ probe commitment).
    function hash(bytes32 state, bytes32 probeCommit) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x02), state, probeCommit));
    }
}
