// SPDX-License-Identifier: Apache-2.0
// A scene with forced errors: claims that show a decoy, their seals and their openings.
pragma solidity ^0.8.28;

import {Scene} from "./Scene.sol";
import {Merkle} from "../src/dispute/Merkle.sol";
import {Decoys, Leaves} from "../src/market/Decoys.sol";
import {Moment} from "../src/market/Moment.sol";
import {Spec, Task} from "../src/market/Types.sol";

abstract contract DecoyScene is Scene {
    bytes32 internal constant SECRET = keccak256("secret");
    uint32 internal constant ONE_IN = 8;

    function decoySpec() internal pure returns (Spec memory spec) {
        spec = aSpec();
        spec.decoyOneIn = ONE_IN;
    }

    function falseCommitOf(uint256 taskId, uint256 slice, uint256 segment) internal pure returns (bytes32) {
        return keccak256(abi.encode("false commitment", taskId, slice, segment));
    }

    /// Both trees of an honest decoy.
    function leavesFor(uint256 taskId, uint256 slice) internal view returns (Leaves memory l) {
        uint256 n = market.specOf(taskId).checkpointsPerSlice;
        l = Leaves(new bytes32[](n), new bytes32[](n), new bytes32[](n));
        for (uint256 j = 0; j < n; ++j) {
            l.states[j] = stateOf(taskId, slice, j);
            l.trueCommits[j] = sha256(abi.encodePacked(probeOf(taskId, slice, j)));
            l.decoyCommits[j] = falseCommitOf(taskId, slice, j);
        }
    }

    function treeOf(bytes32[] memory states, bytes32[] memory commits) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](states.length);
        for (uint256 j = 0; j < leaves.length; ++j) {
            leaves[j] = Moment.hash(states[j], commits[j]);
        }
    }

    function rootOf(bytes32[] memory states, bytes32[] memory commits) internal view returns (bytes32) {
        return Merkle.itemsRoot(treeOf(states, commits));
    }

    function commitmentFor(uint256 taskId, uint32 slice, address who, bytes32 trueRoot, bytes32 decoyRoot) internal pure returns (bytes32) {
        return keccak256(abi.encode(taskId, slice, who, trueRoot, decoyRoot, SECRET));
    }

    function sealCommitment(uint256 taskId, bytes32 commitment) internal {
        Task memory task = market.taskOf(taskId);
        vm.prank(task.solver);
        decoys.seal(taskId, task.accepted, commitment);
    }

    function sealHonestly(uint256 taskId) internal {
        Task memory task = market.taskOf(taskId);
        Leaves memory l = leavesFor(taskId, task.accepted);
        sealCommitment(
            taskId,
            commitmentFor(taskId, task.accepted, task.solver, rootOf(l.states, l.trueCommits), rootOf(l.states, l.decoyCommits))
        );
    }

    /// The next blocks, the anchor among them with a hash for which the bit is as wanted.
    function anchorWith(uint256 taskId, bool bit) internal {
        Task memory task = market.taskOf(taskId);
        uint256 anchorBlock = decoys.sealOf(taskId, task.accepted, task.solver).anchorBlock;
        uint256 oneIn = market.specOf(taskId).decoyOneIn;
        mine();
        for (uint256 i = 0;; ++i) {
            bytes32 hash = keccak256(abi.encode("anchor", taskId, task.accepted, i));
            if (decoys.isDecoy(hash, taskId, task.accepted, SECRET, oneIn) != bit) continue;
            vm.setBlockhash(anchorBlock, hash);
            return;
        }
    }

    function claimTree(uint256 taskId, bytes32[] memory states, bytes32[] memory commits) internal returns (uint256 claimId) {
        Task memory task = market.taskOf(taskId);
        bytes32[] memory leaves = treeOf(states, commits);
        uint256 last = leaves.length - 1;
        bytes32 root = Merkle.itemsRoot(leaves);
        bytes32[] memory proof = proofOf(leaves, last);
        bytes32 anchorHash = anchorOf(taskId);
        vm.prank(task.solver);
        return market.claim(taskId, task.accepted, root, states[last], commits[last], anchorHash, proof);
    }

    function anchorOf(uint256 taskId) internal view override returns (bytes32) {
        Task memory task = market.taskOf(taskId);
        Decoys.Seal memory s = decoys.sealOf(taskId, task.accepted, task.solver);
        return s.used || vm.getBlockNumber() > s.anchorBlock + 256 ? bytes32(0) : blockhash(s.anchorBlock);
    }

    /// A sealed claim that shows what its bit says.
    function sealedSlice(uint256 taskId, bool bit) internal returns (uint256 claimId) {
        sealHonestly(taskId);
        anchorWith(taskId, bit);
        Leaves memory l = leavesFor(taskId, market.taskOf(taskId).accepted);
        return claimTree(taskId, l.states, bit ? l.decoyCommits : l.trueCommits);
    }

    function openAs(uint256 claimId, bool bit) internal {
        (uint256 taskId, uint256 slice) = sliceOf(claimId);
        Leaves memory l = leavesFor(taskId, slice);
        bytes32 trueRoot = rootOf(l.states, l.trueCommits);
        bytes32 decoyRoot = rootOf(l.states, l.decoyCommits);
        vm.prank(market.claimOf(claimId).solver);
        if (bit) decoys.openDecoy(claimId, SECRET, l);
        else decoys.openTrue(claimId, trueRoot, decoyRoot, SECRET);
    }

    function contestAs(address who, uint256 claimId) internal {
        vm.startPrank(court);
        market.contest(claimId, who);
        audit.disputed(claimId, who);
        vm.stopPrank();
    }
}
