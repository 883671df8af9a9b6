// SPDX-License-Identifier: Apache-2.0
// Binary Merkle trees over 32-byte items and over tensors' bytes, where it binds: the twin of graph/merkle.ts (docs/protocol.md §1).
//
// Twin order: leafHash innerHash depthOf paddingAt rootOf climb proves chunksOf itemsRoot
pragma solidity ^0.8.28;

/// Hashing only, by the precompile at 0x02; nothing here reverts but an empty or odd list of items. Gas: snapshots/Merkle.json.
/// Written in assembly where it counts: one inner node costs 96 gas of hashing, and Solidity's own call of it 600 more.
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
    function innerHash(bytes32 left, bytes32 right) internal view returns (bytes32 node) {
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore8(at, 1)
            mstore(add(at, 1), left)
            mstore(add(at, 33), right)
            if iszero(staticcall(gas(), 2, at, 65, 0, 32)) { revert(0, 0) }
            node := mload(0)
        }
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
    function paddingAt(bytes32 pad, uint256 height) internal view returns (bytes32 node) {
        node = pad;
        for (uint256 k = 0; k < height; ++k) {
            node = innerHash(node, node);
        }
    }

    /// The root over nodes of one level, whose number is a power of two: what a `descend` must hash to.
    function rootOf(bytes32[] memory nodes) internal view returns (bytes32) {
        uint256 n = nodes.length;
        if (n == 0 || n & (n - 1) != 0) revert NotPowerOfTwo(n);
        return itemsRoot(nodes);
    }

    /// The root that a leaf at `index` and its siblings hash to.
    function climb(bytes32 leaf, uint256 index, bytes32[] memory proof) internal view returns (bytes32 node) {
        node = leaf;
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore8(at, 1)
            let end := add(add(proof, 32), shl(5, mload(proof)))
            for { let sibling := add(proof, 32) } lt(sibling, end) { sibling := add(sibling, 32) } {
                // An odd index is a right child: the node goes behind its sibling.
                let side := shl(5, and(index, 1))
                mstore(add(add(at, 1), side), node)
                mstore(add(add(at, 1), xor(side, 32)), mload(sibling))
                if iszero(staticcall(gas(), 2, at, 65, 0, 32)) { revert(0, 0) }
                node := mload(0)
                index := shr(1, index)
            }
        }
    }

    /// Whether `leaf` stands at `index` under `root` in a tree of `depth` levels.
    function proves(bytes32 root, uint256 depth, uint256 index, bytes32 leaf, bytes32[] memory proof) internal view returns (bool) {
        // A depth of 256 or more would let the shift give 0, which refuses; no tree here is deeper than 64.
        return proof.length == depth && index < 1 << depth && climb(leaf, index, proof) == root;
    }

    /// Number of 1,024-byte chunks of a tensor of `byteLength` bytes (at least one).
    function chunksOf(uint256 byteLength) internal pure returns (uint256) {
        return byteLength == 0 ? 1 : (byteLength - 1) / CHUNK + 1;
    }

    /// The root over 32-byte items (a state's slots, a trace's exprs, a claim's leaves), padded to a power of two with zero.
    function itemsRoot(bytes32[] memory items) internal view returns (bytes32 root) {
        uint256 n = items.length;
        if (n == 0) revert NoItems();
        // Level by level, in place, in a copy behind the free memory: node i goes where nodes 2i and 2i+1 were already read from, and the prefix of
        // a pair is written over the last byte of the word before it, which is free for the same reason (the first pair has a word of its own).
        assembly ("memory-safe") {
            let nodes := add(mload(0x40), 32)
            mcopy(nodes, add(items, 32), shl(5, n))
            let scratch := add(nodes, shl(5, add(n, 1)))
            let pad := 0
            for {} gt(n, 1) {} {
                if and(n, 1) { mstore(add(nodes, shl(5, n)), pad) }
                n := shr(1, add(n, 1))
                for { let i := 0 } lt(i, n) { i := add(i, 1) } {
                    let pair := sub(add(nodes, shl(6, i)), 1)
                    mstore8(pair, 1)
                    if iszero(staticcall(gas(), 2, pair, 65, add(nodes, shl(5, i)), 32)) { revert(0, 0) }
                }
                if gt(n, 1) {
                    mstore8(scratch, 1)
                    mstore(add(scratch, 1), pad)
                    mstore(add(scratch, 33), pad)
                    if iszero(staticcall(gas(), 2, scratch, 65, 0, 32)) { revert(0, 0) }
                    pad := mload(0)
                }
            }
            root := mload(nodes)
        }
    }
}
