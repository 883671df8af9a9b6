// SPDX-License-Identifier: Apache-2.0
// A task's life, path by path: what each pays, to the wei, and what each refuses.
pragma solidity ^0.8.28;

import {Scene} from "./Scene.sol";
import {Merkle} from "../src/dispute/Merkle.sol";
import {Intake} from "../src/market/Intake.sol";
import {Market} from "../src/market/Market.sol";
import {Signature} from "../src/market/Signature.sol";
import {SpecLimits} from "../src/market/SpecLimits.sol";
import {Audit} from "../src/market/Audit.sol";
import {Stake} from "../src/market/Stake.sol";
import {ClaimStatus, ClaimView, Offer, Permit, Record, Spec, Stage, Task, TaskStatus, Terms, Verdict} from "../src/market/Types.sol";

contract MarketTest is Scene {
    // 3 slices × (8 + 4 segments × 4)
    uint256 internal constant ESCROW = 72 ether;

    // ---------------------------------------------------------------- submitting

    function test_one_transaction_with_a_permit_escrows_the_worst_case() public {
        vm.prank(submitter);
        token.approve(address(stake), 0);
        Offer memory offer = anOffer(solver);
        bytes memory signature = sign(SOLVER_KEY, offer);
        Permit memory permit = permitFrom(SUBMITTER_KEY, ESCROW);
        vm.prank(submitter);
        uint256 taskId = market.submit(aSpec(), someTerms(), offer, signature, permit);
        vm.snapshotGasLastCall("Market", "submit");
        assertEq(taskId, 1);
        assertEq(stake.escrowOf(1), ESCROW, "escrow");
        assertEq(stake.freeOf(submitter), 0, "free");
        assertEq(token.balanceOf(submitter), FUNDS - ESCROW, "wallet");
        Task memory task = market.taskOf(1);
        assertEq(task.submitter, submitter);
        assertEq(task.solver, solver);
        assertEq(task.state, aSpec().initialState, "state");
        assertEq(task.deadline, block.timestamp + 60, "confirm by");
        assertStatus(1, TaskStatus.Offered);
        assertEq(keccak256(abi.encode(market.specOf(1))), keccak256(abi.encode(aSpec())), "spec");
        assertEq(market.capacityUsed(market.offerHash(offer)), 1, "capacity");
        assertConserved();
    }

    function test_a_free_balance_is_used_before_anything_is_pulled() public {
        vm.prank(submitter);
        stake.deposit(70 ether);
        submitTask(aSpec());
        assertEq(stake.freeOf(submitter), 0, "free");
        assertEq(token.balanceOf(submitter), FUNDS - ESCROW, "wallet");
    }

    function test_a_permit_that_somebody_else_brought_first_still_starts_the_task() public {
        vm.prank(submitter);
        token.approve(address(stake), 0);
        Permit memory p = permitFrom(SUBMITTER_KEY, ESCROW);
        token.permit(submitter, address(stake), p.amountWei, p.deadline, p.v, p.r, p.s);
        Offer memory offer = anOffer(solver);
        bytes memory signature = sign(SOLVER_KEY, offer);
        vm.prank(submitter);
        market.submit(aSpec(), someTerms(), offer, signature, p);
        assertEq(stake.escrowOf(1), ESCROW, "escrow");
    }

    function test_the_offer_digest_is_eip712() public view {
        Offer memory o = anOffer(solver);
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Bitloom"),
                keccak256("1"),
                block.chainid,
                address(market)
            )
        );
        bytes32 typehash = keccak256(
            "Offer(address solver,uint256 weiPerTeraop,uint64 memoryBytes,uint64 operationsPerSecond,uint32 capacity,uint64 validUntil,uint8 minAssurance,bytes32 salt,string contact)"
        );
        bytes memory head = abi.encode(typehash, o.solver, o.weiPerTeraop, o.memoryBytes, o.operationsPerSecond);
        bytes memory tail = abi.encode(o.capacity, o.validUntil, o.minAssurance, o.salt, keccak256(bytes(o.contact)));
        bytes32 want = keccak256(abi.encodePacked("\x19\x01", domain, keccak256(abi.encodePacked(head, tail))));
        assertEq(market.offerHash(o), want, "digest");
    }

    function refuseOffer(Offer memory offer, bytes memory signature, bytes memory error_) internal {
        vm.expectRevert(error_);
        vm.prank(submitter);
        market.submit(aSpec(), someTerms(), offer, signature, noPermit());
    }

    function test_refuses_a_signature_by_another_key() public {
        Offer memory offer = anOffer(solver);
        refuseOffer(offer, sign(RIVAL_KEY, offer), abi.encodeWithSelector(Intake.OfferSignedBy.selector, rival, solver));
    }

    function test_refuses_a_malleated_signature() public {
        Offer memory offer = anOffer(solver);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(SOLVER_KEY, market.offerHash(offer));
        uint256 n = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        bytes32 high = bytes32(n - uint256(s));
        refuseOffer(offer, abi.encodePacked(r, high, v == 27 ? uint8(28) : uint8(27)), abi.encodeWithSelector(Signature.HighSignatureS.selector, high));
        refuseOffer(offer, abi.encodePacked(r, s, v - 27), abi.encodeWithSelector(Signature.BadSignatureV.selector, v - 27));
        refuseOffer(offer, abi.encodePacked(r, s), abi.encodeWithSelector(Signature.BadSignatureLength.selector, 64));
    }

    function test_refuses_a_signature_that_recovers_to_nobody() public {
        Offer memory offer = anOffer(address(0));
        bytes32 digest = market.offerHash(offer);
        refuseOffer(offer, abi.encodePacked(bytes32(0), bytes32(uint256(1)), uint8(27)), abi.encodeWithSelector(Signature.NoSigner.selector, digest));
    }

    function test_refuses_an_expired_offer() public {
        Offer memory offer = anOffer(solver);
        offer.validUntil = uint64(block.timestamp - 1);
        refuseOffer(offer, sign(SOLVER_KEY, offer), abi.encodeWithSelector(Intake.OfferExpired.selector, offer.validUntil, block.timestamp));
    }

    function test_refuses_less_assurance_than_the_offer_wants() public {
        Offer memory offer = anOffer(solver);
        offer.minAssurance = 2;
        refuseOffer(offer, sign(SOLVER_KEY, offer), abi.encodeWithSelector(Intake.OfferWantsAssurance.selector, 2, 1));
    }

    function test_refuses_a_long_contact_and_an_absurd_price() public {
        Offer memory offer = anOffer(solver);
        offer.contact = string(new bytes(513));
        refuseOffer(offer, sign(SOLVER_KEY, offer), abi.encodeWithSelector(Intake.ContactTooLong.selector, 513, 512));
        offer = anOffer(solver);
        offer.weiPerTeraop = 1 << 128;
        refuseOffer(
            offer,
            sign(SOLVER_KEY, offer),
            abi.encodeWithSelector(Intake.AmountTooLarge.selector, bytes32("weiPerTeraop"), 1 << 128, (1 << 128) - 1)
        );
    }

    function test_capacity_counts_the_tasks_that_an_offer_is_bound_to() public {
        Offer memory offer = anOffer(solver);
        submitTask(aSpec());
        submitTask(aSpec());
        uint256 third = submitTask(aSpec());
        refuseOffer(offer, sign(SOLVER_KEY, offer), abi.encodeWithSelector(Market.OfferFull.selector, market.offerHash(offer), 3));
        vm.prank(solver);
        market.expire(third);
        submitTask(aSpec());
        assertEq(market.capacityUsed(market.offerHash(offer)), 3);
    }

    function refuseTerms(Terms memory terms, bytes memory error_) internal {
        Offer memory offer = anOffer(solver);
        bytes memory signature = sign(SOLVER_KEY, offer);
        vm.expectRevert(error_);
        vm.prank(submitter);
        market.submit(aSpec(), terms, offer, signature, noPermit());
    }

    function test_refuses_terms_below_the_offer() public {
        Terms memory terms = someTerms();
        terms.slicePriceWei = 8 ether - 1;
        refuseTerms(terms, abi.encodeWithSelector(Intake.PriceTooLow.selector, 8 ether - 1, 8 ether));
        terms = someTerms();
        terms.auditFeeWei = 2 ether - 1;
        refuseTerms(terms, abi.encodeWithSelector(Intake.AuditFeeTooLow.selector, 2 ether - 1, 2 ether));
        terms = someTerms();
        terms.bondWei = 8 ether - 1;
        refuseTerms(terms, abi.encodeWithSelector(Intake.BondTooLow.selector, 8 ether - 1, 8 ether));
    }

    function test_prices_round_up() public {
        Offer memory offer = anOffer(solver);
        offer.weiPerTeraop = 1; // 8e9 operations cost 0.008 wei: one
        bytes memory signature = sign(SOLVER_KEY, offer);
        vm.expectRevert(abi.encodeWithSelector(Intake.PriceTooLow.selector, 0, 1));
        vm.prank(submitter);
        market.submit(aSpec(), Terms(0, 0, 0), offer, signature, noPermit());
        vm.prank(submitter);
        market.submit(aSpec(), Terms(1, 1, 1), offer, signature, noPermit());
        assertEq(stake.escrowOf(1), 3 * (1 + 4), "escrow");
    }

    function refuseSpec(Spec memory spec, bytes32 field, uint256 value, uint256 low, uint256 high) internal {
        Offer memory offer = anOffer(solver);
        offer.minAssurance = 0;
        bytes memory signature = sign(SOLVER_KEY, offer);
        vm.expectRevert(abi.encodeWithSelector(SpecLimits.SpecOutOfBounds.selector, field, value, low, high));
        vm.prank(submitter);
        market.submit(spec, someTerms(), offer, signature, noPermit());
    }

    function test_refuses_specs_out_of_bounds() public {
        Spec memory spec = aSpec();
        spec.graphId = 0;
        refuseSpec(spec, "graphId", 0, 1, type(uint256).max);
        spec = aSpec();
        spec.initialState = 0;
        refuseSpec(spec, "initialState", 0, 1, type(uint256).max);
        spec = aSpec();
        spec.exprs = (1 << 20) + 1;
        refuseSpec(spec, "exprs", spec.exprs, 1, 1 << 20);
        spec = aSpec();
        spec.stateSlots = 0;
        refuseSpec(spec, "stateSlots", 0, 1, 1 << 16);
        spec = aSpec();
        spec.dataSlots = (1 << 16) + 1;
        refuseSpec(spec, "dataSlots", spec.dataSlots, 0, 1 << 16);
        spec = aSpec();
        spec.probe = spec.exprs;
        refuseSpec(spec, "probe", 300, 0, 299);
        spec = aSpec();
        spec.stepsPerCheckpoint = 0;
        refuseSpec(spec, "stepsPerCheckpoint", 0, 1, 1 << 24);
        spec = aSpec();
        spec.checkpointsPerSlice = 257;
        refuseSpec(spec, "checkpointsPerSlice", 257, 1, 256);
        spec = aSpec();
        spec.slices = 0;
        refuseSpec(spec, "slices", 0, 1, 1 << 20);
        spec = aSpec();
        spec.operationsPerStep = 0;
        refuseSpec(spec, "operationsPerStep", 0, 1, type(uint64).max);
        spec = aSpec();
        spec.assurance = 4;
        refuseSpec(spec, "assurance", 4, 0, 3);
        spec = aSpec();
        (spec.assurance, spec.verifiers) = (3, 0);
        refuseSpec(spec, "verifiers", 0, 1, 15);
        spec.verifiers = 16;
        refuseSpec(spec, "verifiers", 16, 1, 15);
        spec = aSpec();
        spec.decoyOneIn = 7;
        refuseSpec(spec, "decoyOneIn", 7, 8, 1024);
        spec.decoyOneIn = 1025;
        refuseSpec(spec, "decoyOneIn", 1025, 8, 1024);
        (spec.decoyOneIn, spec.assurance) = (64, 0);
        refuseSpec(spec, "decoyOneIn", 64, 8, 0);
        spec = aSpec();
        spec.verifiers = 0;
        refuseSpec(spec, "verifiers", 0, 1, 16);
        spec = aSpec();
        spec.verifiers = 17;
        refuseSpec(spec, "verifiers", 17, 1, 16);
    }

    function test_refuses_windows_out_of_bounds() public {
        Spec memory spec = aSpec();
        spec.confirmSeconds = 19;
        refuseSpec(spec, "confirmSeconds", 19, 20, 1 days);
        spec = aSpec();
        spec.sliceSeconds = uint32(30 days + 1);
        refuseSpec(spec, "sliceSeconds", 30 days + 1, 20, 30 days);
        spec = aSpec();
        spec.sealSeconds = 19;
        refuseSpec(spec, "sealSeconds", 19, 20, 1 days);
        spec = aSpec();
        spec.discloseSeconds = uint32(1 days + 1);
        refuseSpec(spec, "discloseSeconds", 1 days + 1, 20, 1 days);
        spec = aSpec();
        spec.revealSeconds = 0;
        refuseSpec(spec, "revealSeconds", 0, 20, 1 days);
        spec = aSpec();
        spec.challengeSeconds = 0;
        refuseSpec(spec, "challengeSeconds", 0, 1, 1 days);
        spec = aSpec();
        spec.clockSeconds = type(uint32).max;
        refuseSpec(spec, "clockSeconds", type(uint32).max, 20, 1 days);
    }

    function test_refuses_a_submitter_without_money() public {
        Offer memory offer = anOffer(solver);
        bytes memory signature = sign(SOLVER_KEY, offer);
        vm.expectPartialRevert(Stake.TokenRefused.selector);
        vm.prank(address(0xbad));
        market.submit(aSpec(), someTerms(), offer, signature, noPermit());
    }

    // ---------------------------------------------------------------- confirming

    function test_confirming_locks_the_bond() public {
        uint256 taskId = submitTask(aSpec());
        vm.prank(solver);
        market.confirm(taskId);
        vm.snapshotGasLastCall("Market", "confirm");
        assertEq(stake.lockedOf(solver), 32 ether, "locked");
        assertEq(market.taskOf(taskId).deadline, block.timestamp + 600, "claim by");
        assertStatus(taskId, TaskStatus.Running);
        vm.expectRevert(abi.encodeWithSelector(Market.WrongStatus.selector, taskId, TaskStatus.Running));
        vm.prank(solver);
        market.confirm(taskId);
    }

    function test_only_the_solver_confirms_and_only_in_time() public {
        uint256 taskId = submitTask(aSpec());
        vm.expectRevert(abi.encodeWithSelector(Market.NotSolver.selector, taskId, solver, rival));
        vm.prank(rival);
        market.confirm(taskId);
        uint256 deadline = block.timestamp + 60;
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(Market.TooLate.selector, deadline, deadline + 1));
        vm.prank(solver);
        market.confirm(taskId);
    }

    function test_a_solver_without_the_bond_cannot_confirm() public {
        vm.prank(solver);
        stake.withdraw(FUNDS / 2 - 31 ether);
        uint256 taskId = submitTask(aSpec());
        vm.expectRevert(abi.encodeWithSelector(Stake.FreeTooLow.selector, solver, 31 ether, 32 ether));
        vm.prank(solver);
        market.confirm(taskId);
    }

    function test_unconfirmed_tasks_expire_and_refund_everything() public {
        uint256 taskId = submitTask(aSpec());
        uint256 deadline = block.timestamp + 60;
        vm.expectRevert(abi.encodeWithSelector(Market.TooEarly.selector, deadline, block.timestamp));
        market.expire(taskId);
        vm.warp(deadline + 1);
        market.expire(taskId);
        assertEq(stake.freeOf(submitter), ESCROW, "refund");
        assertEq(stake.escrowOf(taskId), 0, "escrow");
        assertStatus(taskId, TaskStatus.Halted);
        assertEq(market.capacityUsed(market.offerHash(anOffer(solver))), 0);
        vm.expectRevert(abi.encodeWithSelector(Market.WrongStatus.selector, taskId, TaskStatus.Halted));
        market.expire(taskId);
        vm.prank(submitter);
        stake.withdraw(ESCROW);
        assertEq(token.balanceOf(submitter), FUNDS, "wallet");
        assertConserved();
    }

    function test_a_solver_may_decline_at_once() public {
        uint256 taskId = submitTask(aSpec());
        vm.prank(solver);
        market.expire(taskId);
        assertEq(stake.freeOf(submitter), ESCROW, "refund");
    }

    function test_the_submitter_may_cancel_what_nobody_confirmed_but_not_before_its_time() public {
        uint256 taskId = submitTask(aSpec());
        uint256 deadline = block.timestamp + 60;
        vm.expectRevert(abi.encodeWithSelector(Market.TooEarly.selector, deadline, block.timestamp));
        vm.prank(submitter);
        market.cancel(taskId);
        vm.expectRevert(abi.encodeWithSelector(Market.NotSubmitter.selector, taskId, submitter, rival));
        vm.prank(rival);
        market.cancel(taskId);
        vm.warp(deadline + 1);
        vm.prank(submitter);
        market.cancel(taskId);
        assertStatus(taskId, TaskStatus.Cancelled);
        assertEq(stake.freeOf(submitter), ESCROW, "refund");
        vm.expectRevert(abi.encodeWithSelector(Market.WrongStatus.selector, taskId, TaskStatus.Cancelled));
        vm.prank(submitter);
        market.cancel(taskId);
    }

    // ---------------------------------------------------------------- claiming

    function test_a_claim_stands_with_its_states_and_begins_its_audit() public {
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        vm.snapshotGasLastCall("Market", "claim");
        ClaimView memory c = market.claimView(claimId);
        assertEq(c.taskId, taskId);
        assertEq(c.solver, solver);
        assertEq(c.root, Merkle.itemsRoot(leavesOf(taskId, 0)), "root");
        assertEq(c.startState, aSpec().initialState, "start");
        assertEq(c.endState, stateOf(taskId, 0, 3), "end");
        assertTrue(c.open, "open");
        assertStage(claimId, Stage.Drawing);
        vm.expectRevert(abi.encodeWithSelector(Market.ClaimOpen.selector, taskId, claimId));
        vm.prank(solver);
        market.claim(taskId, 0, c.root, c.endState, 0, 0, new bytes32[](2));
    }

    function test_refuses_claims_out_of_turn() public {
        uint256 taskId = submitTask(aSpec());
        vm.expectRevert(abi.encodeWithSelector(Market.WrongStatus.selector, taskId, TaskStatus.Offered));
        vm.prank(solver);
        market.claim(taskId, 0, 0, 0, 0, 0, new bytes32[](2));
        vm.prank(solver);
        market.confirm(taskId);
        vm.expectRevert(abi.encodeWithSelector(Market.NotSolver.selector, taskId, solver, rival));
        vm.prank(rival);
        market.claim(taskId, 0, 0, 0, 0, 0, new bytes32[](2));
        vm.expectRevert(abi.encodeWithSelector(Market.WrongSlice.selector, 1, 0));
        vm.prank(solver);
        market.claim(taskId, 1, 0, 0, 0, 0, new bytes32[](2));
        uint256 deadline = block.timestamp + 600;
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(Market.TooLate.selector, deadline, deadline + 1));
        vm.prank(solver);
        market.claim(taskId, 0, 0, 0, 0, 0, new bytes32[](2));
    }

    function test_refuses_an_end_that_is_not_the_roots_last_leaf() public {
        uint256 taskId = startTask();
        bytes32[] memory leaves = leavesOf(taskId, 0);
        bytes32 root = Merkle.itemsRoot(leaves);
        // the third leaf, honestly proved, is not the last
        bytes32 commit = sha256(abi.encodePacked(probeOf(taskId, 0, 2)));
        bytes32 end = stateOf(taskId, 0, 2);
        bytes32[] memory proof = proofOf(leaves, 2);
        vm.expectRevert(abi.encodeWithSelector(Market.EndNotInRoot.selector, root, leaves[2]));
        vm.prank(solver);
        market.claim(taskId, 0, root, end, commit, 0, proof);
        // the last leaf with a proof too short
        commit = sha256(abi.encodePacked(probeOf(taskId, 0, 3)));
        end = stateOf(taskId, 0, 3);
        vm.expectRevert(abi.encodeWithSelector(Market.EndNotInRoot.selector, root, leaves[3]));
        vm.prank(solver);
        market.claim(taskId, 0, root, end, commit, 0, new bytes32[](1));
    }

    // ---------------------------------------------------------------- settling

    function test_a_whole_task_pays_everybody_to_the_wei() public {
        uint256 taskId = startTask();
        uint256 before = stake.freeOf(solver) + stake.lockedOf(solver);
        uint256 seatsBefore = 0;
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            seatsBefore += stake.freeOf(verifiers[i]);
        }
        for (uint256 slice = 0; slice < 3; ++slice) {
            uint256 claimId = acceptSlice(taskId);
            assertEq(uint256(market.claimOf(claimId).status), uint256(ClaimStatus.Settled));
            assertEq(market.taskOf(taskId).accepted, slice + 1, "accepted");
            assertEq(market.taskOf(taskId).state, stateOf(taskId, slice, 3), "state");
            assertConserved();
        }
        assertStatus(taskId, TaskStatus.Done);
        // a fiftieth of each slice is the pool's
        assertEq(stake.freeOf(solver), before + 3 * 7.84 ether, "solver");
        assertEq(stake.poolWei(), 3 * 0.16 ether, "pool");
        assertEq(stake.lockedOf(solver), 0, "bond back");
        uint256 seatsAfter = 0;
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            seatsAfter += stake.freeOf(verifiers[i]);
        }
        // probation: 4 + 4 segments, then 2 verifiers × 1
        assertEq(seatsAfter - seatsBefore, 10 * 4 ether, "verifiers");
        assertEq(stake.freeOf(submitter), ESCROW - 24 ether - 40 ether, "refund");
        assertEq(stake.escrowOf(taskId), 0, "escrow");
        assertEq(market.capacityUsed(market.offerHash(anOffer(solver))), 0, "capacity");
        Record memory record = market.recordOf(solver);
        assertEq(record.accepted, 3);
        assertEq(record.streak, 3);
    }

    function test_the_happy_path_of_one_slice_costs() public {
        uint256 taskId = startTask();
        acceptSlice(taskId);
        acceptSlice(taskId);
        // past probation: two verifiers, one segment each
        uint256 claimId = claimSlice(taskId);
        vm.snapshotGasLastCall("Market", "claim spot");
        mine();
        audit.draw(claimId);
        vm.snapshotGasLastCall("Market", "draw 2 verifiers");
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        assertEq(drawn.length, 2);
        sealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        vm.snapshotGasLastCall("Market", "seal");
        sealAs(claimId, drawn[1], 1, digestOf(claimId, drawn[1]));
        disclose(claimId, disclosureOf(claimId));
        vm.snapshotGasLastCall("Market", "disclose 2 segments");
        revealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        vm.snapshotGasLastCall("Market", "reveal");
        revealAs(claimId, drawn[1], 1, digestOf(claimId, drawn[1]));
        passWindow(claimId);
        market.settle(taskId);
        vm.snapshotGasLastCall("Market", "settle the last slice");
    }

    function test_nothing_settles_before_its_audit_has_passed() public {
        uint256 taskId = startTask();
        vm.expectRevert(abi.encodeWithSelector(Market.NoOpenClaim.selector, taskId));
        market.settle(taskId);
        uint256 claimId = claimSlice(taskId);
        vm.expectRevert(abi.encodeWithSelector(Audit.WrongStage.selector, claimId, Stage.Drawing, Stage.Window));
        market.settle(taskId);
        auditHonestly(claimId);
        vm.expectRevert(abi.encodeWithSelector(Audit.NotPassed.selector, claimId));
        market.settle(taskId);
        passWindow(claimId);
        market.settle(taskId);
        vm.expectRevert(abi.encodeWithSelector(Market.NoOpenClaim.selector, taskId));
        market.settle(taskId);
    }

    function test_without_assurance_only_the_window_is_waited_for() public {
        Spec memory spec = aSpec();
        (spec.assurance, spec.verifiers, spec.segments) = (0, 0, 0);
        uint256 taskId = startTask(spec);
        uint256 claimId = claimSlice(taskId);
        assertStage(claimId, Stage.Window);
        vm.expectRevert(abi.encodeWithSelector(Audit.NotPassed.selector, claimId));
        market.settle(taskId);
        vm.warp(block.timestamp + 30);
        market.settle(taskId);
        assertEq(market.taskOf(taskId).accepted, 1);
    }

    // ---------------------------------------------------------------- the court

    function test_an_open_dispute_blocks_settlement_until_it_ends() public {
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        auditHonestly(claimId);
        passWindow(claimId);
        vm.startPrank(court);
        market.contest(claimId, challenger);
        market.contest(claimId, rival);
        market.uncontest(claimId, rival);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(Market.GamesOpen.selector, claimId, 1));
        market.settle(taskId);
        vm.prank(court);
        market.uncontest(claimId, challenger);
        market.settle(taskId);
        vm.expectRevert(abi.encodeWithSelector(Market.ClaimNotOpen.selector, claimId, ClaimStatus.Settled));
        vm.prank(court);
        market.contest(claimId, challenger);
        vm.expectRevert(abi.encodeWithSelector(Market.NoGameOpen.selector, claimId));
        vm.prank(court);
        market.uncontest(claimId, challenger);
    }

    function test_a_conviction_splits_the_bond_and_takes_the_attesters_seat() public {
        uint256 taskId = startTask();
        acceptSlice(taskId);
        uint256 claimId = claimSlice(taskId);
        auditHonestly(claimId);
        address attester = audit.attesters(claimId, 2)[0];
        uint256 challengerBefore = stake.freeOf(challenger);
        uint256 submitterBefore = stake.freeOf(submitter);
        uint256 solverBefore = stake.freeOf(solver);
        uint256 burntBefore = stake.burntWei();
        vm.startPrank(court);
        market.contest(claimId, challenger);
        market.convict(claimId, challenger, 2);
        vm.stopPrank();
        vm.snapshotGasLastCall("Market", "convict");
        // half of 32, and a quarter of the pool, which holds one slice's fee
        assertEq(stake.freeOf(challenger) - challengerBefore, 16 ether + 0.04 ether, "challenger");
        // a quarter of the bond; of 72 escrowed one slice of 8 and four audits of 4 were earned
        assertEq(stake.freeOf(submitter) - submitterBefore, 8 ether + 48 ether, "submitter");
        // a quarter of the bond, and an eighth of its worth out of the attester's seat
        assertEq(stake.burntWei() - burntBefore, 8 ether + 4 ether, "burnt");
        assertEq(stake.freeOf(solver), solverBefore, "solver");
        assertEq(stake.lockedOf(solver), 0, "locked");
        for (uint256 i = 0; i < stake.seatCount(); ++i) {
            (address owner, bool active) = stake.seatAt(i, block.timestamp + 1);
            assertTrue(active, "whoever loses on purpose jails nobody");
            assertEq(stake.seatOf(i).stakeWei, owner == attester ? 96 ether : 100 ether, "seat");
        }
        assertStatus(taskId, TaskStatus.Halted);
        assertEq(market.taskOf(taskId).state, stateOf(taskId, 0, 3), "from the last accepted state");
        assertEq(market.recordOf(solver).convictions, 1);
        assertEq(market.recordOf(solver).streak, 0);
        assertStage(claimId, Stage.Closed);
        assertConserved();
    }

    function test_a_second_conviction_of_a_claim_takes_nothing() public {
        uint256 claimId = claimSlice(startTask());
        vm.startPrank(court);
        market.contest(claimId, challenger);
        market.contest(claimId, rival);
        market.convict(claimId, challenger, 0);
        uint256 before = stake.freeOf(rival);
        market.convict(claimId, rival, 0);
        vm.stopPrank();
        assertEq(stake.freeOf(rival), before);
        assertEq(market.claimOf(claimId).games, 0);
        assertConserved();
    }

    function test_the_pool_tops_up_a_challenger_but_never_pays_for_convicting_oneself() public {
        // fill the pool by a claim that is not disclosed
        uint256 first = startTask();
        uint256 claimId = claimSlice(first);
        drawFor(claimId);
        sealAll(claimId, 1);
        vm.warp(block.timestamp + 61);
        audit.lapse(claimId);
        assertEq(stake.poolWei(), 4 ether, "half of a quarter of 32");
        claimId = claimSlice(startTask());
        uint256 all = stake.freeOf(challenger) + stake.freeOf(solver) + stake.lockedOf(solver);
        vm.startPrank(court);
        market.contest(claimId, challenger);
        market.convict(claimId, challenger, 0);
        vm.stopPrank();
        assertEq(stake.poolWei(), 3 ether, "an eighth of 32 is four, a quarter of the pool one");
        // together with the submitter's quarter they still lose
        assertTrue(stake.freeOf(challenger) + stake.freeOf(solver) + 8 ether < all, "self-conviction costs");
        assertConserved();
    }

    function test_only_the_court_judges_and_only_the_audit_voids() public {
        uint256 claimId = claimSlice(startTask());
        bytes memory refusal = abi.encodeWithSelector(Market.NotAllowed.selector, address(this));
        vm.expectRevert(refusal);
        market.contest(claimId, challenger);
        vm.expectRevert(refusal);
        market.uncontest(claimId, challenger);
        vm.expectRevert(refusal);
        market.convict(claimId, challenger, 0);
        vm.expectRevert(refusal);
        market.void(claimId, false);
        vm.startPrank(court);
        market.contest(claimId, challenger);
        vm.expectRevert(abi.encodeWithSelector(Market.NoSuchSegment.selector, 4, 4));
        market.convict(claimId, challenger, 4);
        vm.stopPrank();
    }

    // ---------------------------------------------------------------- halting and handing on

    function test_a_missed_deadline_costs_a_tenth_of_the_bond() public {
        uint256 taskId = startTask();
        uint256 deadline = block.timestamp + 600;
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(Market.TooEarly.selector, deadline, deadline));
        market.missDeadline(taskId);
        vm.warp(deadline + 1);
        market.missDeadline(taskId);
        assertEq(stake.freeOf(solver), FUNDS / 2 - 3.2 ether, "solver");
        assertEq(stake.freeOf(submitter), ESCROW + 3.2 ether, "submitter");
        assertEq(stake.lockedOf(solver), 0, "locked");
        assertEq(market.recordOf(solver).missed, 1);
        assertStatus(taskId, TaskStatus.Halted);
        vm.expectRevert(abi.encodeWithSelector(Market.WrongStatus.selector, taskId, TaskStatus.Halted));
        market.missDeadline(taskId);
        assertConserved();
    }

    function test_any_fault_puts_a_solver_on_probation_again() public {
        uint256 taskId = startTask();
        acceptSlice(taskId);
        acceptSlice(taskId);
        assertEq(market.recordOf(solver).streak, 2);
        vm.warp(block.timestamp + 601);
        market.missDeadline(taskId);
        assertEq(market.recordOf(solver).streak, 0, "after a missed deadline");
        assertEq(market.recordOf(solver).accepted, 2, "what is accepted stays");
        taskId = startTask();
        acceptSlice(taskId);
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        sealAll(claimId, 1);
        vm.warp(block.timestamp + 61);
        audit.lapse(claimId);
        assertEq(market.recordOf(solver).streak, 0, "after withholding");
    }

    function test_no_deadline_runs_while_a_claim_is_open() public {
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        vm.warp(block.timestamp + 10_000);
        vm.expectRevert(abi.encodeWithSelector(Market.ClaimOpen.selector, taskId, claimId));
        market.missDeadline(taskId);
        auditHonestly(claimId);
        passWindow(claimId);
        market.settle(taskId);
        assertEq(market.taskOf(taskId).deadline, block.timestamp + 600, "a full slice's time from the settlement on");
    }

    function handOnToRival(uint256 taskId, Terms memory terms) internal {
        Offer memory offer = anOffer(rival);
        bytes memory signature = sign(RIVAL_KEY, offer);
        vm.prank(submitter);
        market.handOn(taskId, terms, offer, signature, noPermit());
    }

    function test_handing_on_goes_on_from_the_last_accepted_state() public {
        uint256 taskId = startTask();
        acceptSlice(taskId);
        vm.warp(block.timestamp + 601);
        market.missDeadline(taskId);
        uint256 wallet = token.balanceOf(submitter);
        uint256 free = stake.freeOf(submitter);
        assertEq(free, 48 ether + 3.2 ether, "two slices' escrow and the penalty");
        // dearer terms: 2 slices × (16 + 4 × 8) = 96
        handOnToRival(taskId, Terms({slicePriceWei: 16 ether, auditFeeWei: 8 ether, bondWei: 20 ether}));
        assertEq(stake.escrowOf(taskId), 96 ether, "escrow");
        assertEq(stake.freeOf(submitter), 0, "free");
        assertEq(wallet - token.balanceOf(submitter), 96 ether - free, "topped up by what was missing");
        assertEq(market.taskOf(taskId).solver, rival);
        vm.prank(rival);
        market.confirm(taskId);
        uint256 claimId = claimSlice(taskId);
        assertEq(market.claimOf(claimId).startState, stateOf(taskId, 0, 3), "start");
        assertEq(market.claimOf(claimId).slice, 1);
        auditHonestly(claimId);
        passWindow(claimId);
        market.settle(taskId);
        acceptSlice(taskId);
        assertStatus(taskId, TaskStatus.Done);
        assertEq(stake.freeOf(rival), FUNDS / 2 + 2 * 15.68 ether, "rival");
        assertEq(market.recordOf(rival).accepted, 2);
        assertConserved();
    }

    function test_cheaper_terms_leave_the_difference_with_the_submitter() public {
        uint256 taskId = submitTask(aSpec());
        vm.prank(solver);
        market.expire(taskId);
        handOnToRival(taskId, Terms({slicePriceWei: 8 ether, auditFeeWei: 2 ether, bondWei: 8 ether}));
        assertEq(stake.escrowOf(taskId), 48 ether, "escrow");
        assertEq(stake.freeOf(submitter), 24 ether, "difference");
    }

    function test_only_halted_tasks_are_handed_on_and_only_by_their_submitter() public {
        uint256 taskId = startTask();
        Offer memory offer = anOffer(rival);
        bytes memory signature = sign(RIVAL_KEY, offer);
        vm.expectRevert(abi.encodeWithSelector(Market.WrongStatus.selector, taskId, TaskStatus.Running));
        vm.prank(submitter);
        market.handOn(taskId, someTerms(), offer, signature, noPermit());
        vm.expectRevert(abi.encodeWithSelector(Market.NotSubmitter.selector, taskId, submitter, rival));
        vm.prank(rival);
        market.handOn(taskId, someTerms(), offer, signature, noPermit());
        vm.expectRevert(abi.encodeWithSelector(Market.NotSubmitter.selector, 99, address(0), rival));
        vm.prank(rival);
        market.handOn(99, someTerms(), offer, signature, noPermit());
    }

    function test_a_halted_task_is_cancelled_and_its_accepted_slices_stay_paid() public {
        uint256 taskId = startTask();
        vm.expectRevert(abi.encodeWithSelector(Market.WrongStatus.selector, taskId, TaskStatus.Running));
        vm.prank(submitter);
        market.cancel(taskId);
        acceptSlice(taskId);
        vm.warp(block.timestamp + 601);
        market.missDeadline(taskId);
        vm.prank(submitter);
        market.cancel(taskId);
        assertStatus(taskId, TaskStatus.Cancelled);
        assertEq(stake.escrowOf(taskId), 0, "escrow");
        assertEq(stake.freeOf(solver), FUNDS / 2 + 7.84 ether - 3.2 ether, "solver");
    }

    // ---------------------------------------------------------------- fuzz

    /// Whatever the counts and prices, the escrow is exactly the worst case and comes back or is paid to the last wei.
    function testFuzz_escrow_is_paid_or_refunded(uint8 slices, uint8 checkpoints, uint64 price, uint64 fee, uint8 verifiers_, uint8 perVerifier) public {
        Spec memory spec = aSpec();
        spec.slices = uint32(bound(slices, 1, 4));
        spec.checkpointsPerSlice = uint32(bound(checkpoints, 1, 9));
        spec.verifiers = uint8(bound(verifiers_, 1, 4));
        spec.segments = uint8(bound(perVerifier, 0, 3));
        spec.operationsPerStep = 1000;
        Terms memory terms = Terms({slicePriceWei: bound(price, 1e6 * 18, 1e18), auditFeeWei: bound(fee, 2e6, 1e18), bondWei: 2e18});
        Offer memory offer = anOffer(solver);
        offer.weiPerTeraop = 1e15;
        bytes memory signature = sign(SOLVER_KEY, offer);
        vm.prank(submitter);
        uint256 taskId = market.submit(spec, terms, offer, signature, noPermit());
        uint256 escrowed = stake.escrowOf(taskId);
        assertEq(escrowed, spec.slices * (terms.slicePriceWei + spec.checkpointsPerSlice * terms.auditFeeWei), "escrow");
        vm.prank(solver);
        market.confirm(taskId);
        uint256 audited = 0;
        for (uint256 slice = 0; slice < spec.slices; ++slice) {
            uint256 claimId = acceptSlice(taskId);
            (, uint32[] memory segments) = audit.payees(claimId);
            for (uint256 i = 0; i < segments.length; ++i) {
                audited += segments[i];
            }
        }
        assertStatus(taskId, TaskStatus.Done);
        assertEq(stake.escrowOf(taskId), 0, "escrow");
        uint256 poolWei = spec.slices * (terms.slicePriceWei / 50);
        assertEq(stake.poolWei(), poolWei, "pool");
        assertEq(stake.freeOf(solver), FUNDS / 2 + spec.slices * terms.slicePriceWei - poolWei, "solver");
        assertEq(stake.freeOf(submitter), escrowed - spec.slices * terms.slicePriceWei - audited * terms.auditFeeWei, "refund");
        assertConserved();
    }
}
