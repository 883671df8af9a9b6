// SPDX-License-Identifier: Apache-2.0
// Market, audit and ledger with the real court in place: who opens a dispute, who lets the clock run out, and where every wei ends.
pragma solidity ^0.8.28;

import {Scene} from "./Scene.sol";
import {Arbiter} from "../src/arbiter/Arbiter.sol";
import {Dispute, Opening} from "../src/dispute/Dispute.sol";
import {Market} from "../src/market/Market.sol";
import {ClaimStatus, Stage, TaskStatus, Verdict} from "../src/market/Types.sol";

/// Cheatcodes that Test.sol does not declare.
interface LogVm {
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
}

contract CourtTest is Scene {
    LogVm private constant logs = LogVm(address(uint160(uint256(keccak256("hevm cheat code")))));
    // how a game stands, out of the log
    mapping(uint256 => bytes) private states;
    mapping(uint256 => bytes) private papers;
    Dispute internal dispute;
    uint256 internal constant BOND = 10 ether;

    function setUp() public override {
        // after the token, Stake, Market, Audit, Decoys and the arbiter
        court = more.computeCreateAddress(address(this), more.getNonce(address(this)) + 6);
        super.setUp();
        dispute = new Dispute(market, stake, audit, new Arbiter());
        assertEq(address(dispute), court, "court where it was expected");
        people.push(court);
        logs.recordLogs();
    }

    function readLog() internal {
        LogVm.Log[] memory all = logs.getRecordedLogs();
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i].emitter != court || all[i].topics[0] != Dispute.Moved.selector) continue;
            (bytes memory state, bytes memory filed) = abi.decode(all[i].data, (bytes, bytes));
            uint256 gameId = uint256(all[i].topics[1]);
            states[gameId] = state;
            if (filed.length > 0) papers[gameId] = filed;
        }
    }

    function openingOf(uint256 claimId, uint256 segment) internal view returns (Opening memory) {
        (uint256 taskId, uint256 slice) = sliceOf(claimId);
        return Opening({
            stateRoot: stateOf(taskId, slice, segment),
            probeCommit: sha256(abi.encodePacked(probeOf(taskId, slice, segment))),
            proof: proofOf(leavesOf(taskId, slice), segment)
        });
    }

    function challengeAs(address who, uint256 claimId, uint32 segment) internal returns (uint256 gameId) {
        Opening memory start = segment == 0 ? openingOf(claimId, 0) : openingOf(claimId, segment - 1);
        Opening memory end = openingOf(claimId, segment);
        vm.prank(who);
        gameId = dispute.challenge(claimId, segment, start, end);
        readLog();
    }

    function solverBisects(uint256 gameId) internal {
        bytes32[] memory values = new bytes32[](1);
        values[0] = keccak256("moment between the two steps");
        vm.prank(solver);
        dispute.bisect(gameId, states[gameId], values);
        readLog();
    }

    function test_a_solver_whose_clock_runs_out_is_convicted() public {
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        auditHonestly(claimId);
        address attester = audit.attesters(claimId, 1)[0];
        uint256 gameId = challengeAs(challenger, claimId, 1);
        assertEq(stake.lockedOf(challenger), BOND, "challenger's bond");
        passWindow(claimId);
        vm.expectRevert(abi.encodeWithSelector(Market.GamesOpen.selector, claimId, 1));
        market.settle(taskId);
        vm.warp(block.timestamp + 121);
        dispute.timeout(gameId, states[gameId], papers[gameId]);
        assertEq(uint256(market.claimOf(claimId).status), uint256(ClaimStatus.Void));
        assertStatus(taskId, TaskStatus.Halted);
        // half of the bond of 32; what the attester loses is burnt
        assertEq(stake.freeOf(challenger), FUNDS / 2 + 16 ether, "challenger");
        assertEq(stake.freeOf(submitter), 72 ether + 8 ether, "submitter");
        assertEq(stake.freeOf(solver), FUNDS / 2 - 32 ether, "solver");
        assertEq(stake.freeOf(attester), FUNDS / 2 - 100 ether, "attester");
        assertEq(stake.burntWei(), 8 ether + 4 ether, "burnt");
        assertEq(stake.lockedOf(challenger) + stake.lockedOf(solver), 0, "locked");
        assertConserved();
    }

    function test_a_challenger_whose_clock_runs_out_pays_the_solver_and_the_slice_settles() public {
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        uint256 gameId = challengeAs(challenger, claimId, 0);
        solverBisects(gameId);
        auditHonestly(claimId);
        vm.warp(block.timestamp + 121);
        dispute.timeout(gameId, states[gameId], papers[gameId]);
        assertEq(stake.freeOf(challenger), FUNDS / 2 - BOND, "challenger");
        assertEq(stake.freeOf(solver), FUNDS / 2 - 32 ether + BOND / 2, "solver");
        assertEq(stake.burntWei(), BOND / 2, "burnt");
        market.settle(taskId);
        assertEq(market.taskOf(taskId).accepted, 1);
        assertConserved();
    }

    function test_of_two_disputes_one_convicts_and_the_other_gets_its_bond_back() public {
        uint256 claimId = claimSlice(startTask());
        uint256 first = challengeAs(challenger, claimId, 1);
        uint256 second = challengeAs(rival, claimId, 3);
        vm.warp(block.timestamp + 121);
        dispute.timeout(second, states[second], papers[second]);
        dispute.withdrawMoot(first, states[first], papers[first]);
        assertEq(stake.freeOf(rival), FUNDS / 2 + 16 ether, "rival");
        assertEq(stake.freeOf(challenger), FUNDS / 2, "challenger");
        assertEq(stake.lockedOf(challenger) + stake.lockedOf(rival) + stake.lockedOf(solver), 0, "locked");
        assertConserved();
    }

    function test_a_verifier_that_said_different_keeps_its_word_by_a_dispute() public {
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        sealAs(claimId, drawn[0], 2, 0);
        sealAs(claimId, drawn[1], 1, digestOf(claimId, drawn[1]));
        disclose(claimId, disclosureOf(claimId));
        revealAs(claimId, drawn[0], 2, 0);
        revealAs(claimId, drawn[1], 1, digestOf(claimId, drawn[1]));
        assertFalse(audit.hasDisputed(claimId, drawn[0]));
        uint256 gameId = challengeAs(drawn[0], claimId, 2);
        assertTrue(audit.hasDisputed(claimId, drawn[0]));
        vm.warp(block.timestamp + 121);
        dispute.timeout(gameId, states[gameId], papers[gameId]);
        assertStage(claimId, Stage.Closed);
        assertEq(market.recordOf(solver).convictions, 1);
        assertEq(stake.freeOf(drawn[0]), FUNDS / 2 - 100 ether + 16 ether, "bounty");
        assertConserved();
    }
}
