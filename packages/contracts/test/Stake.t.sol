// SPDX-License-Identifier: Apache-2.0
// The ledger: tokens in and out, however odd the token; moves only for the contracts; seats from taking to withdrawing.
pragma solidity ^0.8.28;

import {Test} from "./Test.sol";
import {Scene} from "./Scene.sol";
import {Signature} from "../src/market/Signature.sol";
import {IToken, Seat, Stake} from "../src/market/Stake.sol";
import {TestToken} from "../src/market/TestToken.sol";
import {Permit} from "../src/market/Types.sol";

/// Tokens as strangers write them: a fee on every transfer, no answer, the answer false, or a call back into the ledger.
contract OddToken {
    enum Habit {
        TakesAFee,
        SaysNothing,
        SaysFalse,
        Reverts,
        CallsBack,
        MovesNothing
    }

    Habit public habit;
    mapping(address => uint256) public balanceOf;
    bytes public callback;
    bool public calledBack;
    bool private _within;

    function become(Habit habit_, bytes calldata callback_) external {
        (habit, callback) = (habit_, callback_);
    }

    function mint(address to, uint256 amountWei) external {
        balanceOf[to] += amountWei;
    }

    function allowance(address, address) external pure returns (uint256) {
        return type(uint256).max;
    }

    function transfer(address to, uint256 amountWei) external returns (bool) {
        return _move(msg.sender, to, amountWei);
    }

    function transferFrom(address from, address to, uint256 amountWei) external returns (bool) {
        return _move(from, to, amountWei);
    }

    function _move(address from, address to, uint256 amountWei) private returns (bool) {
        require(habit != Habit.Reverts, "no");
        if (habit == Habit.CallsBack && !_within) {
            _within = true;
            (bool ok,) = msg.sender.call(callback);
            calledBack = calledBack || ok;
            _within = false;
        }
        if (habit != Habit.MovesNothing) {
            balanceOf[from] -= amountWei;
            balanceOf[to] += habit == Habit.TakesAFee ? amountWei - amountWei / 100 : amountWei;
        }
        if (habit == Habit.SaysNothing) {
            // Old tokens return no data at all.
            bytes memory nothing = "";
            assembly {
                return(add(nothing, 32), 0)
            }
        }
        return habit != Habit.SaysFalse;
    }
}

