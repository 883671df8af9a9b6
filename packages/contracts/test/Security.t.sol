// SPDX-License-Identifier: Apache-2.0
// What a hostile reader tried (docs/security.md): robbery of the honest, re-entrance through the token, races of seats, and every deadline to the second.
pragma solidity ^0.8.28;

import {Scene} from "./Scene.sol";
import {Audit} from "../src/market/Audit.sol";
import {Market} from "../src/market/Market.sol";
import {Stake} from "../src/market/Stake.sol";
import {Assignment, ClaimStatus, Offer, Permit, Spec, Stage, Task, TaskStatus, Terms, Verdict} from "../src/market/Types.sol";

/// A token that calls whoever it was told to, once, while it is moved.
contract Meddler {
    mapping(address => uint256) public balanceOf;
    address private _target;
    bytes private _call;
    bool public answered;
    bytes public answer;

    function mint(address to, uint256 amountWei) external {
        balanceOf[to] += amountWei;
    }

    function allowance(address, address) external pure returns (uint256) {
        return type(uint256).max;
    }

    function plan(address target, bytes calldata call_) external {
        (_target, _call) = (target, call_);
    }

    function transfer(address to, uint256 amountWei) external returns (bool) {
        return transferFrom(msg.sender, to, amountWei);
    }

    function transferFrom(address from, address to, uint256 amountWei) public returns (bool) {
        balanceOf[from] -= amountWei;
        balanceOf[to] += amountWei;
        if (_target != address(0)) {
            (address target, bytes memory call_) = (_target, _call);
            _target = address(0);
            (answered, answer) = target.call(call_);
        }
        return true;
    }
}

/// A submitter that the token calls back: it does in the middle of its own call what it likes.
contract Caller {
    Market internal immutable market;

    constructor(Market market_) {
        market = market_;
    }

    function submit(Spec memory spec, Terms memory terms, Offer memory offer, bytes memory signature) public returns (uint256) {
        Permit memory none;
        return market.submit(spec, terms, offer, signature, none);
    }

    function handOn(uint256 taskId, Terms memory terms, Offer memory offer, bytes memory signature) public {
        Permit memory none;
        market.handOn(taskId, terms, offer, signature, none);
    }

    function cancel(uint256 taskId) public {
        market.cancel(taskId);
    }

    function deposit(Stake stake, uint256 amountWei) public {
        stake.deposit(amountWei);
    }
}

