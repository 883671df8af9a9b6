// SPDX-License-Identifier: Apache-2.0
// A quorum of k: each of k − 1 verifiers re-runs the whole slice, all must agree, one honest one is enough. And how much a proven solver is sampled.
pragma solidity ^0.8.28;

import {Scene} from "./Scene.sol";
import {Audit} from "../src/market/Audit.sol";
import {Assignment, ClaimStatus, Spec, Stage, TaskStatus, Terms, Verdict} from "../src/market/Types.sol";

contract QuorumTest is Scene {
    function quorumOf(uint8 k) internal pure returns (Spec memory spec) {
        spec = aSpec();
        (spec.assurance, spec.verifiers) = (3, k - 1);
    }

    function drawnOf(uint256 claimId) internal returns (address[] memory) {
        drawFor(claimId);
        return waiting(claimId, Verdict.Drawn);
    }

    function seatWei(address verifier) internal view returns (uint256) {
        return stake.seatOf(uint160(verifier) - 0xbee0).stakeWei;
    }

    function test_each_place_is_dealt_and_paid_every_segment() public {
        uint256 taskId = startTask(quorumOf(4));
        // 3 slices × (8 + 3 verifiers × 4 segments × 4)
        assertEq(stake.escrowOf(taskId), 3 * (8 ether + 48 ether), "escrow");
        assertEq(market.escrowFor(3, 12, someTerms()), stake.escrowOf(taskId), "as the view says");
        uint256 solverBefore = stake.freeOf(solver);
        uint256 claimId = claimSlice(taskId);
        address[] memory drawn = drawnOf(claimId);
        assertEq(drawn.length, 3);
        Assignment[] memory all = audit.assignmentsOf(claimId);
        assertEq(all.length, 12, "every segment for each");
        for (uint256 k = 0; k < 12; ++k) {
            assertEq(all[k].segment, k / 3, "ascending");
            assertEq(all[k].verifier, all[k % 3].verifier, "each place in turn");
        }
        assertEq(digestOf(claimId, drawn[0]), digestOf(claimId, drawn[2]), "of the whole slice");
        sealAll(claimId, 1);
        disclose(claimId, disclosureOf(claimId));
        revealAll(claimId, 1);
        passWindow(claimId);
        market.settle(taskId);
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(stake.freeOf(drawn[i]), FUNDS / 2 - 100 ether + 16 ether, "paid for four segments");
        }
        assertEq(stake.freeOf(solver), solverBefore + 7.84 ether, "solver");
        assertConserved();
    }

    function test_it_never_samples_however_proven_its_solver() public {
        Spec memory spec = quorumOf(2);
        spec.slices = 5;
        uint256 taskId = startTask(spec);
        for (uint256 i = 0; i < 4; ++i) {
            acceptSlice(taskId);
        }
        assertEq(drawnOf(claimSlice(taskId)).length, 1);
        assertEq(audit.assignmentsOf(market.claimCount()).length, 4);
    }

    /// Two who lie for the solver and one honest one: it is enough.
    function test_one_honest_verifier_stops_a_claim_that_all_others_attest() public {
        uint256 taskId = startTask(quorumOf(4));
        uint256 claimId = claimSlice(taskId);
        address[] memory drawn = drawnOf(claimId);
        for (uint256 i = 0; i < 2; ++i) {
            sealAs(claimId, drawn[i], 1, digestOf(claimId, drawn[i]));
        }
        sealAs(claimId, drawn[2], 2, 0);
        disclose(claimId, disclosureOf(claimId));
        for (uint256 i = 0; i < 2; ++i) {
            revealAs(claimId, drawn[i], 1, digestOf(claimId, drawn[i]));
        }
        revealAs(claimId, drawn[2], 2, 0);
        vm.warp(block.timestamp + 31);
        assertFalse(audit.passed(claimId), "one is missing");
        vm.startPrank(court);
        market.contest(claimId, drawn[2]);
        audit.disputed(claimId, drawn[2]);
        market.convict(claimId, drawn[2], 2);
        vm.stopPrank();
        assertStatus(taskId, TaskStatus.Halted);
        assertEq(seatWei(drawn[0]), 98 ether, "both attested it: an eighth of the bond between them");
        assertEq(seatWei(drawn[1]), 98 ether, "both attested it");
        assertEq(seatWei(drawn[2]), 100 ether, "the honest one keeps its seat");
        assertEq(stake.freeOf(drawn[2]), FUNDS / 2 - 100 ether + 16 ether, "and gets half of the bond");
        assertConserved();
    }

    function test_a_refuted_objection_does_not_count_and_the_others_carry_the_claim() public {
        uint256 taskId = startTask(quorumOf(3));
        uint256 claimId = claimSlice(taskId);
        address[] memory drawn = drawnOf(claimId);
        sealAs(claimId, drawn[0], 2, 0);
        sealAs(claimId, drawn[1], 1, digestOf(claimId, drawn[1]));
        disclose(claimId, disclosureOf(claimId));
        revealAs(claimId, drawn[0], 2, 0);
        revealAs(claimId, drawn[1], 1, digestOf(claimId, drawn[1]));
        vm.startPrank(court);
        market.contest(claimId, drawn[0]);
        audit.disputed(claimId, drawn[0]);
        vm.stopPrank();
        passWindow(claimId);
        vm.prank(court);
        market.uncontest(claimId, drawn[0]);
        market.settle(taskId);
        assertEq(market.taskOf(taskId).accepted, 1);
        assertEq(stake.freeOf(drawn[0]), FUNDS / 2 - 100 ether, "unpaid");
        assertConserved();
    }

    /// A stamp, a silence after sealing, an idle *different*, an *unavailable*: each is one short, and others are drawn for the whole slice again.
    function test_any_other_word_is_drawn_again() public {
        vm.prank(rival);
        stake.takeSeats(1);
        vm.prank(challenger);
        stake.takeSeats(1);
        vm.warp(block.timestamp + 1);
        for (uint256 kind = 0; kind < 4; ++kind) {
            uint256 saved = vm.snapshotState();
            uint256 taskId = startTask(quorumOf(3));
            uint256 claimId = claimSlice(taskId);
            address[] memory drawn = drawnOf(claimId);
            sealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
            uint8 word = kind == 0 || kind == 1 ? 1 : uint8(kind);
            sealAs(claimId, drawn[1], word, bytes32(kind));
            disclose(claimId, disclosureOf(claimId));
            revealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
            if (kind != 1) revealAs(claimId, drawn[1], word, bytes32(kind));
            vm.warp(block.timestamp + 200);
            assertFalse(audit.passed(claimId), "one short");
            audit.sweep(claimId);
            assertStage(claimId, Stage.Drawing);
            auditHonestly(claimId);
            passWindow(claimId);
            market.settle(taskId);
            assertConserved();
            vm.revertToState(saved);
        }
    }

    function test_half_is_not_enough_and_what_cannot_be_filled_is_void_without_fault() public {
        uint256 taskId = startTask(quorumOf(6)); // five places, four seats
        uint256 before = stake.freeOf(solver) + stake.lockedOf(solver);
        uint256 claimId = claimSlice(taskId);
        assertEq(drawnOf(claimId).length, 4);
        sealAll(claimId, 1);
        assertStage(claimId, Stage.Drawing); // for the fifth
        (,,, uint256 sealed_,, uint256 round,) = audit.stageOf(claimId);
        assertEq(sealed_, 4);
        assertEq(round, 1);
        drawFor(claimId);
        assertStage(claimId, Stage.Drawing); // nobody is left
        vm.warp(deadlineOf(claimId));
        drawFor(claimId);
        assertEq(uint256(market.claimOf(claimId).status), uint256(ClaimStatus.Void));
        assertEq(stake.freeOf(solver), before, "no fault");
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            assertEq(stake.seatOf(i).stakeWei, 100 ether, "nor theirs");
        }
        assertConserved();
    }

    function test_a_seat_that_comes_in_time_completes_it() public {
        uint256 taskId = startTask(quorumOf(6));
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        vm.prank(rival);
        stake.takeSeats(1);
        sealAll(claimId, 1);
        mine();
        audit.draw(claimId); // seats count as they stand at the new anchor, which came in the second of the last seal
        if (stageOf(claimId) == Stage.Drawing) drawFor(claimId);
        assertEq(waiting(claimId, Verdict.Drawn)[0], rival);
        sealAll(claimId, 1);
        assertStage(claimId, Stage.Disclosing);
        disclose(claimId, disclosureOf(claimId));
        revealAll(claimId, 1);
        passWindow(claimId);
        market.settle(taskId);
        assertEq(stake.freeOf(rival), FUNDS / 2 - 100 ether + 16 ether, "paid");
        assertConserved();
    }

    function test_the_silent_of_a_quorum_are_replaced() public {
        uint256 taskId = startTask(quorumOf(3));
        uint256 claimId = claimSlice(taskId);
        address[] memory drawn = drawnOf(claimId);
        sealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        vm.warp(deadlineOf(claimId) + 1);
        audit.redraw(claimId);
        assertEq(seatWei(drawn[1]), 90 ether, "a tenth");
        drawFor(claimId);
        sealAll(claimId, 1);
        disclose(claimId, disclosureOf(claimId));
        revealAll(claimId, 1);
        passWindow(claimId);
        market.settle(taskId);
        assertConserved();
    }

    /// The market cannot void a claim in dispute; a verifier must be able to seal all the same.
    function test_a_seal_of_the_last_round_is_not_refused_while_a_game_is_open() public {
        uint256 taskId = startTask(quorumOf(6));
        uint256 claimId = claimSlice(taskId);
        vm.prank(court);
        market.contest(claimId, challenger);
        // two rounds in which nobody seals jail everybody; then one seat comes
        drawFor(claimId);
        vm.warp(deadlineOf(claimId) + 1);
        audit.redraw(claimId);
        vm.prank(rival);
        stake.takeSeats(1);
        vm.warp(block.timestamp + 1);
        drawFor(claimId);
        if (stageOf(claimId) == Stage.Drawing) drawFor(claimId);
        assertEq(waiting(claimId, Verdict.Drawn)[0], rival);
        sealAll(claimId, 1); // round 1 of 3: on to the next
        assertStage(claimId, Stage.Drawing);
        vm.prank(challenger);
        stake.takeSeats(1);
        vm.warp(block.timestamp + 1);
        drawFor(claimId);
        if (stageOf(claimId) == Stage.Drawing) drawFor(claimId);
        assertEq(waiting(claimId, Verdict.Drawn)[0], challenger);
        sealAll(claimId, 1); // the last round: waits for its time instead of reverting
        assertStage(claimId, Stage.Sealing);
        vm.warp(deadlineOf(claimId) + 1);
        vm.expectRevert();
        audit.redraw(claimId);
        vm.prank(court);
        market.uncontest(claimId, challenger);
        audit.redraw(claimId);
        assertEq(uint256(market.claimOf(claimId).status), uint256(ClaimStatus.Void));
        assertConserved();
    }

    function test_the_largest_quorum_of_the_longest_slice_fits_into_a_block() public {
        Spec memory spec = quorumOf(16);
        spec.checkpointsPerSlice = 256;
        spec.operationsPerStep = 1_000_000;
        for (uint256 i = 0; i < 11; ++i) {
            address who = address(uint160(0xfa00 + i));
            token.mint(who, 100 ether);
            vm.startPrank(who);
            token.approve(address(stake), 100 ether);
            stake.deposit(100 ether);
            stake.takeSeats(1);
            vm.stopPrank();
            people.push(who);
        }
        vm.warp(block.timestamp + 1);
        Terms memory terms = Terms({slicePriceWei: 1 ether, auditFeeWei: 0.01 ether, bondWei: 4 ether});
        bytes memory signature = sign(SOLVER_KEY, anOffer(solver));
        spec.slices = 1;
        vm.prank(submitter);
        uint256 taskId = market.submit(spec, terms, anOffer(solver), signature, noPermit());
        vm.prank(solver);
        market.confirm(taskId);
        uint256 claimId = claimSlice(taskId);
        mine();
        audit.draw(claimId);
        assertLe(vm.snapshotGasLastCall("Quorum", "draw 15 verifiers of 256 segments"), 12_000_000, "draw: two fifths of a block of 30 million");
        assertEq(waiting(claimId, Verdict.Drawn).length, 15, "all places");
        sealAll(claimId, 1);
        Disclosure memory d = disclosureOf(claimId);
        vm.prank(solver);
        audit.disclose(claimId, d.segments, d.states, d.probes, d.proofs);
        assertLe(vm.snapshotGasLastCall("Quorum", "disclose 256 segments to 15 verifiers"), 12_000_000, "disclose: two fifths");
    }

    // ---------------------------------------------------------------- sampling

    function test_a_proven_solver_is_sampled_half_as_much_and_never_less_than_once() public {
        Spec memory spec = aSpec();
        (spec.slices, spec.verifiers, spec.segments) = (40, 3, 1);
        uint256 taskId = startTask(spec);
        for (uint256 slice = 0; slice < 32; ++slice) {
            uint256 audited = audit.assignmentsOf(acceptSlice(taskId)).length;
            assertEq(audited, slice < 2 ? 4 : 3, "until it is proven");
        }
        assertEq(audit.assignmentsOf(acceptSlice(taskId)).length, 2, "half of three, rounded up");
        // a fault: from the beginning
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        sealAll(claimId, 1);
        vm.warp(deadlineOf(claimId) + 1);
        audit.lapse(claimId);
        assertEq(market.recordOf(solver).streak, 0);
        taskId = startTask(spec);
        assertEq(audit.assignmentsOf(acceptSlice(taskId)).length, 4, "whole again");
    }

    function test_a_single_segment_stays_a_single_segment() public {
        Spec memory spec = aSpec();
        (spec.slices, spec.verifiers, spec.segments) = (34, 1, 1);
        uint256 taskId = startTask(spec);
        for (uint256 slice = 0; slice < 33; ++slice) {
            acceptSlice(taskId);
        }
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        assertEq(audit.assignmentsOf(claimId).length, 1);
    }

    function test_a_claim_that_is_void_without_fault_puts_its_solver_on_probation_again() public {
        Spec memory spec = aSpec();
        (spec.slices, spec.verifiers, spec.segments) = (9, 1, 2);
        uint256 taskId = startTask(spec);
        acceptSlice(taskId);
        acceptSlice(taskId);
        uint256 claimId = claimSlice(taskId);
        uint32[] memory first;
        for (uint256 round = 0; round < 3; ++round) {
            drawFor(claimId);
            Disclosure memory d = disclosureOf(claimId);
            if (round == 0) first = d.segments;
            assertEq(keccak256(abi.encode(d.segments)), keccak256(abi.encode(first)), "withholding brings no luckier draw");
            sealAll(claimId, 3);
            disclose(claimId, d);
            revealAll(claimId, 3);
            audit.sweep(claimId);
        }
        assertEq(uint256(market.claimOf(claimId).status), uint256(ClaimStatus.Void));
        assertEq(market.recordOf(solver).streak, 0, "probation");
        assertEq(stake.lockedOf(solver), 0, "bond back");
        assertConserved();
    }
}
