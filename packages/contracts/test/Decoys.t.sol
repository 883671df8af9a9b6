// SPDX-License-Identifier: Apache-2.0
// Forced errors: who may seal, what a claim must show, how it is opened, who is paid out of the pool and who is slashed; and that farming never pays.
pragma solidity ^0.8.28;

import {DecoyScene} from "./DecoyScene.sol";
import {Audit} from "../src/market/Audit.sol";
import {Decoys, Leaves} from "../src/market/Decoys.sol";
import {Market} from "../src/market/Market.sol";
import {Randomness} from "../src/market/Randomness.sol";
import {ClaimStatus, Offer, Spec, Stage, TaskStatus, Terms, Verdict} from "../src/market/Types.sol";

contract DecoysTest is DecoyScene {
    // a slice of 8 ether: its fiftieth, a verifier's half of 8 · 8 / 200, a whistleblower's 8 · 8 / 100
    uint256 internal constant FEE = 0.16 ether;
    uint256 internal constant SHARE = 0.16 ether;
    uint256 internal constant WHISTLE = 0.64 ether;

    /// Money for jackpots: a claim that is not disclosed.
    function fillPool() internal returns (uint256 poolWei) {
        uint256 claimId = claimSlice(startTask());
        drawFor(claimId);
        sealAll(claimId, 1);
        vm.warp(deadlineOf(claimId) + 1);
        audit.lapse(claimId);
        return stake.poolWei();
    }

    function seatWei(address verifier) internal view returns (uint256) {
        for (uint256 i = 0; i < stake.seatCount(); ++i) {
            if (stake.seatOf(i).owner == verifier) return stake.seatOf(i).stakeWei;
        }
        return 0;
    }

    /// Drawn, sealed *different* with the digest of a re-run, opened, disclosed.
    function caughtDecoy(uint256 claimId) internal {
        drawFor(claimId);
        sealAll(claimId, 2);
        openAs(claimId, true);
        disclose(claimId, disclosureOf(claimId));
    }

    // ---------------------------------------------------------------- sealing

    function test_a_seal_is_the_running_solvers_once_and_pays_the_slices_fee() public {
        uint256 plain = startTask();
        vm.expectRevert(abi.encodeWithSelector(Decoys.NoDecoys.selector, plain));
        vm.prank(solver);
        decoys.seal(plain, 0, SECRET);
        uint256 taskId = submitTask(decoySpec());
        vm.startPrank(solver);
        vm.expectRevert(abi.encodeWithSelector(Market.WrongStatus.selector, taskId, TaskStatus.Offered));
        decoys.seal(taskId, 0, SECRET);
        market.confirm(taskId);
        vm.expectRevert(abi.encodeWithSelector(Decoys.EmptyCommitment.selector, taskId));
        decoys.seal(taskId, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(Market.WrongSlice.selector, 1, 0));
        decoys.seal(taskId, 1, SECRET);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(Market.NotSolver.selector, taskId, solver, rival));
        vm.prank(rival);
        decoys.seal(taskId, 0, SECRET);
        uint256 escrow = stake.escrowOf(taskId);
        sealHonestly(taskId);
        assertEq(stake.poolWei(), FEE, "pool");
        assertEq(stake.escrowOf(taskId), escrow - FEE, "escrow");
        vm.expectRevert(abi.encodeWithSelector(Decoys.SealedAlready.selector, taskId, 0, solver));
        vm.prank(solver);
        decoys.seal(taskId, 0, keccak256("another"));
        vm.expectRevert(abi.encodeWithSelector(Market.NotAllowed.selector, solver));
        vm.prank(solver);
        market.payFee(taskId, 0, solver);
        vm.warp(block.timestamp + 601);
        uint256 late = startTask(decoySpec());
        vm.warp(block.timestamp + 601);
        vm.expectPartialRevert(Market.TooLate.selector);
        vm.prank(solver);
        decoys.seal(late, 0, SECRET);
        assertConserved();
    }

    function test_nobody_else_opens_binds_unmasks_or_pays() public {
        uint256 claimId = sealedSlice(startTask(decoySpec()), true);
        Leaves memory l = leavesFor(1, 0);
        vm.startPrank(rival);
        bytes memory refusal = abi.encodeWithSelector(Decoys.NotAllowed.selector, rival);
        vm.expectRevert(refusal);
        decoys.caught(claimId, rival);
        vm.expectRevert(refusal);
        decoys.openDecoy(claimId, SECRET, l);
        vm.expectRevert(refusal);
        decoys.openTrue(claimId, SECRET, SECRET, SECRET);
        vm.expectRevert(refusal);
        decoys.bind(claimId, 1, 0, solver, 0);
        vm.expectRevert(refusal);
        decoys.payCatchers(claimId, new address[](0), 1);
        vm.expectRevert(abi.encodeWithSelector(Market.NotAllowed.selector, rival));
        market.unmask(claimId, SECRET);
        vm.expectRevert(abi.encodeWithSelector(Audit.NotAllowed.selector, rival));
        audit.unmask(claimId, SECRET);
        vm.stopPrank();
    }

    function test_a_claim_says_which_hash_it_went_by() public {
        uint256 taskId = startTask(decoySpec());
        sealHonestly(taskId);
        anchorWith(taskId, true);
        Leaves memory l = leavesFor(taskId, 0);
        bytes32[] memory proof = proofOf(treeOf(l.states, l.decoyCommits), 3);
        bytes32 root = rootOf(l.states, l.decoyCommits);
        bytes32 hash = anchorOf(taskId);
        assertTrue(hash != 0);
        // another branch of the chain decided otherwise
        bytes32 other = keccak256("another block");
        vm.expectRevert(abi.encodeWithSelector(Decoys.AnchorDiffers.selector, hash, other));
        vm.prank(solver);
        market.claim(taskId, 0, root, l.states[3], l.decoyCommits[3], other, proof);
        vm.expectRevert(abi.encodeWithSelector(Decoys.AnchorDiffers.selector, hash, bytes32(0)));
        vm.prank(solver);
        market.claim(taskId, 0, root, l.states[3], l.decoyCommits[3], 0, proof);
        // mined when the chain has forgotten the anchor: what shows a decoy must not become a plain claim
        vm.roll(block.number + 300);
        vm.expectRevert(abi.encodeWithSelector(Decoys.AnchorDiffers.selector, bytes32(0), hash));
        vm.prank(solver);
        market.claim(taskId, 0, root, l.states[3], l.decoyCommits[3], hash, proof);
        claimTree(taskId, l.states, l.trueCommits);
        assertEq(market.claimCount(), 1);
    }

    function test_a_claim_needs_its_seal_and_the_seals_anchor() public {
        uint256 taskId = startTask(decoySpec());
        Leaves memory l = leavesFor(taskId, 0);
        bytes32[] memory proof = proofOf(treeOf(l.states, l.trueCommits), 3);
        bytes32 root = rootOf(l.states, l.trueCommits);
        vm.expectRevert(abi.encodeWithSelector(Decoys.NotSealed.selector, taskId, 0, solver));
        vm.prank(solver);
        market.claim(taskId, 0, root, l.states[3], l.trueCommits[3], 0, proof);
        sealHonestly(taskId);
        uint256 block_ = block.number;
        vm.roll(block_ + 1);
        vm.expectRevert(abi.encodeWithSelector(Randomness.AnchorAhead.selector, block_ + 1, block_ + 1));
        vm.prank(solver);
        market.claim(taskId, 0, root, l.states[3], l.trueCommits[3], 0, proof);
        anchorWith(taskId, false);
        claimTree(taskId, l.states, l.trueCommits);
        assertEq(market.claimCount(), 1);
        vm.expectRevert(abi.encodeWithSelector(Market.NotAllowed.selector, address(this)));
        market.payFee(taskId, 0, solver);
        vm.expectRevert(abi.encodeWithSelector(Market.ClaimOpen.selector, taskId, 1));
        vm.prank(address(decoys));
        market.payFee(taskId, 0, solver);
    }

    function test_a_forgotten_anchor_makes_the_claim_plain() public {
        uint256 taskId = startTask(decoySpec());
        sealHonestly(taskId);
        vm.roll(block.number + 1 + 257);
        uint256 claimId = claimSlice(taskId);
        assertTrue(decoys.isOpen(claimId), "nothing to open");
        assertEq(decoys.maskOf(claimId).anchorHash, 0);
        auditHonestly(claimId);
        vm.expectRevert(abi.encodeWithSelector(Decoys.NothingToOpen.selector, claimId));
        vm.prank(solver);
        decoys.openTrue(claimId, SECRET, SECRET, SECRET);
        passWindow(claimId);
        market.settle(taskId);
        assertEq(stake.poolWei(), FEE, "the fee was paid at sealing, once");
        assertConserved();
    }

    /// The last block at which the anchor's hash is there, and the first at which it is not.
    function test_the_anchor_is_remembered_for_256_blocks() public {
        uint256 first = startTask(decoySpec());
        sealHonestly(first);
        uint256 anchorBlock = block.number + 1;
        vm.roll(anchorBlock + 256);
        vm.setBlockhash(anchorBlock, keccak256("still there"));
        uint256 saved = vm.snapshotState();
        uint256 claimId = claimSlice(first);
        assertFalse(decoys.isOpen(claimId), "bound");
        vm.revertToState(saved);
        vm.roll(anchorBlock + 257);
        claimId = claimSlice(first);
        assertTrue(decoys.isOpen(claimId), "plain");
    }

    // ---------------------------------------------------------------- opening

    function test_the_truth_is_opened_before_it_is_disclosed_and_pays_as_ever() public {
        uint256 taskId = startTask(decoySpec());
        uint256 before = stake.freeOf(solver);
        uint256 claimId = sealedSlice(taskId, false);
        vm.expectPartialRevert(Decoys.NotNow.selector);
        vm.prank(solver);
        decoys.openTrue(claimId, SECRET, SECRET, SECRET);
        drawFor(claimId);
        sealAll(claimId, 1);
        Disclosure memory d = disclosureOf(claimId);
        vm.expectRevert(abi.encodeWithSelector(Audit.SealNotOpened.selector, claimId));
        vm.prank(solver);
        audit.disclose(claimId, d.segments, d.states, d.probes, d.proofs);
        openAs(claimId, false);
        vm.expectRevert(abi.encodeWithSelector(Decoys.NothingToOpen.selector, claimId));
        vm.prank(solver);
        decoys.openTrue(claimId, SECRET, SECRET, SECRET);
        disclose(claimId, d);
        revealAll(claimId, 1);
        passWindow(claimId);
        market.settle(taskId);
        assertEq(stake.freeOf(solver), before + 8 ether - FEE, "solver");
        assertEq(stake.poolWei(), FEE, "the pool gets a slice's fee once");
        assertConserved();
    }

    function test_a_caught_decoy_pays_its_verifiers_and_the_true_claim_settles() public {
        fillPool();
        uint256 taskId = startTask(decoySpec());
        uint256 before = stake.freeOf(solver);
        uint256 claimId = sealedSlice(taskId, true);
        bytes32 shown = market.claimOf(claimId).root;
        uint256 poolBefore = stake.poolWei();
        caughtDecoy(claimId);
        assertTrue(market.claimOf(claimId).root != shown, "the true root");
        address[] memory drawn = revealAllOf(claimId, 2);
        passWindow(claimId);
        market.settle(taskId);
        assertEq(stake.freeOf(solver), before + 8 ether - FEE, "solver");
        for (uint256 i = 0; i < drawn.length; ++i) {
            assertEq(stake.freeOf(drawn[i]), FUNDS / 2 - 100 ether + 8 ether + SHARE, "fees and a share of the jackpot");
        }
        assertEq(drawn.length, 2);
        assertEq(stake.poolWei(), poolBefore - 2 * SHARE, "pool");
        assertEq(market.taskOf(taskId).state, stateOf(taskId, 0, 3), "state");
        assertConserved();
    }

    function revealAllOf(uint256 claimId, uint8 verdict) internal returns (address[] memory drawn) {
        drawn = waiting(claimId, Verdict.Sealed);
        revealAll(claimId, verdict);
    }

    function refuseOpening(uint256 claimId, Leaves memory l, bytes4 error_) internal {
        vm.expectPartialRevert(error_);
        vm.prank(solver);
        decoys.openDecoy(claimId, SECRET, l);
    }

    function test_an_opening_proves_that_only_the_commitments_and_all_of_them_differ() public {
        uint256 taskId = startTask(decoySpec());
        uint256 claimId = sealedSlice(taskId, true);
        Leaves memory l = leavesFor(taskId, 0);
        refuseOpening(claimId, l, Decoys.NotNow.selector);
        drawFor(claimId);
        sealAll(claimId, 2);
        l.states[1] = SECRET;
        refuseOpening(claimId, l, Decoys.RootDiffers.selector);
        l = leavesFor(taskId, 0);
        l.states[3] = SECRET;
        refuseOpening(claimId, l, Decoys.EndDiffers.selector);
        l = leavesFor(taskId, 0);
        l.trueCommits[2] = l.decoyCommits[2];
        refuseOpening(claimId, l, Decoys.LeafNotMasked.selector);
        l = leavesFor(taskId, 0);
        l.trueCommits[2] = SECRET;
        refuseOpening(claimId, l, Decoys.CommitmentDiffers.selector);
        l.states = new bytes32[](3);
        refuseOpening(claimId, l, Decoys.WrongCount.selector);
        l = leavesFor(taskId, 0);
        vm.expectPartialRevert(Decoys.CommitmentDiffers.selector);
        vm.prank(solver);
        decoys.openDecoy(claimId, keccak256("another secret"), l);
        openAs(claimId, true);
        refuseOpening(claimId, l, Decoys.NothingToOpen.selector);
    }

    function test_whoever_shows_the_other_root_cannot_open_and_is_slashed_as_not_disclosing() public {
        bool[2] memory bits = [true, false];
        for (uint256 i = 0; i < 2; ++i) {
            uint256 taskId = startTask(decoySpec());
            sealHonestly(taskId);
            anchorWith(taskId, bits[i]);
            Leaves memory l = leavesFor(taskId, 0);
            uint256 claimId = claimTree(taskId, l.states, bits[i] ? l.trueCommits : l.decoyCommits);
            drawFor(claimId);
            sealAll(claimId, 1);
            bytes32 trueRoot = rootOf(l.states, l.trueCommits);
            bytes32 decoyRoot = rootOf(l.states, l.decoyCommits);
            vm.expectPartialRevert(Decoys.ShowsTheOther.selector);
            vm.prank(solver);
            decoys.openTrue(claimId, trueRoot, decoyRoot, SECRET);
            refuseOpening(claimId, l, bits[i] ? Decoys.RootDiffers.selector : Decoys.ShowsTheOther.selector);
            vm.warp(deadlineOf(claimId) + 1);
            audit.lapse(claimId);
            assertEq(market.recordOf(solver).withheld, i + 1);
            assertEq(uint256(market.claimOf(claimId).status), uint256(ClaimStatus.Void));
        }
        assertConserved();
    }

    // ---------------------------------------------------------------- words about a decoy

    /// *Same*, with whatever digest, or *different* with another one: nobody who re-ran says that of a decoy.
    function test_other_words_about_a_decoy_must_be_disputed_or_cost_the_seat_to_pool_and_fire() public {
        for (uint256 kind = 0; kind < 3; ++kind) {
            uint256 saved = vm.snapshotState();
            uint256 taskId = startTask(decoySpec());
            uint256 claimId = sealedSlice(taskId, true);
            drawFor(claimId);
            address[] memory drawn = waiting(claimId, Verdict.Drawn);
            bytes32 digest = kind == 0 ? digestOf(claimId, drawn[0]) : bytes32(kind);
            uint8 word = kind == 2 ? 2 : 1;
            sealAs(claimId, drawn[0], word, digest);
            sealAs(claimId, drawn[1], 2, digestOf(claimId, drawn[1]));
            openAs(claimId, true);
            disclose(claimId, disclosureOf(claimId));
            uint256 solverBefore = stake.freeOf(solver);
            uint256 poolBefore = stake.poolWei();
            revealAs(claimId, drawn[0], word, digest);
            revealAs(claimId, drawn[1], 2, digestOf(claimId, drawn[1]));
            vm.warp(block.timestamp + 121);
            market.settle(taskId);
            assertEq(seatWei(drawn[0]), 0, "seat");
            assertEq(stake.burntWei(), 50 ether, "half burnt");
            assertEq(stake.freeOf(solver), solverBefore + 8 ether - FEE, "nothing of it to the solver");
            assertTrue(stake.poolWei() > poolBefore + 49 ether, "half to the pool");
            assertEq(seatWei(drawn[1]), 100 ether, "the other has caught it");
            assertConserved();
            vm.revertToState(saved);
        }
    }

    /// The solver seals its lie as the truth, and shows the truth when the bit calls for the decoy. Who re-ran says *same*.
    function test_a_swapped_seal_is_convicted_by_the_dispute_of_the_honest() public {
        uint256 taskId = startTask(decoySpec());
        Leaves memory l = leavesFor(taskId, 0);
        (l.trueCommits, l.decoyCommits) = (l.decoyCommits, l.trueCommits);
        // the lie's digests: commitments are hashes of something that the solver can show
        for (uint256 j = 0; j < 4; ++j) {
            l.trueCommits[j] = sha256(abi.encodePacked(lieOf(j)));
        }
        bytes32 trueRoot = rootOf(l.states, l.trueCommits);
        sealCommitment(taskId, commitmentFor(taskId, 0, solver, trueRoot, rootOf(l.states, l.decoyCommits)));
        anchorWith(taskId, true);
        uint256 claimId = claimTree(taskId, l.states, l.decoyCommits);
        drawFor(claimId);
        address[] memory drawn = sealAll(claimId, 1);
        vm.prank(solver);
        decoys.openDecoy(claimId, SECRET, l);
        Disclosure memory d = disclosureOf(claimId);
        for (uint256 k = 0; k < d.segments.length; ++k) {
            d.probes[k] = lieOf(d.segments[k]);
            d.proofs[k] = proofOf(treeOf(l.states, l.trueCommits), d.segments[k]);
        }
        disclose(claimId, d);
        revealAll(claimId, 1);
        vm.warp(block.timestamp + 31);
        assertFalse(audit.passed(claimId), "waits for their disputes");
        contestAs(drawn[0], claimId);
        contestAs(drawn[1], claimId);
        vm.prank(court);
        market.convict(claimId, drawn[0], 1);
        assertEq(market.recordOf(solver).convictions, 1);
        for (uint256 i = 0; i < 2; ++i) {
            assertEq(seatWei(drawn[i]), 100 ether, "nobody honest is slashed");
        }
        assertConserved();
    }

    function lieOf(uint256 segment) internal pure returns (bytes32) {
        return keccak256(abi.encode("lie", segment));
    }

    function test_a_dispute_about_the_decoy_is_none_about_the_true_claim() public {
        uint256 taskId = startTask(decoySpec());
        uint256 claimId = sealedSlice(taskId, true);
        drawFor(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        contestAs(drawn[0], claimId);
        assertTrue(audit.hasDisputed(claimId, drawn[0]), "about the decoy");
        sealAs(claimId, drawn[0], 1, bytes32(0));
        sealAs(claimId, drawn[1], 2, digestOf(claimId, drawn[1]));
        openAs(claimId, true);
        assertFalse(audit.hasDisputed(claimId, drawn[0]), "not about the truth");
        disclose(claimId, disclosureOf(claimId));
        revealAs(claimId, drawn[0], 1, bytes32(0));
        revealAs(claimId, drawn[1], 2, digestOf(claimId, drawn[1]));
        vm.warp(block.timestamp + 121);
        market.settle(taskId);
        assertEq(seatWei(drawn[0]), 0, "a lazy challenger of decoys is no honest verifier");
        assertConserved();
    }

    // ---------------------------------------------------------------- whistleblowers

    /// Drawn, and sealed by all as by honest verifiers of a decoy.
    function toDisclosing(uint256 claimId) internal {
        drawFor(claimId);
        sealAll(claimId, 2);
    }

    function giveBack(address who, uint256 claimId) internal {
        vm.prank(court);
        decoys.caught(claimId, who);
    }

    /// k challengers get J / 2^(k-1) each: two names of one win no more than one name would have.
    function test_those_who_challenged_a_decoy_share_its_jackpot_so_that_names_win_nothing() public {
        address[3] memory who = [challenger, rival, address(0x3333)];
        people.push(who[2]);
        uint256[3] memory each = [WHISTLE, WHISTLE / 2, WHISTLE / 4];
        fillPool();
        for (uint256 k = 1; k <= 3; ++k) {
            uint256 saved = vm.snapshotState();
            uint256 taskId = startTask(decoySpec());
            uint256 claimId = sealedSlice(taskId, true);
            for (uint256 i = 0; i < k; ++i) {
                contestAs(who[i], claimId);
            }
            toDisclosing(claimId);
            openAs(claimId, true);
            assertEq(market.claimOf(claimId).games, 0, "the games are moot");
            assertEq(decoys.maskOf(claimId).challengers, k, "those that stood");
            uint256 paid = 0;
            for (uint256 i = 0; i < k; ++i) {
                uint256 before = stake.freeOf(who[i]);
                giveBack(who[i], claimId);
                assertEq(stake.freeOf(who[i]) - before, each[k - 1], "its part");
                paid += each[k - 1];
            }
            assertLe(paid, WHISTLE, "together never more than one alone");
            disclose(claimId, disclosureOf(claimId));
            revealAll(claimId, 2);
            passWindow(claimId);
            market.settle(taskId);
            assertConserved();
            vm.revertToState(saved);
        }
    }

    /// A liar whose claim happens to show a decoy opens it at the last second, so that the games about its lie are moot, and would not disclose.
    function test_opening_leaves_time_to_challenge_the_true_claim_before_it_lapses() public {
        uint256 taskId = startTask(decoySpec());
        uint256 claimId = sealedSlice(taskId, true);
        contestAs(challenger, claimId);
        toDisclosing(claimId);
        vm.warp(deadlineOf(claimId));
        openAs(claimId, true);
        vm.warp(block.timestamp + 60);
        vm.expectPartialRevert(Audit.TooEarly.selector);
        audit.lapse(claimId);
        contestAs(challenger, claimId);
        vm.warp(block.timestamp + 1);
        vm.expectRevert(abi.encodeWithSelector(Market.GamesOpen.selector, claimId, 1));
        audit.lapse(claimId);
        vm.prank(court);
        market.convict(claimId, challenger, 0);
        assertEq(market.recordOf(solver).convictions, 1);
        assertConserved();
    }

    function test_only_the_court_says_who_had_challenged_and_only_of_a_decoy() public {
        uint256 claimId = sealedSlice(startTask(decoySpec()), true);
        contestAs(challenger, claimId);
        vm.expectRevert(abi.encodeWithSelector(Decoys.NotAllowed.selector, challenger));
        vm.prank(challenger);
        decoys.caught(claimId, challenger);
        vm.expectRevert(abi.encodeWithSelector(Decoys.NoDecoy.selector, claimId));
        giveBack(challenger, claimId);
        uint256 true_ = sealedSlice(startTask(decoySpec()), false);
        drawFor(true_);
        sealAll(true_, 1);
        openAs(true_, false);
        vm.expectRevert(abi.encodeWithSelector(Decoys.NoDecoy.selector, true_));
        giveBack(challenger, true_);
    }

    /// So many challengers that a share is less than a wei: nothing is paid, and nothing overflows.
    function test_a_crowd_of_challengers_wins_nothing() public {
        fillPool();
        uint256 claimId = sealedSlice(startTask(decoySpec()), true);
        for (uint256 i = 0; i < 300; ++i) {
            contestAs(challenger, claimId);
        }
        toDisclosing(claimId);
        openAs(claimId, true);
        uint256 before = stake.freeOf(challenger);
        giveBack(challenger, claimId);
        assertEq(stake.freeOf(challenger), before, "nothing");
    }

    function test_nothing_is_opened_before_all_have_sealed_even_if_it_is_challenged() public {
        uint256 taskId = startTask(decoySpec());
        uint256 claimId = sealedSlice(taskId, true);
        contestAs(challenger, claimId);
        Leaves memory l = leavesFor(taskId, 0);
        refuseOpening(claimId, l, Decoys.NotNow.selector);
        drawFor(claimId);
        refuseOpening(claimId, l, Decoys.NotNow.selector);
        sealAll(claimId, 2);
        openAs(claimId, true);
        assertStage(claimId, Stage.Disclosing);
    }

    /// Games stand still until the opening, or until the claim had to be opened: six times the sealing time, and the disclosing time.
    function test_games_stand_still_until_the_claim_is_opened_or_had_to_be() public {
        uint256 plain = claimSlice(startTask());
        assertEq(decoys.sealedUntil(plain), 0, "no seal");
        uint256 claimId = sealedSlice(startTask(decoySpec()), true);
        uint256 openBy = block.timestamp + 6 * 90 + 60;
        assertEq(decoys.sealedUntil(claimId), openBy, "sealed");
        toDisclosing(claimId);
        openAs(claimId, true);
        assertEq(decoys.sealedUntil(claimId), block.timestamp, "opened");
    }

    /// Else a liar whose clock has run out would open before `timeout` is mined, and think for as long again.
    function test_opening_too_late_winds_no_clock_up_again() public {
        uint256 claimId = sealedSlice(startTask(decoySpec()), false);
        uint256 openBy = decoys.sealedUntil(claimId);
        toDisclosing(claimId);
        contestAs(challenger, claimId);
        vm.warp(openBy + 1000);
        openAs(claimId, false);
        assertEq(decoys.sealedUntil(claimId), openBy);
    }

    /// An audit that never comes to disclosing does not cost an honest solver its defence.
    function test_a_stuck_audit_lets_a_decoy_be_opened_before_its_clocks_start() public {
        uint256 taskId = startTask(decoySpec());
        uint256 claimId = sealedSlice(taskId, true);
        uint256 openBy = decoys.sealedUntil(claimId);
        contestAs(challenger, claimId);
        vm.warp(openBy - 61);
        Leaves memory l = leavesFor(taskId, 0);
        refuseOpening(claimId, l, Decoys.NotNow.selector);
        vm.warp(openBy - 60);
        openAs(claimId, true);
        assertStage(claimId, Stage.Drawing);
        auditHonestly(claimId); // *same* about the true claim, as for any other
        passWindow(claimId);
        market.settle(taskId);
        assertEq(market.taskOf(taskId).accepted, 1);
        assertConserved();
    }

    function fourVerifiers() internal pure returns (Spec memory spec) {
        spec = decoySpec();
        spec.verifiers = 4;
    }

    function test_opened_while_sealing_is_stuck_those_who_sealed_carry_the_audit_and_the_others_are_free() public {
        fillPool();
        uint256 taskId = startTask(fourVerifiers());
        uint256 claimId = sealedSlice(taskId, true);
        drawFor(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        assertEq(drawn.length, 4);
        for (uint256 i = 0; i < 2; ++i) {
            sealAs(claimId, drawn[i], 2, digestOf(claimId, drawn[i]));
        }
        vm.warp(decoys.sealedUntil(claimId) - 60);
        openAs(claimId, true);
        assertStage(claimId, Stage.Disclosing);
        vm.expectPartialRevert(Audit.WrongStage.selector);
        vm.prank(drawn[2]);
        audit.seal(claimId, SECRET);
        disclose(claimId, disclosureOf(claimId));
        revealAs(claimId, drawn[0], 2, digestOf(claimId, drawn[0]));
        revealAs(claimId, drawn[1], 2, digestOf(claimId, drawn[1]));
        passWindow(claimId);
        market.settle(taskId);
        for (uint256 i = 0; i < 4; ++i) {
            assertEq(seatWei(drawn[i]), 100 ether, "nobody is punished");
            // a quarter of the jackpot each, as if all four had caught it
            assertEq(stake.freeOf(drawn[i]), FUNDS / 2 - 100 ether + (i < 2 ? 4 ether + SHARE / 2 : 0), "paid");
        }
        assertConserved();
    }

    function test_opened_with_too_few_seals_the_draw_begins_again_and_costs_no_round() public {
        Spec memory spec = fourVerifiers();
        for (uint256 quorum = 0; quorum < 2; ++quorum) {
            uint256 saved = vm.snapshotState();
            if (quorum == 1) (spec.assurance, spec.verifiers) = (3, 2);
            uint256 taskId = startTask(spec);
            uint256 claimId = sealedSlice(taskId, true);
            drawFor(claimId);
            address[] memory drawn = waiting(claimId, Verdict.Drawn);
            sealAs(claimId, drawn[0], 2, digestOf(claimId, drawn[0]));
            vm.warp(decoys.sealedUntil(claimId) - 60);
            openAs(claimId, true);
            assertStage(claimId, Stage.Drawing);
            (,,, uint256 sealed_,, uint256 round,) = audit.stageOf(claimId);
            assertEq(sealed_, 0, "seals");
            assertEq(round, 0, "round");
            drawFor(claimId);
            assertEq(waiting(claimId, Verdict.Drawn).length, drawn.length, "everybody is eligible again");
            sealAll(claimId, 1);
            disclose(claimId, disclosureOf(claimId));
            revealAll(claimId, 1);
            passWindow(claimId);
            market.settle(taskId);
            assertEq(market.taskOf(taskId).accepted, 1);
            assertConserved();
            vm.revertToState(saved);
        }
    }

    // ---------------------------------------------------------------- farming

    function handOnTo(uint256 key, uint256 taskId, Terms memory terms) internal {
        Offer memory offer = anOffer(vm.addr(key));
        bytes memory signature = sign(key, offer);
        vm.prank(submitter);
        market.handOn(taskId, terms, offer, signature, noPermit());
        vm.prank(vm.addr(key));
        market.confirm(taskId);
    }

    /// Seal, look at the bit, drop the task when it is 0, hand it on to the next name: each look has paid for itself.
    function test_a_seal_that_is_never_claimed_has_paid_all_the_same() public {
        uint256 taskId = startTask(decoySpec());
        sealHonestly(taskId);
        vm.warp(block.timestamp + 601);
        market.missDeadline(taskId);
        assertEq(stake.poolWei(), FEE, "first look");
        handOnTo(RIVAL_KEY, taskId, someTerms());
        sealHonestly(taskId);
        assertEq(stake.poolWei(), 2 * FEE, "second look");
        assertConserved();
    }

    /// The seal outlives a halted task, and serves one claim; its jackpots are those of the price that its fee was paid on.
    function test_an_old_seal_wins_no_more_than_it_paid_for_and_only_once() public {
        fillPool();
        uint256 taskId = startTask(decoySpec());
        sealHonestly(taskId);
        anchorWith(taskId, true);
        vm.warp(block.timestamp + 601);
        market.missDeadline(taskId);
        // the same solver again, at a hundred times the price
        handOnTo(SOLVER_KEY, taskId, Terms({slicePriceWei: 800 ether, auditFeeWei: 4 ether, bondWei: 800 ether}));
        Leaves memory l = leavesFor(taskId, 0);
        uint256 claimId = claimTree(taskId, l.states, l.decoyCommits);
        contestAs(challenger, claimId);
        toDisclosing(claimId);
        openAs(claimId, true);
        giveBack(challenger, claimId);
        assertEq(stake.freeOf(challenger), FUNDS / 2 + WHISTLE, "of the price that was sealed");
        // void, and claimed once more: everybody knows the secret by now
        vm.warp(deadlineOf(claimId) + 1);
        audit.lapse(claimId);
        handOnTo(SOLVER_KEY, taskId, someTerms());
        claimId = claimTree(taskId, l.states, l.decoyCommits);
        assertTrue(decoys.isOpen(claimId), "plain");
        contestAs(challenger, claimId);
        vm.expectRevert(abi.encodeWithSelector(Decoys.NothingToOpen.selector, claimId));
        vm.prank(solver);
        decoys.openDecoy(claimId, SECRET, l);
        vm.expectRevert(abi.encodeWithSelector(Decoys.SealedAlready.selector, taskId, 0, solver));
        vm.prank(solver);
        decoys.seal(taskId, 0, SECRET);
        assertConserved();
    }

    function test_no_payment_takes_more_than_a_quarter_of_the_pool() public {
        uint256 taskId = startTask(decoySpec());
        uint256 claimId = sealedSlice(taskId, true);
        contestAs(challenger, claimId);
        toDisclosing(claimId);
        openAs(claimId, true);
        giveBack(challenger, claimId);
        assertEq(stake.freeOf(challenger), FUNDS / 2 + FEE / 4, "a quarter of what is there");
        assertEq(stake.poolWei(), FEE - FEE / 4, "pool");
        assertConserved();
    }

    /// Whoever wins: a decoy pays at most ¾ · F · m, F the seal's fee, so 1/m of them at most ¾ · F on average.
    function testFuzz_a_decoy_never_pays_more_than_its_seals_have_paid(uint128 price, uint16 oneIn) public pure {
        uint256 m = bound(oneIn, 8, 1024);
        uint256 fee = uint256(price) / 50;
        uint256 counted = uint256(price) - uint256(price) % 50;
        assertTrue(4 * (counted * m / 200 + counted * m / 100) <= 3 * fee * m, "bound");
    }

    /// The bit is 1 once in m, whatever the secret: 40,000 anchors.
    function test_one_claim_in_m_shows_a_decoy() public view {
        for (uint256 m = 8; m <= 64; m *= 8) {
            uint256 n = 0;
            for (uint256 i = 0; i < 20_000; ++i) {
                if (decoys.isDecoy(bytes32(i), 7, 3, SECRET, m)) ++n;
            }
            // five standard deviations, below sqrt(20,000 / m) each
            uint256 expected = 20_000 / m;
            uint256 margin = m == 8 ? 250 : 90;
            assertTrue(n > expected - margin && n < expected + margin, "share");
        }
    }
}