contract SecurityTest is Scene {
    function wealthOf(address who) internal view returns (uint256) {
        return stake.freeOf(who) + stake.lockedOf(who);
    }

    function seatWei(address verifier) internal view returns (uint256) {
        return stake.seatOf(uint160(verifier) - 0xbee0).stakeWei;
    }

    // ---------------------------------------------------------------- losing on purpose

    /// The solver, its submitter and its challenger are one: they let the solver's clock run out in a segment that honest verifiers attested.
    function test_losing_on_purpose_robs_nobody_and_costs_more_than_it_ruins() public {
        Spec memory spec = aSpec();
        (spec.assurance, spec.verifiers) = (3, 4);
        uint256 taskId = startTask(spec);
        uint256 claimId = claimSlice(taskId);
        auditHonestly(claimId);
        uint256 before = wealthOf(solver) + wealthOf(submitter) + wealthOf(challenger) + stake.escrowOf(taskId);
        vm.prank(court);
        market.contest(claimId, challenger);
        vm.prank(court);
        market.convict(claimId, challenger, 2);
        uint256 gang = wealthOf(solver) + wealthOf(submitter) + wealthOf(challenger);
        uint256 ruined = 0;
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            ruined += 100 ether - seatWei(verifiers[i]);
            (, bool active) = stake.seatAt(i, block.timestamp + 1);
            assertTrue(active, "nor are they jailed");
        }
        assertEq(ruined, 4 ether, "an eighth of the bond, between the four");
        assertTrue(before - gang >= ruined, "whoever did it lost at least as much");
        assertConserved();
    }

    /// Whatever the bond and the pool, and whoever the submitter is: convicting oneself loses an eighth of the bond at least.
    function testFuzz_convicting_oneself_never_pays(uint64 bond, uint64 pool) public {
        uint256 bondWei = bound(bond, 8 ether, 1000 ether);
        // a pool by a solver that does not disclose
        uint256 poolWei = bound(pool, 0, 400 ether);
        vm.startPrank(address(market));
        stake.lock(rival, poolWei);
        stake.slash(rival, address(stake), poolWei);
        vm.stopPrank();
        Offer memory offer = anOffer(solver);
        bytes memory signature = sign(SOLVER_KEY, offer);
        vm.prank(submitter);
        uint256 taskId = market.submit(aSpec(), Terms(8 ether, 4 ether, bondWei), offer, signature, noPermit());
        vm.prank(solver);
        market.confirm(taskId);
        uint256 claimId = claimSlice(taskId);
        uint256 before = wealthOf(solver) + wealthOf(submitter) + wealthOf(challenger) + stake.escrowOf(taskId);
        vm.prank(court);
        market.contest(claimId, challenger);
        vm.prank(court);
        market.convict(claimId, challenger, 0);
        uint256 gang = wealthOf(solver) + wealthOf(submitter) + wealthOf(challenger);
        assertTrue(before - gang >= bondWei / 8, "all three names together lose");
        assertConserved();
    }

    /// Seats that conviction after conviction has eaten away are jailed at last.
    function test_a_seat_that_is_half_gone_is_jailed() public {
        vm.startPrank(address(market));
        stake.slashSeat(0, verifiers[0], 50 ether, address(0));
        (, bool active) = stake.seatAt(0, block.timestamp + 1);
        assertTrue(active, "half is left");
        stake.slashSeat(0, verifiers[0], 1, address(0));
        vm.stopPrank();
        (, active) = stake.seatAt(0, block.timestamp + 1);
        assertFalse(active, "less than half");
    }

    // ---------------------------------------------------------------- the token calls back

    function meddling() internal returns (Meddler coin, Caller who) {
        coin = new Meddler();
        _deploy(address(coin));
        who = new Caller(market);
        coin.mint(address(who), 1000 ether);
        coin.mint(address(this), 1000 ether);
    }

    function offerTo(uint256 key) internal view returns (Offer memory offer, bytes memory signature) {
        offer = anOffer(vm.addr(key));
        signature = sign(key, offer);
    }

    function test_a_token_that_submits_within_a_submission_makes_whole_tasks_or_none() public {
        (Meddler coin, Caller who) = meddling();
        (Offer memory offer, bytes memory signature) = offerTo(SOLVER_KEY);
        // without money of its own the inner one pulls: refused by the ledger's guard
        coin.plan(address(who), abi.encodeCall(who.submit, (aSpec(), someTerms(), offer, signature)));
        who.submit(aSpec(), someTerms(), offer, signature);
        assertFalse(coin.answered(), "re-entered");
        assertEq(stake.escrowOf(1), 72 ether, "the outer one stands");
        assertEq(market.taskCount(), 1);
        // with money of its own
        who.deposit(stake, 72 ether);
        coin.plan(address(who), abi.encodeCall(who.submit, (aSpec(), someTerms(), offer, signature)));
        Spec memory dear = aSpec();
        dear.slices = 6;
        // the inner one spends what the outer one had counted on: that is refused, and the inner one with it
        vm.expectPartialRevert(Stake.FreeTooLow.selector);
        who.submit(dear, someTerms(), offer, signature);
        assertEq(market.taskCount(), 1, "none");
        assertEq(coin.balanceOf(address(stake)), stake.depositedWei(), "tokens held");
    }

    function test_a_token_that_hands_on_or_cancels_within_a_handing_on_escrows_once() public {
        (Meddler coin, Caller who) = meddling();
        (Offer memory offer, bytes memory signature) = offerTo(SOLVER_KEY);
        uint256 taskId = who.submit(aSpec(), someTerms(), offer, signature);
        vm.prank(solver);
        market.expire(taskId);
        // 72 are free now; a dearer handing on pulls, and within it the same task is handed on more cheaply
        (Offer memory other, bytes memory signed) = offerTo(RIVAL_KEY);
        Terms memory dear = Terms({slicePriceWei: 20 ether, auditFeeWei: 4 ether, bondWei: 20 ether});
        coin.plan(address(who), abi.encodeCall(who.handOn, (taskId, someTerms(), other, signed)));
        vm.expectRevert(abi.encodeWithSelector(Market.WrongStatus.selector, taskId, TaskStatus.Offered));
        who.handOn(taskId, dear, offer, signature);
        coin.plan(address(who), abi.encodeCall(who.cancel, (taskId)));
        vm.expectRevert(abi.encodeWithSelector(Market.WrongStatus.selector, taskId, TaskStatus.Cancelled));
        who.handOn(taskId, dear, offer, signature);
        assertEq(stake.escrowOf(taskId), 0, "nothing half done");
        assertStatus(taskId, TaskStatus.Halted);
    }

    function test_a_permit_is_good_for_one_pull() public {
        vm.prank(submitter);
        token.approve(address(stake), 0);
        Permit memory p = permitFrom(SUBMITTER_KEY, 72 ether);
        (Offer memory offer, bytes memory signature) = offerTo(SOLVER_KEY);
        vm.startPrank(submitter);
        market.submit(aSpec(), someTerms(), offer, signature, p);
        vm.expectRevert();
        market.submit(aSpec(), someTerms(), offer, signature, p);
        vm.stopPrank();
        // nor is it good for anybody else's task
        p = permitFrom(SUBMITTER_KEY, 72 ether);
        address thief = address(0x7e1f);
        vm.expectRevert();
        vm.prank(thief);
        market.submit(aSpec(), someTerms(), offer, signature, p);
        assertEq(token.balanceOf(submitter), FUNDS - 72 ether, "wallet");
    }

    // ---------------------------------------------------------------- seats

    function giveUp(address verifier) internal {
        uint256[] memory one = new uint256[](1);
        one[0] = uint160(verifier) - 0xbee0;
        vm.prank(verifier);
        stake.leaveSeats(one);
    }

    /// Draws with the longest windows, silence in two rounds, and a dispute that ends at the last second of both clocks: the seat is still there.
    function test_no_seat_is_withdrawn_before_the_longest_audit_of_its_place_is_over() public {
        Spec memory spec = aSpec();
        (spec.verifiers, spec.segments, spec.slices) = (1, 4, 1);
        (spec.sealSeconds, spec.discloseSeconds, spec.revealSeconds) = (1 days, 1 days, 1 days);
        (spec.challengeSeconds, spec.clockSeconds) = (1 days, 1 days);
        uint256 claimId = claimSlice(startTask(spec));
        drawFor(claimId);
        address first = waiting(claimId, Verdict.Drawn)[0];
        giveUp(first);
        uint256 left = block.timestamp;
        vm.warp(deadlineOf(claimId));
        sealAs(claimId, first, 1, digestOf(claimId, first));
        vm.warp(deadlineOf(claimId));
        disclose(claimId, disclosureOf(claimId));
        vm.warp(deadlineOf(claimId));
        revealAs(claimId, first, 1, digestOf(claimId, first));
        vm.warp(deadlineOf(claimId));
        vm.prank(court);
        market.contest(claimId, challenger);
        vm.warp(block.timestamp + 2 days);
        // two more rounds would have cost four days more
        assertTrue(block.timestamp + 4 days < left + stake.UNBONDING_SECONDS(), "in reach");
        uint256[] memory one = new uint256[](1);
        one[0] = uint160(first) - 0xbee0;
        vm.expectPartialRevert(Stake.SeatStillBound.selector);
        vm.prank(first);
        stake.withdrawSeats(one);
        vm.prank(court);
        market.convict(claimId, challenger, 1);
        assertEq(seatWei(first), 96 ether, "slashed");
    }

    /// A place in the list that changed hands is not slashed for what its former owner did.
    function test_a_seat_taken_over_by_another_owes_nothing() public {
        uint256 claimId = claimSlice(startTask());
        drawFor(claimId);
        address gone = waiting(claimId, Verdict.Drawn)[0];
        giveUp(gone);
        vm.warp(block.timestamp + 14 days);
        uint256[] memory one = new uint256[](1);
        one[0] = uint160(gone) - 0xbee0;
        vm.prank(gone);
        stake.withdrawSeats(one);
        vm.prank(rival);
        stake.takeSeats(1);
        assertEq(stake.seatOf(one[0]).owner, rival, "the same place");
        audit.redraw(claimId);
        assertEq(stake.seatOf(one[0]).stakeWei, 100 ether, "unharmed");
        assertConserved();
    }

    // ---------------------------------------------------------------- to the second

    function test_every_deadline_to_the_second() public {
        // to confirm
        uint256 taskId = submitTask(aSpec());
        uint256 deadline = market.taskOf(taskId).deadline;
        vm.warp(deadline);
        vm.expectPartialRevert(Market.TooEarly.selector);
        market.expire(taskId);
        uint256 saved = vm.snapshotState();
        vm.warp(deadline + 1);
        vm.expectPartialRevert(Market.TooLate.selector);
        vm.prank(solver);
        market.confirm(taskId);
        market.expire(taskId);
        vm.revertToState(saved);
        vm.prank(solver);
        market.confirm(taskId);
        // to claim
        deadline = market.taskOf(taskId).deadline;
        vm.warp(deadline);
        vm.expectPartialRevert(Market.TooEarly.selector);
        market.missDeadline(taskId);
        saved = vm.snapshotState();
        vm.warp(deadline + 1);
        market.missDeadline(taskId);
        vm.revertToState(saved);
        uint256 claimId = claimSlice(taskId);
        // to seal
        drawFor(claimId);
        deadline = deadlineOf(claimId);
        vm.warp(deadline);
        vm.expectPartialRevert(Audit.TooEarly.selector);
        audit.redraw(claimId);
        saved = vm.snapshotState();
        vm.warp(deadline + 1);
        audit.redraw(claimId);
        vm.revertToState(saved);
        sealAll(claimId, 1);
        // to disclose
        deadline = deadlineOf(claimId);
        vm.warp(deadline);
        vm.expectPartialRevert(Audit.TooEarly.selector);
        audit.lapse(claimId);
        saved = vm.snapshotState();
        vm.warp(deadline + 1);
        audit.lapse(claimId);
        vm.revertToState(saved);
        disclose(claimId, disclosureOf(claimId));
        // to reveal
        deadline = deadlineOf(claimId);
        vm.warp(deadline);
        vm.expectPartialRevert(Audit.WrongStage.selector);
        audit.sweep(claimId);
        saved = vm.snapshotState();
        vm.warp(deadline + 1);
        assertStage(claimId, Stage.Window);
        audit.sweep(claimId);
        vm.revertToState(saved);
        revealAll(claimId, 1);
        // the window
        deadline = deadlineOf(claimId);
        vm.warp(deadline - 1);
        vm.expectPartialRevert(Audit.NotPassed.selector);
        market.settle(taskId);
        vm.warp(deadline);
        market.settle(taskId);
        assertConserved();
    }

    function test_an_objection_may_be_disputed_to_the_last_second_of_its_word() public {
        uint256 taskId = startTask();
        uint256 claimId = claimSlice(taskId);
        drawFor(claimId);
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        sealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        sealAs(claimId, drawn[1], 2, 0);
        disclose(claimId, disclosureOf(claimId));
        revealAs(claimId, drawn[0], 1, digestOf(claimId, drawn[0]));
        revealAs(claimId, drawn[1], 2, 0);
        vm.warp(block.timestamp + 120);
        vm.expectPartialRevert(Audit.NotPassed.selector);
        market.settle(taskId);
        vm.startPrank(court);
        market.contest(claimId, drawn[1]);
        audit.disputed(claimId, drawn[1]);
        vm.stopPrank();
        vm.warp(block.timestamp + 1);
        vm.expectPartialRevert(Market.GamesOpen.selector);
        market.settle(taskId);
        assertEq(seatWei(drawn[1]), 100 ether, "kept its word");
    }
}
