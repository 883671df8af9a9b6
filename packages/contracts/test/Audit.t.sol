// SPDX-License-Identifier: Apache-2.0
// The audit, stage by stage: who is drawn, who is paid, who is slashed, and that no stage can be stuck for ever.
pragma solidity ^0.8.28;

import {Scene} from "./Scene.sol";
import {Audit} from "../src/market/Audit.sol";
import {Market} from "../src/market/Market.sol";
import {Randomness} from "../src/market/Randomness.sol";
import {Stake} from "../src/market/Stake.sol";
import {Assignment, ClaimStatus, Spec, Stage, TaskStatus, Verdict} from "../src/market/Types.sol";

contract AuditTest is Scene {
    /// A claim past probation: two verifiers with one segment each.
    function spotClaim(Spec memory spec) internal returns (uint256 taskId, uint256 claimId) {
        spec.slices = 9;
        taskId = startTask(spec);
        acceptSlice(taskId);
        acceptSlice(taskId);
        claimId = claimSlice(taskId);
    }

    function soleVerifier() internal pure returns (Spec memory spec) {
        spec = aSpec();
        spec.verifiers = 1;
        spec.segments = 2;
    }

    function seatWei(address verifier) internal view returns (uint256) {
        for (uint256 i = 0; i < stake.seatCount(); ++i) {
            if (stake.seatOf(i).owner == verifier) return stake.seatOf(i).stakeWei;
        }
        return 0;
    }

    function jailed(address verifier) internal view returns (bool) {
        for (uint256 i = 0; i < stake.seatCount(); ++i) {
            if (stake.seatOf(i).owner == verifier) return stake.seatOf(i).activeUntil != 0;
        }
        return false;
    }

    // ---------------------------------------------------------------- drawing

    function test_only_the_market_begins_finishes_and_closes() public {
        bytes memory refusal = abi.encodeWithSelector(Audit.NotAllowed.selector, address(this));
        vm.expectRevert(refusal);
        audit.begin(1, 0);
        vm.expectRevert(refusal);
        audit.finish(1);
        vm.expectRevert(refusal);
        audit.close(1);
        vm.expectRevert(refusal);
        audit.disputed(1, challenger);
    }

    function test_nobody_draws_before_the_anchor_block_is_there() public {
        uint256 claimId = claimSlice(startTask());
        uint256 block_ = block.number;
        vm.expectRevert(abi.encodeWithSelector(Randomness.AnchorAhead.selector, block_ + 1, block_));
        audit.draw(claimId);
        vm.roll(block_ + 1);
        vm.expectRevert(abi.encodeWithSelector(Randomness.AnchorAhead.selector, block_ + 1, block_ + 1));
        audit.draw(claimId);
        vm.roll(block_ + 2);
        audit.draw(claimId);
        assertStage(claimId, Stage.Sealing);
        vm.expectRevert(abi.encodeWithSelector(Audit.WrongStage.selector, claimId, Stage.Sealing, Stage.Drawing));
        audit.draw(claimId);
    }

    function test_a_forgotten_anchor_is_set_anew() public {
        uint256 claimId = claimSlice(startTask());
        vm.roll(block.number + 1 + 257);
        audit.draw(claimId);
        assertStage(claimId, Stage.Drawing);
        (,,,,,, uint256 anchorBlock) = audit.stageOf(claimId);
        assertEq(anchorBlock, block.number + 1);
        vm.roll(block.number + 2);
        audit.draw(claimId);
        assertStage(claimId, Stage.Sealing);
    }

    function test_probation_audits_every_segment_then_a_sample() public {
        uint256 taskId = startTask();
        for (uint256 slice = 0; slice < 3; ++slice) {
            uint256 claimId = claimSlice(taskId);
            drawFor(claimId);
            Assignment[] memory all = audit.assignmentsOf(claimId);
            assertEq(all.length, slice < 2 ? 4 : 2, "segments");
            for (uint256 k = 0; k < all.length; ++k) {
                if (slice < 2) assertEq(all[k].segment, k, "each");
                assertTrue(all[k].verifier != address(0), "dealt");
            }
            sealAll(claimId, 1);
            disclose(claimId, disclosureOf(claimId));
            revealAll(claimId, 1);
            passWindow(claimId);
            market.settle(taskId);
        }
    }

    function test_full_assurance_audits_every_segment_for_ever() public {
        Spec memory spec = aSpec();
        spec.assurance = 2;
        (, uint256 claimId) = spotClaim(spec);
        drawFor(claimId);
        assertEq(audit.assignmentsOf(claimId).length, 4);
    }

    function test_a_sample_is_never_empty_and_never_more_than_the_slice() public {
        Spec memory spec = aSpec();
        spec.segments = 0;
        (, uint256 claimId) = spotClaim(spec);
        drawFor(claimId);
        assertEq(audit.assignmentsOf(claimId).length, 1);
        spec = aSpec();
        (spec.verifiers, spec.segments) = (16, 255);
        uint256 taskId = startTask(spec);
        claimId = claimSlice(taskId);
        drawFor(claimId);
        assertEq(audit.assignmentsOf(claimId).length, 4);
        assertEq(waiting(claimId, Verdict.Drawn).length, 4, "no more verifiers than segments");
    }

    /// Whatever the anchor's hash: distinct owners, never the solver or the submitter, distinct ascending segments, fair shares.
    function testFuzz_draws_are_well_formed(bytes32 hash, uint8 verifiers_, uint8 perVerifier, uint8 checkpoints) public {
        vm.prank(solver);
        stake.takeSeats(5);
        vm.prank(submitter);
        stake.deposit(1000 ether);
        vm.prank(submitter);
        stake.takeSeats(5);
        Spec memory spec = aSpec();
        spec.verifiers = uint8(bound(verifiers_, 1, 4));
        spec.segments = uint8(bound(perVerifier, 0, 5));
        spec.checkpointsPerSlice = uint32(bound(checkpoints, 1, 12));
        spec.operationsPerStep = 1000;
        (, uint256 claimId) = spotClaim(spec);
        mine();
        (,,,,,, uint256 anchorBlock) = audit.stageOf(claimId);
        vm.setBlockhash(anchorBlock, hash);
        audit.draw(claimId);
        // 10 of 14 seats do not qualify: once in 50,000 none of 32 does, and a later block decides
        while (stageOf(claimId) == Stage.Drawing) drawFor(claimId);
        Assignment[] memory all = audit.assignmentsOf(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        uint256 want = uint256(spec.verifiers) * spec.segments;
        want = want == 0 ? 1 : want;
        if (want > spec.checkpointsPerSlice) want = spec.checkpointsPerSlice;
        assertEq(all.length, want, "segments");
        for (uint256 k = 0; k < all.length; ++k) {
            assertTrue(all[k].segment < spec.checkpointsPerSlice, "a segment of the slice");
            if (k > 0) assertTrue(all[k].segment > all[k - 1].segment, "ascending");
            assertTrue(all[k].verifier != solver && all[k].verifier != submitter, "no judge in its own cause");
            assertEq(all[k].verifier, all[k % drawn.length].verifier, "round robin");
        }
        for (uint256 i = 0; i < drawn.length; ++i) {
            for (uint256 j = 0; j < i; ++j) {
                assertTrue(drawn[i] != drawn[j], "distinct");
            }
        }
    }

    /// The same sampling, many seeds: every seat and every segment is drawn about as often.
    function test_draws_are_fair() public {
        Spec memory spec = soleVerifier();
        spec.segments = 1;
        (, uint256 claimId) = spotClaim(spec);
        mine();
        (,,,,,, uint256 anchorBlock) = audit.stageOf(claimId);
        uint256[] memory seats = new uint256[](VERIFIERS);
        uint256[] memory segments = new uint256[](4);
        uint256 saved = vm.snapshotState();
        uint256 draws = 400;
        for (uint256 n = 0; n < draws; ++n) {
            vm.setBlockhash(anchorBlock, keccak256(abi.encode("fair", n)));
            audit.draw(claimId);
            Assignment[] memory all = audit.assignmentsOf(claimId);
            seats[uint160(all[0].verifier) - 0xbee0] += 1;
            segments[all[0].segment] += 1;
            vm.revertToState(saved);
        }
        for (uint256 i = 0; i < 4; ++i) {
            // 100 expected, standard deviation 8.7: four of them
            assertTrue(seats[i] > 65 && seats[i] < 135, "seats");
            assertTrue(segments[i] > 65 && segments[i] < 135, "segments");
        }
    }

    function test_seats_taken_after_the_claim_are_not_drawn() public {
        uint256 claimId = claimSlice(startTask());
        vm.prank(rival);
        stake.takeSeats(40);
        drawFor(claimId);
        Assignment[] memory all = audit.assignmentsOf(claimId);
        for (uint256 k = 0; k < all.length; ++k) {
            assertTrue(all[k].verifier != rival, "too late");
        }
    }

    function test_seats_left_after_the_claim_are_drawn_all_the_same() public {
        uint256 claimId = claimSlice(startTask());
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            uint256[] memory list = new uint256[](1);
            list[0] = i;
            vm.prank(verifiers[i]);
            stake.leaveSeats(list);
        }
        drawFor(claimId);
        assertEq(waiting(claimId, Verdict.Drawn).length, 2);
    }

    function leaveAll() internal {
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            uint256[] memory list = new uint256[](1);
            list[0] = i;
            vm.prank(verifiers[i]);
            stake.leaveSeats(list);
        }
        vm.warp(block.timestamp + 1);
    }

    function test_without_verifiers_a_claim_waits_a_while_and_is_void_without_fault() public {
        leaveAll();
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        assertStage(claimId, Stage.Drawing);
        // one comes in time
        uint256 saved = vm.snapshotState();
        vm.prank(rival);
        stake.takeSeats(1);
        drawFor(claimId);
        assertStage(claimId, Stage.Drawing);
        drawFor(claimId);
        assertStage(claimId, Stage.Sealing);
        assertEq(waiting(claimId, Verdict.Drawn)[0], rival);
        vm.revertToState(saved);
        // nobody does
        vm.warp(deadlineOf(claimId));
        drawFor(claimId);
        assertEq(uint256(market.claimOf(claimId).status), uint256(ClaimStatus.Void));
        assertStatus(taskId, TaskStatus.Halted);
        assertEq(stake.lockedOf(solver), 0, "bond back");
        assertEq(stake.freeOf(solver), FUNDS / 2, "unharmed");
        assertStage(claimId, Stage.Closed);
        assertConserved();
    }

    // ---------------------------------------------------------------- sealing

    function test_only_the_drawn_seal_once_and_in_time() public {
        uint256 claimId = claimSlice(startTask());
        vm.expectRevert(abi.encodeWithSelector(Audit.WrongStage.selector, claimId, Stage.Drawing, Stage.Sealing));
        vm.prank(verifiers[0]);
        audit.seal(claimId, bytes32(uint256(1)));
        drawFor(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        vm.expectRevert(abi.encodeWithSelector(Audit.NotDrawn.selector, claimId, challenger));
        vm.prank(challenger);
        audit.seal(claimId, bytes32(uint256(1)));
        vm.startPrank(drawn[0]);
        vm.expectRevert(abi.encodeWithSelector(Audit.EmptySeal.selector, claimId, drawn[0]));
        audit.seal(claimId, 0);
        audit.seal(claimId, bytes32(uint256(1)));
        vm.expectRevert(abi.encodeWithSelector(Audit.WrongVerdict.selector, claimId, drawn[0], Verdict.Sealed));
        audit.seal(claimId, bytes32(uint256(2)));
        vm.stopPrank();
        uint256 deadline = deadlineOf(claimId);
        vm.expectRevert(abi.encodeWithSelector(Audit.TooEarly.selector, deadline, block.timestamp));
        audit.redraw(claimId);
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(Audit.TooLate.selector, deadline, deadline + 1));
        vm.prank(drawn[1]);
        audit.seal(claimId, bytes32(uint256(2)));
    }

    function test_the_stage_advances_as_soon_as_all_have_sealed() public {
        uint256 claimId = claimSlice(startTask());
        drawFor(claimId);
        address[] memory drawn = sealAll(claimId, 1);
        assertEq(drawn.length, 2);
        assertStage(claimId, Stage.Disclosing);
        assertEq(deadlineOf(claimId), block.timestamp + 60);
    }

    function test_the_silent_pay_are_jailed_and_replaced() public {
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        sealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        vm.warp(deadlineOf(claimId) + 1);
        audit.redraw(claimId);
        assertEq(seatWei(drawn[1]), 90 ether, "a tenth");
        assertTrue(jailed(drawn[1]), "jailed");
        assertEq(stake.poolWei(), 10 ether, "to the pool");
        assertEq(seatWei(drawn[0]), 100 ether, "the other is unharmed");
        assertStage(claimId, Stage.Drawing);
        drawFor(claimId);
        address[] memory fresh = waiting(claimId, Verdict.Drawn);
        assertEq(fresh.length, 1);
        assertTrue(fresh[0] != drawn[0] && fresh[0] != drawn[1], "somebody new");
        vm.expectRevert(abi.encodeWithSelector(Audit.NotDrawn.selector, claimId, drawn[1]));
        vm.prank(drawn[1]);
        audit.seal(claimId, bytes32(uint256(1)));
        sealAll(claimId, 1);
        disclose(claimId, disclosureOf(claimId));
        revealAll(claimId, 1);
        passWindow(claimId);
        market.settle(taskId);
        assertEq(stake.freeOf(drawn[0]), FUNDS / 2 - 100 ether + 8 ether, "paid for two segments");
        assertEq(stake.freeOf(fresh[0]), FUNDS / 2 - 100 ether + 8 ether, "paid for two segments");
        assertEq(stake.freeOf(drawn[1]), FUNDS / 2 - 100 ether, "unpaid");
        assertConserved();
    }

    function test_three_silent_rounds_void_the_claim_without_fault() public {
        vm.prank(rival);
        stake.takeSeats(1);
        vm.prank(challenger);
        stake.takeSeats(1);
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        for (uint256 round = 0; round < 3; ++round) {
            assertEq(uint256(market.claimOf(claimId).status), uint256(ClaimStatus.Open));
            drawFor(claimId);
            vm.warp(deadlineOf(claimId) + 1);
            audit.redraw(claimId);
        }
        assertEq(uint256(market.claimOf(claimId).status), uint256(ClaimStatus.Void));
        assertStatus(taskId, TaskStatus.Halted);
        assertEq(stake.freeOf(solver), FUNDS / 2, "no fault, no loss");
        assertEq(stake.poolWei(), 60 ether, "six were silent");
        assertConserved();
    }

    function test_half_of_the_seals_are_enough_when_nobody_is_left() public {
        Spec memory spec = aSpec();
        spec.verifiers = 4;
        uint256 taskId = startTask(spec);
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        assertEq(drawn.length, 4, "all there are");
        sealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        sealAs(claimId, drawn[2], 1, digestOf(claimId, drawn[2]));
        vm.warp(deadlineOf(claimId) + 1);
        audit.redraw(claimId);
        drawFor(claimId);
        assertStage(claimId, Stage.Disclosing);
        disclose(claimId, disclosureOf(claimId));
        revealAll(claimId, 1);
        passWindow(claimId);
        market.settle(taskId);
        assertEq(market.taskOf(taskId).accepted, 1);
        assertConserved();
    }

    // ---------------------------------------------------------------- disclosing

    function sealedClaim() internal returns (uint256 claimId) {
        claimId = claimSlice(startTask());
        drawFor(claimId);
        sealAll(claimId, 1);
    }

    function test_disclosures_are_proved_segment_by_segment() public {
        uint256 claimId = sealedClaim();
        Disclosure memory d = disclosureOf(claimId);
        vm.expectRevert(abi.encodeWithSelector(Audit.NotSolver.selector, solver, rival));
        vm.prank(rival);
        audit.disclose(claimId, d.segments, d.states, d.probes, d.proofs);
        vm.startPrank(solver);
        d.probes[1] = keccak256("something else");
        vm.expectPartialRevert(Audit.NotInClaim.selector);
        audit.disclose(claimId, d.segments, d.states, d.probes, d.proofs);
        d = disclosureOf(claimId);
        d.states[2] = keccak256("something else");
        vm.expectPartialRevert(Audit.NotInClaim.selector);
        audit.disclose(claimId, d.segments, d.states, d.probes, d.proofs);
        d = disclosureOf(claimId);
        d.proofs[0] = d.proofs[3];
        vm.expectPartialRevert(Audit.NotInClaim.selector);
        audit.disclose(claimId, d.segments, d.states, d.probes, d.proofs);
        d = disclosureOf(claimId);
        d.segments[0] = 1;
        vm.expectRevert(abi.encodeWithSelector(Audit.WrongSegment.selector, 0, 1, 0));
        audit.disclose(claimId, d.segments, d.states, d.probes, d.proofs);
        d = disclosureOf(claimId);
        vm.expectRevert(abi.encodeWithSelector(Audit.WrongLength.selector, 3, 4));
        audit.disclose(claimId, d.segments, new bytes32[](3), d.probes, d.proofs);
        vm.expectRevert(abi.encodeWithSelector(Audit.WrongLength.selector, 3, 4));
        audit.disclose(claimId, new uint32[](3), d.states, d.probes, d.proofs);
        vm.expectRevert(abi.encodeWithSelector(Audit.WrongLength.selector, 5, 4));
        audit.disclose(claimId, d.segments, d.states, new bytes32[](5), d.proofs);
        vm.expectRevert(abi.encodeWithSelector(Audit.WrongLength.selector, 0, 4));
        audit.disclose(claimId, d.segments, d.states, d.probes, new bytes32[][](0));
        audit.disclose(claimId, d.segments, d.states, d.probes, d.proofs);
        vm.snapshotGasLastCall("Audit", "disclose 4 segments");
        vm.stopPrank();
        assertStage(claimId, Stage.Revealing);
    }

    function test_nothing_is_disclosed_before_all_have_sealed() public {
        uint256 claimId = claimSlice(startTask());
        drawFor(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        sealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        Disclosure memory d = disclosureOf(claimId);
        vm.expectRevert(abi.encodeWithSelector(Audit.WrongStage.selector, claimId, Stage.Sealing, Stage.Disclosing));
        vm.prank(solver);
        audit.disclose(claimId, d.segments, d.states, d.probes, d.proofs);
    }

    function test_not_disclosing_voids_the_claim_and_costs_a_quarter_of_the_bond() public {
        uint256 claimId = sealedClaim();
        uint256 deadline = deadlineOf(claimId);
        vm.expectRevert(abi.encodeWithSelector(Audit.TooEarly.selector, deadline, block.timestamp));
        audit.lapse(claimId);
        vm.warp(deadline + 1);
        Disclosure memory d = disclosureOf(claimId);
        vm.expectRevert(abi.encodeWithSelector(Audit.TooLate.selector, deadline, deadline + 1));
        vm.prank(solver);
        audit.disclose(claimId, d.segments, d.states, d.probes, d.proofs);
        audit.lapse(claimId);
        assertEq(stake.freeOf(solver), FUNDS / 2 - 8 ether, "solver");
        assertEq(stake.poolWei(), 4 ether, "pool");
        assertEq(stake.freeOf(submitter), 72 ether + 4 ether, "submitter");
        assertEq(stake.lockedOf(solver), 0, "locked");
        assertEq(market.recordOf(solver).withheld, 1);
        assertConserved();
    }

    function test_a_solver_on_trial_cannot_flee_into_a_cheaper_verdict() public {
        uint256 claimId = sealedClaim();
        vm.prank(court);
        market.contest(claimId, challenger);
        vm.warp(deadlineOf(claimId) + 1);
        vm.expectRevert(abi.encodeWithSelector(Market.GamesOpen.selector, claimId, 1));
        audit.lapse(claimId);
        vm.prank(court);
        market.convict(claimId, challenger, 0);
        assertEq(market.recordOf(solver).convictions, 1);
        assertConserved();
    }

    // ---------------------------------------------------------------- revealing

    function disclosedClaim(uint8 verdict) internal returns (uint256 taskId, uint256 claimId) {
        taskId = startTask();
        claimId = claimSlice(taskId);
        drawFor(claimId);
        sealAll(claimId, verdict);
        disclose(claimId, disclosureOf(claimId));
    }

    function test_a_reveal_must_open_its_seal() public {
        (, uint256 claimId) = disclosedClaim(1);
        address[] memory drawn = waiting(claimId, Verdict.Sealed);
        bytes32 digest = digestOf(claimId, drawn[0]);
        vm.startPrank(drawn[0]);
        vm.expectPartialRevert(Audit.SealBroken.selector);
        audit.reveal(claimId, 2, digest, saltOf(drawn[0]));
        vm.expectPartialRevert(Audit.SealBroken.selector);
        audit.reveal(claimId, 1, bytes32(0), saltOf(drawn[0]));
        vm.expectPartialRevert(Audit.SealBroken.selector);
        audit.reveal(claimId, 1, digest, bytes32(0));
        audit.reveal(claimId, 1, digest, saltOf(drawn[0]));
        vm.expectRevert(abi.encodeWithSelector(Audit.WrongVerdict.selector, claimId, drawn[0], Verdict.Same));
        audit.reveal(claimId, 1, digest, saltOf(drawn[0]));
        vm.stopPrank();
        vm.warp(deadlineOf(claimId) + 1);
        vm.expectPartialRevert(Audit.WrongStage.selector);
        audit.lapse(claimId);
        digest = digestOf(claimId, drawn[1]);
        vm.expectPartialRevert(Audit.TooLate.selector);
        vm.prank(drawn[1]);
        audit.reveal(claimId, 1, digest, saltOf(drawn[1]));
    }

    function test_verdicts_beyond_three_are_refused() public {
        uint256 claimId = claimSlice(startTask());
        drawFor(claimId);
        sealAll(claimId, 4);
        disclose(claimId, disclosureOf(claimId));
        address[] memory drawn = waiting(claimId, Verdict.Sealed);
        bytes32 digest = digestOf(claimId, drawn[0]);
        vm.expectRevert(abi.encodeWithSelector(Audit.NoSuchVerdict.selector, 4));
        vm.prank(drawn[0]);
        audit.reveal(claimId, 4, digest, saltOf(drawn[0]));
    }

    function test_a_rubber_stamp_loses_its_seat_and_is_not_paid() public {
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        sealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        sealAs(claimId, drawn[1], 1, keccak256("guessed"));
        disclose(claimId, disclosureOf(claimId));
        revealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        revealAs(claimId, drawn[1], 1, keccak256("guessed"));
        assertEq(seatWei(drawn[1]), 0, "seat gone");
        assertEq(stake.poolWei(), 50 ether, "half to the pool");
        assertEq(stake.burntWei(), 50 ether, "half burnt");
        passWindow(claimId);
        market.settle(taskId);
        assertEq(stake.freeOf(drawn[1]), FUNDS / 2 - 100 ether, "unpaid");
        assertEq(stake.freeOf(drawn[0]), FUNDS / 2 - 100 ether + 8 ether, "paid");
        assertConserved();
    }

    function test_another_verifiers_digest_does_not_help_a_copier() public {
        uint256 claimId = claimSlice(startTask());
        drawFor(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        bytes32 copied = keccak256(abi.encode(claimId, drawn[0], 1, digestOf(claimId, drawn[0]), saltOf(drawn[0])));
        sealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        vm.prank(drawn[1]);
        audit.seal(claimId, copied);
        disclose(claimId, disclosureOf(claimId));
        revealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        bytes32 digest = digestOf(claimId, drawn[0]);
        vm.expectPartialRevert(Audit.SealBroken.selector);
        vm.prank(drawn[1]);
        audit.reveal(claimId, 1, digest, saltOf(drawn[0]));
    }

    function test_who_seals_and_does_not_reveal_is_slashed_and_the_others_carry_the_claim() public {
        (uint256 taskId, uint256 claimId) = disclosedClaim(1);
        address[] memory drawn = waiting(claimId, Verdict.Sealed);
        revealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        uint256 deadline = deadlineOf(claimId);
        vm.warp(deadline + 1);
        assertStage(claimId, Stage.Window);
        assertFalse(audit.passed(claimId), "the window has only begun");
        vm.warp(deadline + 30);
        assertTrue(audit.passed(claimId), "half are in");
        market.settle(taskId);
        assertEq(seatWei(drawn[1]), 75 ether, "a quarter");
        assertTrue(jailed(drawn[1]), "jailed");
        assertEq(stake.freeOf(drawn[0]), FUNDS / 2 - 100 ether + 8 ether, "paid");
        assertConserved();
    }

    function test_different_blocks_until_it_is_disputed() public {
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        sealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        sealAs(claimId, drawn[1], 2, 0);
        disclose(claimId, disclosureOf(claimId));
        revealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        revealAs(claimId, drawn[1], 2, 0);
        passWindow(claimId);
        vm.expectRevert(abi.encodeWithSelector(Audit.NotPassed.selector, claimId));
        market.settle(taskId);
        vm.startPrank(court);
        market.contest(claimId, drawn[1]);
        audit.disputed(claimId, drawn[1]);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(Market.GamesOpen.selector, claimId, 1));
        market.settle(taskId);
        vm.prank(court);
        market.uncontest(claimId, drawn[1]);
        market.settle(taskId);
        assertEq(seatWei(drawn[1]), 100 ether, "kept its word: its bond in the dispute is what it lost");
        assertEq(stake.freeOf(drawn[1]), FUNDS / 2 - 100 ether, "unpaid");
        assertConserved();
    }

    function test_different_without_a_dispute_costs_the_seat_half_of_it_to_the_solver() public {
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        sealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        sealAs(claimId, drawn[1], 2, 0);
        disclose(claimId, disclosureOf(claimId));
        revealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        revealAs(claimId, drawn[1], 2, 0);
        uint256 word = block.timestamp + 120; // clockSeconds: longer than the window
        vm.warp(word);
        vm.expectRevert(abi.encodeWithSelector(Audit.NothingToDo.selector, claimId));
        audit.sweep(claimId);
        assertFalse(audit.passed(claimId), "it may still dispute");
        vm.warp(word + 1);
        assertTrue(audit.passed(claimId), "not any more");
        market.settle(taskId);
        assertEq(seatWei(drawn[1]), 0, "seat");
        assertEq(stake.burntWei(), 50 ether, "burnt");
        assertEq(stake.freeOf(solver), FUNDS / 2 - 32 ether + 7.84 ether + 50 ether, "solver");
        assertConserved();
    }

    function test_who_disputed_before_its_reveal_has_kept_its_word() public {
        Spec memory spec = soleVerifier();
        uint256 taskId = startTask(spec);
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        address only = waiting(claimId, Verdict.Drawn)[0];
        vm.startPrank(court);
        market.contest(claimId, only);
        audit.disputed(claimId, only);
        vm.stopPrank();
        sealAs(claimId, only, 2, 0);
        disclose(claimId, disclosureOf(claimId));
        revealAs(claimId, only, 2, 0);
        passWindow(claimId);
        vm.prank(court);
        market.uncontest(claimId, only);
        market.settle(taskId);
        assertEq(market.taskOf(taskId).accepted, 1, "the only objection was refuted");
    }

    function test_unavailable_by_a_majority_is_drawn_again_and_at_last_void_without_fault() public {
        Spec memory spec = soleVerifier();
        uint256 taskId = startTask(spec);
        uint256 claimId = claimSlice(taskId);
        address[] memory seen = new address[](3);
        for (uint256 round = 0; round < 3; ++round) {
            drawFor(claimId);
            seen[round] = sealAll(claimId, 3)[0];
            for (uint256 i = 0; i < round; ++i) {
                assertTrue(seen[i] != seen[round], "somebody else");
            }
            disclose(claimId, disclosureOf(claimId));
            revealAll(claimId, 3);
            audit.sweep(claimId);
        }
        assertEq(uint256(market.claimOf(claimId).status), uint256(ClaimStatus.Void));
        assertEq(stake.freeOf(solver), FUNDS / 2, "no fault");
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(seatWei(seen[i]), 100 ether, "nor theirs");
        }
        assertStatus(taskId, TaskStatus.Halted);
        assertConserved();
    }

    function test_one_who_cries_unavailable_cannot_stop_an_honest_claim() public {
        Spec memory spec = soleVerifier();
        uint256 taskId = startTask(spec);
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        sealAll(claimId, 3);
        disclose(claimId, disclosureOf(claimId));
        revealAll(claimId, 3);
        audit.sweep(claimId);
        assertStage(claimId, Stage.Drawing);
        auditHonestly(claimId);
        passWindow(claimId);
        market.settle(taskId);
        assertEq(market.taskOf(taskId).accepted, 1);
        assertConserved();
    }

    function test_an_audit_that_decides_nothing_is_drawn_again() public {
        (uint256 taskId, uint256 claimId) = disclosedClaim(1);
        uint256 deadline = deadlineOf(claimId);
        vm.expectRevert(abi.encodeWithSelector(Audit.WrongStage.selector, claimId, Stage.Revealing, Stage.Window));
        audit.sweep(claimId);
        vm.warp(deadline + 30); // nobody has revealed
        vm.expectRevert(abi.encodeWithSelector(Audit.NotPassed.selector, claimId));
        market.settle(taskId);
        audit.sweep(claimId);
        assertEq(stake.poolWei(), 50 ether, "a quarter of two seats");
        assertStage(claimId, Stage.Drawing);
        auditHonestly(claimId);
        passWindow(claimId);
        market.settle(taskId);
        assertConserved();
    }

    function test_an_honest_sweep_has_nothing_to_do() public {
        (, uint256 claimId) = disclosedClaim(1);
        revealAll(claimId, 1);
        passWindow(claimId);
        vm.expectRevert(abi.encodeWithSelector(Audit.NothingToDo.selector, claimId));
        audit.sweep(claimId);
    }

    function test_a_silent_verifier_that_left_its_seat_is_slashed_while_it_is_bound() public {
        uint256 claimId = claimSlice(startTask());
        drawFor(claimId);
        address gone = waiting(claimId, Verdict.Drawn)[0];
        uint256[] memory list = new uint256[](1);
        list[0] = uint160(gone) - 0xbee0;
        vm.prank(gone);
        stake.leaveSeats(list);
        vm.warp(deadlineOf(claimId) + 1);
        audit.redraw(claimId);
        assertEq(seatWei(gone), 90 ether);
    }
}
