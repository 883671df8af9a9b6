// SPDX-License-Identifier: Apache-2.0
// Where a draw's randomness comes from: the hash of the block after the one that asks. The one file to change for a chain with another source.
//
// A block's hash commits to its prevrandao (EIP-4399) and is unknown when the anchor is set. Who proposes the anchor block can withhold it and so
// re-roll once, at the price of its block reward: docs/economics.md counts that.
pragma solidity ^0.8.28;

library Randomness {
    /// Blocks for which the EVM remembers hashes.
    uint256 internal constant MEMORY_BLOCKS = 256;

    error AnchorAhead(uint256 anchorBlock, uint256 blockNumber);

    /// The block whose hash will be the seed: the next one, which nobody has seen.
    function anchor() internal view returns (uint256) {
        return block.number + 1;
    }

    /// Whether the chain has forgotten the anchor's hash, so that a new anchor is needed.
    function isLost(uint256 anchorBlock) internal view returns (bool) {
        return block.number > anchorBlock + MEMORY_BLOCKS;
    }

    /// The anchor's hash; the block must exist and not be lost.
    function hashOf(uint256 anchorBlock) internal view returns (bytes32) {
        if (block.number <= anchorBlock) revert AnchorAhead(anchorBlock, block.number);
        return blockhash(anchorBlock);
    }

    /// The seed of claim `claimId` from its anchor, which must exist and not be lost.
    function seed(uint256 anchorBlock, uint256 claimId) internal view returns (bytes32) {
        return keccak256(abi.encode(hashOf(anchorBlock), claimId));
    }

    /// The `index`th number below `limit` from a seed. The bias of the remainder is below limit / 2^256.
    function below(bytes32 seed_, uint256 index, uint256 limit) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed_, index))) % limit;
    }
}
