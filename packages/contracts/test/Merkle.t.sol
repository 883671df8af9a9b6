// SPDX-License-Identifier: Apache-2.0
// Holds Merkle.sol to vectors/merkle.json, which graph/merkle wrote.
pragma solidity ^0.8.28;

import {Test} from "./Test.sol";
import {Merkle} from "../src/dispute/Merkle.sol";

/// Reverts happen one call deep, where a test can expect them.
contract MerkleCaller {
    function itemsRoot(bytes32[] memory items) external view returns (bytes32) {
        return Merkle.itemsRoot(items);
    }

    function rootOf(bytes32[] memory nodes) external view returns (bytes32) {
        return Merkle.rootOf(nodes);
    }
}

contract MerkleTest is Test {
    string private json = vm.readFile("../../vectors/merkle.json");
    MerkleCaller private caller = new MerkleCaller();

    function test_leaf_and_inner_hashes() public view {
        for (uint256 i = 0; has("leaves", i); ++i) {
            assertEq(Merkle.leafHash(vm.parseJsonBytes(json, key("leaves", i, "data"))), word(key("leaves", i, "hash")), "leaf");
        }
        assertEq(Merkle.innerHash(word(".inner.left"), word(".inner.right")), word(".inner.hash"), "inner");
        assertEq(Merkle.ZERO_CHUNK, word(".zeroChunk"), "zero chunk");
        assertEq(Merkle.leafHash(new bytes(Merkle.CHUNK)), Merkle.ZERO_CHUNK, "zero chunk");
    }

    function test_depths() public view {
        for (uint256 i = 0; has("depths", i); ++i) {
            uint256 count = vm.parseJsonUint(json, key("depths", i, "count"));
            assertEq(Merkle.depthOf(count), vm.parseJsonUint(json, key("depths", i, "depth")), vm.toString(count));
        }
        assertEq(Merkle.depthOf(0), 0, "none");
        assertEq(Merkle.depthOf(type(uint256).max), 256, "all");
    }

    function test_padding() public view {
        bytes32[] memory chunks = vm.parseJsonBytes32Array(json, ".chunkPadding");
        bytes32[] memory items = vm.parseJsonBytes32Array(json, ".itemPadding");
        for (uint256 k = 0; k < 9; ++k) {
            assertEq(Merkle.paddingAt(Merkle.ZERO_CHUNK, k), chunks[k], "chunk");
            assertEq(Merkle.paddingAt(Merkle.ZERO, k), items[k], "item");
        }
    }

    function test_roots_of_lists() public {
        for (uint256 i = 0; has("lists", i); ++i) {
            bytes32[] memory items = vm.parseJsonBytes32Array(json, key("lists", i, "items"));
            bytes32 root = word(key("lists", i, "root"));
            bytes32 first = items[0];
            assertEq(Merkle.itemsRoot(items), root, vm.toString(items.length));
            assertEq(items[0], first, "the list is left as it was");
            if (items.length & (items.length - 1) == 0) {
                assertEq(Merkle.rootOf(items), root, "rootOf");
            } else {
                vm.expectRevert(abi.encodeWithSelector(Merkle.NotPowerOfTwo.selector, items.length));
                caller.rootOf(items);
            }
        }
        vm.expectRevert(Merkle.NoItems.selector);
        caller.itemsRoot(new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(Merkle.NotPowerOfTwo.selector, 0));
        caller.rootOf(new bytes32[](0));
    }

    function test_a_descent_hashes_to_its_node() public view {
        assertEq(Merkle.rootOf(vm.parseJsonBytes32Array(json, ".row.nodes")), word(".row.root"), "row");
    }

    function test_chunks_are_proved_and_nothing_else() public view {
        for (uint256 i = 0; has("tensors", i); ++i) {
            uint256 chunks = vm.parseJsonUint(json, key("tensors", i, "chunks"));
            uint256 depth = vm.parseJsonUint(json, key("tensors", i, "depth"));
            uint256 index = vm.parseJsonUint(json, key("tensors", i, "index"));
            bytes32 root = word(key("tensors", i, "root"));
            bytes32 leaf = Merkle.leafHash(vm.parseJsonBytes(json, key("tensors", i, "chunk")));
            bytes32[] memory proof = vm.parseJsonBytes32Array(json, key("tensors", i, "proof"));
            assertEq(Merkle.chunksOf(vm.parseJsonUint(json, key("tensors", i, "byteLength"))), chunks, "chunks");
            assertEq(Merkle.depthOf(chunks), depth, "depth");
            assertTrue(Merkle.proves(root, depth, index, leaf, proof), "proved");
            assertFalse(Merkle.proves(root, depth + 1, index, leaf, proof), "deeper");
            assertFalse(Merkle.proves(root, depth, index ^ 1, leaf, proof), "the neighbour's place");
            assertFalse(Merkle.proves(root, depth, index + (1 << depth), leaf, proof), "beyond the tree");
            assertFalse(Merkle.proves(root, depth, index, ~leaf, proof), "another leaf");
            for (uint256 k = 0; k < depth; ++k) {
                proof[k] ^= bytes32(uint256(1) << (8 * k + i));
                assertFalse(Merkle.proves(root, depth, index, leaf, proof), "a sibling's bit");
                proof[k] ^= bytes32(uint256(1) << (8 * k + i));
            }
        }
        assertEq(Merkle.chunksOf(0), 1, "no bytes");
    }

    function testFuzz_an_inner_node_is_no_leaf(bytes32 left, bytes32 right) public view {
        assertTrue(Merkle.leafHash(abi.encodePacked(left, right)) != Merkle.innerHash(left, right), "domains");
    }

    function testFuzz_a_list_proves_each_item(bytes32[] memory items, uint256 index) public view {
        if (items.length == 0) return;
        index = bound(index, 0, items.length - 1);
        // The sibling at each height is the root of the items below it, padded to that height.
        uint256 depth = Merkle.depthOf(items.length);
        bytes32[] memory proof = new bytes32[](depth);
        for (uint256 k = 0; k < depth; ++k) {
            bytes32[] memory below = new bytes32[](1 << k);
            uint256 from = ((index >> k) ^ 1) << k;
            for (uint256 i = 0; i < below.length && from + i < items.length; ++i) {
                below[i] = items[from + i];
            }
            proof[k] = Merkle.itemsRoot(below);
        }
        assertTrue(Merkle.proves(Merkle.itemsRoot(items), depth, index, items[index], proof), "an item");
    }

    function has(string memory list, uint256 i) private view returns (bool) {
        return vm.keyExistsJson(json, string.concat(".", list, "[", vm.toString(i), "]"));
    }

    function key(string memory list, uint256 i, string memory field) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "].", field);
    }

    function word(string memory path) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, path);
    }
}

/// Gas of hashing and climbing, measuring taken off.
contract MerkleGasTest is Test {
    function test_gas() public {
        bytes32[] memory proof = new bytes32[](16);
        bytes memory chunk = new bytes(Merkle.CHUNK);
        bytes32[] memory nodes = new bytes32[](32);
        uint256 before = gasleft();
        Merkle.innerHash(bytes32(0), bytes32(0));
        uint256 inner = before - gasleft();
        before = gasleft();
        Merkle.leafHash(chunk);
        uint256 leaf = before - gasleft();
        before = gasleft();
        Merkle.climb(bytes32(0), 5, proof);
        uint256 climb = before - gasleft();
        before = gasleft();
        Merkle.rootOf(nodes);
        uint256 root = before - gasleft();
        vm.snapshotValue("Merkle", "innerHash", inner);
        vm.snapshotValue("Merkle", "leafHash of a chunk", leaf);
        vm.snapshotValue("Merkle", "climb of 16", climb);
        vm.snapshotValue("Merkle", "rootOf 32", root);
    }
}