contract StakeTest is Scene {
    address internal alice = address(0xa1);

    function odd(OddToken.Habit habit, bytes memory callback) internal returns (Stake ledger, OddToken coin) {
        coin = new OddToken();
        ledger = new Stake(IToken(address(coin)), address(this), address(this), address(this), address(this));
        coin.mint(alice, 1000);
        coin.mint(address(ledger), 0);
        coin.become(habit, callback);
    }

    // ---------------------------------------------------------------- tokens

    function test_deposits_and_withdrawals_balance() public {
        vm.startPrank(solver);
        stake.deposit(100);
        stake.withdraw(40);
        vm.stopPrank();
        assertEq(stake.freeOf(solver), FUNDS / 2 + 60);
        assertEq(token.balanceOf(solver), FUNDS / 2 - 60);
        assertConserved();
        vm.expectRevert(abi.encodeWithSelector(Stake.FreeTooLow.selector, solver, FUNDS / 2 + 60, FUNDS));
        vm.prank(solver);
        stake.withdraw(FUNDS);
    }

    function test_deposits_with_a_permit() public {
        vm.prank(submitter);
        token.approve(address(stake), 0);
        Permit memory p = permitFrom(SUBMITTER_KEY, 7 ether);
        vm.prank(submitter);
        stake.depositWithPermit(p);
        assertEq(stake.freeOf(submitter), 7 ether);
        vm.expectRevert(abi.encodeWithSelector(Stake.TokenRefused.selector, TestToken.transferFrom.selector, submitter, address(stake), 1));
        vm.prank(submitter);
        stake.deposit(1);
    }

    function test_a_ledger_needs_a_token() public {
        vm.expectRevert(abi.encodeWithSelector(Stake.NoCode.selector, alice));
        new Stake(IToken(alice), alice, alice, alice, alice);
    }

    function test_credits_what_arrives_of_a_token_that_takes_a_fee() public {
        (Stake ledger, OddToken coin) = odd(OddToken.Habit.TakesAFee, "");
        vm.startPrank(alice);
        ledger.deposit(1000);
        assertEq(ledger.freeOf(alice), 990);
        assertEq(coin.balanceOf(address(ledger)), 990);
        ledger.withdraw(990);
        vm.stopPrank();
        assertEq(coin.balanceOf(address(ledger)), 0);
    }

    function test_takes_a_token_that_says_nothing() public {
        (Stake ledger,) = odd(OddToken.Habit.SaysNothing, "");
        vm.prank(alice);
        ledger.deposit(10);
        assertEq(ledger.freeOf(alice), 10);
    }

    function test_refuses_a_token_that_says_false_reverts_or_moves_nothing() public {
        bytes memory refused = abi.encodeWithSelector(Stake.TokenRefused.selector, IToken.transferFrom.selector, alice, address(0), 10);
        OddToken.Habit[2] memory habits = [OddToken.Habit.SaysFalse, OddToken.Habit.Reverts];
        for (uint256 i = 0; i < habits.length; ++i) {
            (Stake ledger,) = odd(habits[i], "");
            refused = abi.encodeWithSelector(Stake.TokenRefused.selector, IToken.transferFrom.selector, alice, address(ledger), 10);
            vm.expectRevert(refused);
            vm.prank(alice);
            ledger.deposit(10);
        }
        (Stake still,) = odd(OddToken.Habit.MovesNothing, "");
        vm.expectRevert(abi.encodeWithSelector(Stake.NothingArrived.selector, alice, 10));
        vm.prank(alice);
        still.deposit(10);
    }

    function test_a_token_that_refuses_a_withdrawal_leaves_the_balance() public {
        (Stake ledger, OddToken coin) = odd(OddToken.Habit.SaysNothing, "");
        vm.startPrank(alice);
        ledger.deposit(10);
        coin.become(OddToken.Habit.Reverts, "");
        vm.expectRevert(abi.encodeWithSelector(Stake.TokenRefused.selector, IToken.transfer.selector, address(ledger), alice, 10));
        ledger.withdraw(10);
        assertEq(ledger.freeOf(alice), 10);
        assertEq(ledger.withdrawnWei(), 0);
    }

    /// The token is a depositor itself, so only the guard stands between it and a credit for what alice brings.
    function test_a_token_that_calls_back_gets_nothing_twice() public {
        (Stake ledger, OddToken coin) = odd(OddToken.Habit.SaysNothing, "");
        coin.mint(address(coin), 1000);
        vm.prank(address(coin));
        ledger.deposit(100);
        vm.prank(alice);
        ledger.deposit(10);
        bytes[2] memory calls = [abi.encodeCall(Stake.withdraw, (5)), abi.encodeCall(Stake.deposit, (5))];
        for (uint256 i = 0; i < calls.length; ++i) {
            coin.become(OddToken.Habit.CallsBack, calls[i]);
            vm.prank(alice);
            ledger.deposit(10);
            assertFalse(coin.calledBack(), "within a deposit");
            vm.prank(alice);
            ledger.withdraw(10);
            assertFalse(coin.calledBack(), "within a withdrawal");
        }
        assertEq(ledger.freeOf(alice), 10);
        assertEq(ledger.freeOf(address(coin)), 100);
        assertEq(coin.balanceOf(address(ledger)), 110);
    }

    // ---------------------------------------------------------------- who may move

    function test_only_the_contracts_move_money() public {
        vm.startPrank(alice);
        bytes memory refusal = abi.encodeWithSelector(Stake.NotAllowed.selector, alice);
        vm.expectRevert(refusal);
        stake.pull(solver, 1, noPermit());
        vm.expectRevert(refusal);
        stake.lock(solver, 1);
        vm.expectRevert(refusal);
        stake.unlock(solver, 1);
        vm.expectRevert(refusal);
        stake.escrow(1, solver, 1);
        vm.expectRevert(refusal);
        stake.release(1, alice, 1);
        vm.expectRevert(refusal);
        stake.slash(solver, alice, 1);
        vm.expectRevert(refusal);
        stake.burn(solver, 1);
        vm.expectRevert(refusal);
        stake.reward(alice, 1);
        vm.expectRevert(refusal);
        stake.slashSeat(0, verifiers[0], 1, alice);
        vm.stopPrank();
        // the court has no business with escrow and seats, nor the audit with bonds
        refusal = abi.encodeWithSelector(Stake.NotAllowed.selector, court);
        vm.startPrank(court);
        vm.expectRevert(refusal);
        stake.release(1, court, 1);
        vm.expectRevert(refusal);
        stake.slashSeat(0, verifiers[0], 1, court);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(Stake.NotAllowed.selector, address(audit)));
        vm.prank(address(audit));
        stake.slash(solver, address(audit), 1);
    }

    function test_no_account_goes_below_zero() public {
        vm.startPrank(address(market));
        vm.expectRevert(abi.encodeWithSelector(Stake.FreeTooLow.selector, alice, 0, 1));
        stake.lock(alice, 1);
        vm.expectRevert(abi.encodeWithSelector(Stake.LockedTooLow.selector, solver, 0, 1));
        stake.unlock(solver, 1);
        vm.expectRevert(abi.encodeWithSelector(Stake.LockedTooLow.selector, solver, 0, 1));
        stake.slash(solver, alice, 1);
        vm.expectRevert(abi.encodeWithSelector(Stake.LockedTooLow.selector, solver, 0, 1));
        stake.burn(solver, 1);
        vm.expectRevert(abi.encodeWithSelector(Stake.EscrowTooLow.selector, 7, 0, 1));
        stake.release(7, alice, 1);
        assertEq(stake.reward(alice, 100), 0, "an empty pool gives nothing");
        vm.stopPrank();
    }

    function testFuzz_moves_conserve(uint64 a, uint64 b, uint64 c, uint64 d) public {
        vm.startPrank(address(market));
        uint256 locked = bound(a, 0, FUNDS / 2);
        stake.lock(solver, locked);
        uint256 slashed = bound(b, 0, locked);
        stake.slash(solver, challenger, slashed);
        uint256 burnt = bound(c, 0, locked - slashed);
        stake.burn(solver, burnt);
        uint256 pooled = locked - slashed - burnt;
        stake.slash(solver, address(stake), pooled);
        uint256 paid = stake.reward(rival, d);
        vm.stopPrank();
        assertEq(stake.poolWei(), pooled - paid, "pool");
        assertEq(paid, d < pooled / 4 ? d : pooled / 4, "paid");
        assertEq(stake.burntWei(), burnt, "burnt");
        assertConserved();
    }

    // ---------------------------------------------------------------- seats

    function one(uint256 index) internal pure returns (uint256[] memory list) {
        list = new uint256[](1);
        list[0] = index;
    }

    function test_seats_are_counted_as_they_stood() public {
        uint256 start = block.timestamp;
        vm.warp(start + 100);
        vm.prank(rival);
        stake.takeSeats(2);
        assertEq(stake.seatCount(), VERIFIERS + 2);
        assertEq(stake.freeOf(rival), FUNDS / 2 - 200 ether);
        (address owner, bool active) = stake.seatAt(4, start + 99);
        assertEq(owner, rival);
        assertFalse(active, "not before it was taken");
        (, active) = stake.seatAt(4, start + 100);
        assertFalse(active, "nor in the same second");
        (, active) = stake.seatAt(4, start + 101);
        assertTrue(active, "from then on");
        vm.warp(start + 200);
        vm.prank(rival);
        stake.leaveSeats(one(4));
        (, active) = stake.seatAt(4, start + 200);
        assertTrue(active, "leaving changes no earlier count, nor that second's");
        (, active) = stake.seatAt(4, start + 201);
        assertFalse(active, "left");
        (, active) = stake.seatAt(5, start + 201);
        assertTrue(active, "the other one stays");
    }

    function test_a_left_seat_is_bound_for_a_fortnight_then_its_place_is_taken_again() public {
        uint256 start = block.timestamp;
        vm.startPrank(verifiers[1]);
        vm.expectRevert(abi.encodeWithSelector(Stake.SeatStillBound.selector, 1, type(uint256).max));
        stake.withdrawSeats(one(1));
        stake.leaveSeats(one(1));
        vm.expectRevert(abi.encodeWithSelector(Stake.SeatIsLeft.selector, 1, start));
        stake.leaveSeats(one(1));
        vm.warp(start + 14 days - 1);
        vm.expectRevert(abi.encodeWithSelector(Stake.SeatStillBound.selector, 1, start + 14 days));
        stake.withdrawSeats(one(1));
        vm.warp(start + 14 days);
        uint256 before = stake.freeOf(verifiers[1]);
        stake.withdrawSeats(one(1));
        assertEq(stake.freeOf(verifiers[1]), before + 100 ether);
        vm.expectRevert(abi.encodeWithSelector(Stake.NotYourSeat.selector, 1, address(0), verifiers[1]));
        stake.withdrawSeats(one(1));
        vm.stopPrank();
        assertConserved();
        vm.prank(rival);
        stake.takeSeats(2);
        assertEq(stake.seatOf(1).owner, rival, "the vacant place first");
        assertEq(stake.seatCount(), VERIFIERS + 1, "then the end of the list");
        assertConserved();
    }

    function test_slashing_jails_and_takes_no_more_than_there_is() public {
        vm.startPrank(address(audit));
        assertEq(stake.slashSeat(0, verifiers[0], 30 ether, rival), 30 ether);
        (, bool active) = stake.seatAt(0, block.timestamp + 1);
        assertFalse(active, "jailed");
        assertEq(stake.slashSeat(0, verifiers[0], 80 ether, address(0)), 70 ether);
        assertEq(stake.slashSeat(0, verifiers[0], 1, address(stake)), 0);
        assertEq(stake.slashSeat(1, verifiers[0], 1, rival), 0, "somebody else's seat");
        vm.stopPrank();
        Seat memory seat = stake.seatOf(0);
        assertEq(seat.stakeWei, 0);
        assertEq(stake.freeOf(rival), FUNDS / 2 + 30 ether);
        assertEq(stake.burntWei(), 70 ether);
        vm.warp(block.timestamp + 14 days);
        vm.prank(verifiers[0]);
        stake.withdrawSeats(one(0));
        assertConserved();
    }

    function test_seats_are_their_owners_and_come_in_bounded_numbers() public {
        vm.startPrank(rival);
        vm.expectRevert(abi.encodeWithSelector(Stake.NotYourSeat.selector, 0, verifiers[0], rival));
        stake.leaveSeats(one(0));
        vm.expectRevert(abi.encodeWithSelector(Stake.BadSeatNumber.selector, 0, 64));
        stake.takeSeats(0);
        vm.expectRevert(abi.encodeWithSelector(Stake.BadSeatNumber.selector, 65, 64));
        stake.takeSeats(65);
        vm.expectRevert(abi.encodeWithSelector(Stake.BadSeatNumber.selector, 65, 64));
        stake.leaveSeats(new uint256[](65));
        vm.expectRevert(abi.encodeWithSelector(Stake.BadSeatNumber.selector, 65, 64));
        stake.withdrawSeats(new uint256[](65));
        vm.expectRevert(abi.encodeWithSelector(Stake.FreeTooLow.selector, rival, FUNDS / 2, 6000 ether));
        stake.takeSeats(60);
        vm.stopPrank();
    }

    // ---------------------------------------------------------------- the test token

    function test_the_token_mints_to_anybody_up_to_its_cap() public {
        token.mint(alice, 1_000_000 ether);
        assertEq(token.balanceOf(alice), 1_000_000 ether);
        vm.expectRevert(abi.encodeWithSelector(TestToken.MintTooLarge.selector, 1_000_000 ether + 1, 1_000_000 ether));
        token.mint(alice, 1_000_000 ether + 1);
        vm.expectRevert(abi.encodeWithSelector(TestToken.ToNobody.selector));
        token.mint(address(0), 1);
    }

    function test_the_token_moves_by_balance_and_allowance() public {
        token.mint(alice, 10);
        vm.startPrank(alice);
        vm.expectRevert(abi.encodeWithSelector(TestToken.BalanceTooLow.selector, alice, 10, 11));
        token.transfer(rival, 11);
        token.approve(rival, 6);
        vm.stopPrank();
        vm.startPrank(rival);
        token.transferFrom(alice, rival, 5);
        vm.expectRevert(abi.encodeWithSelector(TestToken.AllowanceTooLow.selector, alice, rival, 1, 2));
        token.transferFrom(alice, rival, 2);
        vm.stopPrank();
        assertEq(token.balanceOf(alice), 5);
    }

    function test_permits_are_used_once_in_time_and_by_their_signer() public {
        Permit memory p = permitFrom(SUBMITTER_KEY, 5);
        vm.expectPartialRevert(TestToken.WrongSigner.selector);
        token.permit(solver, address(stake), 5, p.deadline, p.v, p.r, p.s);
        token.permit(submitter, address(stake), 5, p.deadline, p.v, p.r, p.s);
        assertEq(token.allowance(submitter, address(stake)), 5);
        vm.expectPartialRevert(TestToken.WrongSigner.selector);
        token.permit(submitter, address(stake), 5, p.deadline, p.v, p.r, p.s);
        p = permitFrom(SUBMITTER_KEY, 5);
        vm.warp(p.deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(TestToken.PermitExpired.selector, p.deadline, p.deadline + 1));
        token.permit(submitter, address(stake), 5, p.deadline, p.v, p.r, p.s);
        vm.expectRevert(abi.encodeWithSelector(Signature.BadSignatureV.selector, 0));
        token.permit(submitter, address(stake), 5, block.timestamp, 0, p.r, p.s);
    }
}
