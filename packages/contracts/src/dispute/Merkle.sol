// SPDX-License-Identifier: Apache-2.0
// Binary Merkle trees over 32-byte items and over tensors' bytes, where it binds: the twin of graph/merkle.ts (docs/protocol.md §1).
//
// Twin order: leafHash innerHash depthOf paddingAt rootOf climb proves chunksOf itemsRoot
pragma solidity ^0.8.28;

/// Pure hashing; nothing here reverts but an empty or odd list of items. Gas: snapshots/Merkle.json.
library Merkle {
    /// Bytes of tensor that one leaf holds.
    uint256 internal constant CHUNK = 1024;
    /// What pads a tensor's tree: leafHash of 1,024 zero bytes.
    bytes32 internal constant ZERO_CHUNK = 0xc55b90509b8cb9bac53fbdddfc93d4e572685c509f1218423c43a5d6013bbd48;
    /// What pads a list of items.
    bytes32 internal constant ZERO = bytes32(0);

    error NotPowerOfTwo(uint256 length);
    error NoItems();

    /// sha256(0x00 ‖ data): the hash of a leaf's content.
    function leafHash(bytes memory data) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), data));
    }

    /// sha256(0x01 ‖ left ‖ right).
    function innerHash(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
    }

    /// Levels between the root and the leaves of a tree over `count` items: ceil(log2(count)), 0 for one item (and for none).
    function depthOf(uint256 count) internal pure returns (uint256 depth) {
        if (count == 0) return 0;
        unchecked {
            // Cannot wrap: count > 0, and depth ends at 256.
            for (uint256 rest = count - 1; rest != 0; rest >>= 1) {
                ++depth;
            }
        }
    }

    /// The root of a subtree of `height` made of padding only: ZERO_CHUNK for tensors, ZERO for items.
    function paddingAt(bytes32 pad, uint256 height) internal pure returns (bytes32 node) {
        node = pad;
        for (uint256 k = 0; k < height; ++k) {
            node = innerHash(node, node);
        }
    }

    /// The root over nodes of one level, whose number is a power of two: what a `descend` must hash to.
    function rootOf(bytes32[] memory nodes) internal pure returns (bytes32) {
        uint256 n = nodes.length;
        if (n == 0 || n & (n - 1) != 0) revert NotPowerOfTwo(n);
        return itemsRoot(nodes);
    }

    /// The root that a leaf at `index` and its siblings hash to.
    function climb(bytes32 leaf, uint256 index, bytes32[] memory proof) internal pure returns (bytes32 node) {
        node = leaf;
        for (uint256 k = 0; k < proof.length; ++k) {
            node = index & 1 == 1 ? innerHash(proof[k], node) : innerHash(node, proof[k]);
            index >>= 1;
        }
    }

    /// Whether `leaf` stands at `index` under `root` in a tree of `depth` levels.
    function proves(bytes32 root, uint256 depth, uint256 index, bytes32 leaf, bytes32[] memory proof) internal pure returns (bool) {
        // A depth of 256 or more would let the shift give 0, which refuses; no tree here is deeper than 64.
        return proof.length == depth && index < 1 << depth && climb(leaf, index, proof) == root;
    }

    /// Number of 1,024-byte chunks of a tensor of `byteLength` bytes (at least one).
    function chunksOf(uint256 byteLength) internal pure returns (uint256) {
        return byteLength == 0 ? 1 : (byteLength - 1) / CHUNK + 1;
    }

    /// The root over 32-byte items (a state's slots, a trace's exprs, a claim's leaves), padded to a power of two with zero.
    function itemsRoot(bytes32[] memory items) internal pure returns (bytes32) {
        uint256 n = items.length;
        if (n == 0) revert NoItems();
        bytes32[] memory level = new bytes32[]((n + 1) / 2);
        bytes32 pad = ZERO;
        bytes32[] memory below = items;
        while (n > 1) {
            uint256 half = (n + 1) / 2;
            for (uint256 i = 0; i < half; ++i) {
                level[i] = innerHash(below[2 * i], 2 * i + 1 < n ? below[2 * i + 1] : pad);
            }
            // From the second level on in place: node i is written after nodes 2i and 2i+1 were read.
            below = level;
            pad = innerHash(pad, pad);
            n = half;
        }
        return below[0];
    }
}
