// SPDX-License-Identifier: Apache-2.0
// The ledger: the one contract that holds tokens. Every path of the protocol moves wei between accounts in here and nowhere else.
//
// INVARIANT: deposited = free + locked + escrow + seats + pool + burnt + withdrawn, summed over everybody (test/Conservation.t.sol).
pragma solidity ^0.8.28;

import {ILedger, Permit} from "./Types.sol";

/// What is used of the token: EIP-20 and EIP-2612.
interface IToken {
    function balanceOf(address owner) external view returns (uint256);
    function allowance(address owner, address spender) external view returns (uint256);
    function transfer(address to, uint256 amountWei) external returns (bool);
    function transferFrom(address from, address to, uint256 amountWei) external returns (bool);
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
}

/// One place in the list that verifiers are drawn from.
struct Seat {
    address owner; // address(0): vacant, to be taken again
    uint48 activeFrom;
    uint48 activeUntil; // 0: still active; else when it was left or jailed
    uint256 stakeWei;
}

contract Stake is ILedger {
    /// What one seat costs. It must exceed what a verifier could be paid for attesting a lie, which is bounded by what such a task costs.
    uint256 public constant SEAT_WEI = 100 ether;
    /// From leaving (or being jailed) to withdrawing a seat: longer than an audit with the longest windows, all its rounds and one dispute
    /// (5 days of sealing in 3 rounds, 1 to disclose, 1 to reveal, 1 to challenge, 2 of clocks), so that no attester is out of reach.
    uint256 public constant UNBONDING_SECONDS = 14 days;
    /// Seats taken, left or withdrawn in one call: keeps a call below a few million gas.
    uint256 public constant MAX_SEATS_PER_CALL = 64;

    /// No payment out of the pool exceeds this part of it.
    uint256 public constant POOL_CAP_SHARE = 4;

    IToken public immutable token;
    address public immutable market;
    address public immutable audit;
    address public immutable court;
    address public immutable decoys;

    mapping(address who => uint256) public freeOf;
    mapping(address who => uint256) public lockedOf;
    mapping(uint256 taskId => uint256) public escrowOf;
    uint256 public poolWei;
    uint256 public burntWei;
    uint256 public depositedWei;
    uint256 public withdrawnWei;

    Seat[] private _seats;
    /// Places to be taken again, so that the list is as long as the most seats that were ever paid for at a time, and a draw finds living ones.
    uint256[] private _vacant;

    /// Set while a token is being called.
    bool private transient _busy;

    event Deposited(address indexed who, uint256 amountWei);
    event Withdrawn(address indexed who, uint256 amountWei);
    event Locked(address indexed who, uint256 amountWei);
    event Unlocked(address indexed who, uint256 amountWei);
    event Escrowed(uint256 indexed taskId, address indexed from, uint256 amountWei);
    event Released(uint256 indexed taskId, address indexed to, uint256 amountWei);
    /// `to`: address(0) for burnt, this contract for the pool.
    event Slashed(address indexed who, address indexed to, uint256 amountWei);
    event SeatTaken(uint256 indexed index, address indexed owner);
    event SeatLeft(uint256 indexed index, address indexed owner);
    event SeatWithdrawn(uint256 indexed index, address indexed owner, uint256 amountWei);
    event SeatSlashed(uint256 indexed index, address indexed owner, address indexed to, uint256 amountWei);
    event Rewarded(address indexed to, uint256 amountWei);

    error NotAllowed(address caller);
    error Reentered();
    error NoCode(address account);
    error FreeTooLow(address who, uint256 haveWei, uint256 wantWei);
    error LockedTooLow(address who, uint256 haveWei, uint256 wantWei);
    error EscrowTooLow(uint256 taskId, uint256 haveWei, uint256 wantWei);
    error TokenRefused(bytes4 selector, address from, address to, uint256 amountWei);
    error NothingArrived(address from, uint256 amountWei);
    error BadSeatNumber(uint256 number, uint256 most);
    error NotYourSeat(uint256 index, address owner, address caller);
    error SeatIsLeft(uint256 index, uint256 activeUntil);
    error SeatStillBound(uint256 index, uint256 until);

    modifier only(address a, address b) {
        if (msg.sender != a && msg.sender != b) revert NotAllowed(msg.sender);
        _;
    }

    /// SAFETY: a token may call back (ERC-777); whatever measures or moves tokens must not be entered twice.
    modifier guarded() {
        if (_busy) revert Reentered();
        _busy = true;
        _;
        _busy = false;
    }

    /// The other contracts may not exist yet: their addresses follow from the deployer's nonce.
    constructor(IToken token_, address market_, address audit_, address court_, address decoys_) {
        if (address(token_).code.length == 0) revert NoCode(address(token_));
        (token, market, audit, court, decoys) = (token_, market_, audit_, court_, decoys_);
    }

    // ---------------------------------------------------------------- tokens in and out

    /// Brings tokens that the caller has approved; credits what arrived.
    function deposit(uint256 amountWei) external guarded {
        _takeIn(msg.sender, amountWei);
    }

    /// The same with a permit instead of an approval, of `permit.amountWei`.
    function depositWithPermit(Permit calldata permit) external guarded {
        _usePermit(msg.sender, permit.amountWei, permit);
        _takeIn(msg.sender, permit.amountWei);
    }

    /// Sends tokens from the caller's free balance to the caller.
    function withdraw(uint256 amountWei) external guarded {
        _takeFree(msg.sender, amountWei);
        withdrawnWei += amountWei;
        emit Withdrawn(msg.sender, amountWei);
        _callToken(abi.encodeCall(IToken.transfer, (msg.sender, amountWei)), address(this), msg.sender, amountWei);
    }

    /// The market or the court: tokens of `from`, who is its caller, into `from`'s free balance.
    function pull(address from, uint256 amountWei, Permit calldata permit) external only(market, court) guarded {
        _usePermit(from, amountWei, permit);
        _takeIn(from, amountWei);
    }

    // ---------------------------------------------------------------- moves between accounts

    /// Free -> locked.
    function lock(address who, uint256 amountWei) external only(market, court) {
        _takeFree(who, amountWei);
        lockedOf[who] += amountWei;
        emit Locked(who, amountWei);
    }

    /// Locked -> free.
    function unlock(address who, uint256 amountWei) external only(market, court) {
        _takeLocked(who, amountWei);
        freeOf[who] += amountWei;
        emit Unlocked(who, amountWei);
    }

    /// Free -> a task's escrow.
    function escrow(uint256 taskId, address from, uint256 amountWei) external only(market, market) {
        _takeFree(from, amountWei);
        escrowOf[taskId] += amountWei;
        emit Escrowed(taskId, from, amountWei);
    }

    /// A task's escrow -> free; this contract's address is the pool.
    function release(uint256 taskId, address to, uint256 amountWei) external only(market, market) {
        uint256 have = escrowOf[taskId];
        if (have < amountWei) revert EscrowTooLow(taskId, have, amountWei);
        escrowOf[taskId] = have - amountWei;
        _give(to, amountWei);
        emit Released(taskId, to, amountWei);
    }

    /// Locked -> somebody's free balance; address(0) burns, this contract's address is the pool.
    function slash(address who, address to, uint256 amountWei) external only(market, court) {
        _takeLocked(who, amountWei);
        _give(to, amountWei);
        emit Slashed(who, to, amountWei);
    }

    /// Locked -> burnt.
    function burn(address who, uint256 amountWei) external only(market, court) {
        _takeLocked(who, amountWei);
        _give(address(0), amountWei);
        emit Slashed(who, address(0), amountWei);
    }

    /// Pool -> somebody's free balance, as far as a quarter of it reaches: no single claim empties it, however large its price.
    function reward(address to, uint256 atMostWei) external only(market, decoys) returns (uint256 paidWei) {
        paidWei = poolWei / POOL_CAP_SHARE;
        if (atMostWei < paidWei) paidWei = atMostWei;
        poolWei -= paidWei;
        freeOf[to] += paidWei;
        emit Rewarded(to, paidWei);
    }

    // ---------------------------------------------------------------- seats

    /// Takes `number` seats for SEAT_WEI each of the caller's free balance. They may be drawn for claims made from now on.
    function takeSeats(uint256 number) external {
        if (number == 0 || number > MAX_SEATS_PER_CALL) revert BadSeatNumber(number, MAX_SEATS_PER_CALL);
        _takeFree(msg.sender, number * SEAT_WEI);
        for (uint256 i = 0; i < number; ++i) {
            Seat memory seat = Seat({owner: msg.sender, activeFrom: uint48(block.timestamp), activeUntil: 0, stakeWei: SEAT_WEI});
            uint256 index = _seats.length;
            if (_vacant.length == 0) {
                _seats.push(seat);
            } else {
                index = _vacant[_vacant.length - 1];
                _vacant.pop();
                _seats[index] = seat;
            }
            emit SeatTaken(index, msg.sender);
        }
    }

    /// Gives seats up: not drawn for later claims, withdrawn after UNBONDING_SECONDS.
    function leaveSeats(uint256[] calldata indexes) external {
        if (indexes.length > MAX_SEATS_PER_CALL) revert BadSeatNumber(indexes.length, MAX_SEATS_PER_CALL);
        for (uint256 i = 0; i < indexes.length; ++i) {
            Seat storage seat = _own(indexes[i]);
            if (seat.activeUntil != 0) revert SeatIsLeft(indexes[i], seat.activeUntil);
            seat.activeUntil = uint48(block.timestamp);
            emit SeatLeft(indexes[i], msg.sender);
        }
    }

    /// What is left of seats that were left or jailed UNBONDING_SECONDS ago -> the caller's free balance.
    function withdrawSeats(uint256[] calldata indexes) external {
        if (indexes.length > MAX_SEATS_PER_CALL) revert BadSeatNumber(indexes.length, MAX_SEATS_PER_CALL);
        for (uint256 i = 0; i < indexes.length; ++i) {
            Seat storage seat = _own(indexes[i]);
            uint256 until = seat.activeUntil == 0 ? type(uint256).max : seat.activeUntil + UNBONDING_SECONDS;
            if (block.timestamp < until) revert SeatStillBound(indexes[i], until);
            uint256 amountWei = seat.stakeWei;
            seat.owner = address(0);
            seat.stakeWei = 0;
            _vacant.push(indexes[i]);
            freeOf[msg.sender] += amountWei;
            emit SeatWithdrawn(indexes[i], msg.sender, amountWei);
        }
    }

    /// The market or the audit: takes from a seat what is there. The audit's slashes, for what a verifier itself did or left undone, jail it; the
    /// market's, for what it attested, when less than half of a seat is left. A seat that `owner` no longer holds gives nothing.
    function slashSeat(uint256 index, address owner, uint256 amountWei, address to) external only(market, audit) returns (uint256 takenWei) {
        Seat storage seat = _seats[index];
        if (seat.owner != owner) return 0;
        takenWei = amountWei < seat.stakeWei ? amountWei : seat.stakeWei;
        seat.stakeWei -= takenWei;
        if (seat.activeUntil == 0 && (msg.sender == audit || seat.stakeWei < SEAT_WEI / 2)) seat.activeUntil = uint48(block.timestamp);
        _give(to, takenWei);
        emit SeatSlashed(index, owner, to, takenWei);
    }

    // ---------------------------------------------------------------- views

    /// Places in the list, vacant ones included. Never falls.
    function seatCount() external view returns (uint256) {
        return _seats.length;
    }

    /// Who holds a place, and whether it counted at a time. Nothing done in that second or later changes the answer, since on a chain with
    /// several blocks a second a draw's seed may be known within it.
    function seatAt(uint256 index, uint256 atTime) external view returns (address owner, bool active) {
        Seat storage seat = _seats[index];
        owner = seat.owner;
        active = owner != address(0) && seat.activeFrom < atTime && (seat.activeUntil == 0 || atTime <= seat.activeUntil);
    }

    /// The whole seat.
    function seatOf(uint256 index) external view returns (Seat memory) {
        return _seats[index];
    }

    // ---------------------------------------------------------------- within

    function _own(uint256 index) private view returns (Seat storage seat) {
        seat = _seats[index];
        if (seat.owner != msg.sender) revert NotYourSeat(index, seat.owner, msg.sender);
    }

    function _takeFree(address who, uint256 amountWei) private {
        uint256 have = freeOf[who];
        if (have < amountWei) revert FreeTooLow(who, have, amountWei);
        freeOf[who] = have - amountWei;
    }

    function _takeLocked(address who, uint256 amountWei) private {
        uint256 have = lockedOf[who];
        if (have < amountWei) revert LockedTooLow(who, have, amountWei);
        lockedOf[who] = have - amountWei;
    }

    function _give(address to, uint256 amountWei) private {
        if (to == address(0)) burntWei += amountWei;
        else if (to == address(this)) poolWei += amountWei;
        else freeOf[to] += amountWei;
    }

    /// Uses a permit where the allowance does not do already: somebody may have brought the permit first, which must not stop its owner.
    function _usePermit(address from, uint256 amountWei, Permit calldata p) private {
        if (p.deadline == 0 || token.allowance(from, address(this)) >= amountWei) return;
        token.permit(from, address(this), p.amountWei, p.deadline, p.v, p.r, p.s);
    }

    /// Credits what arrived, which a token that takes a fee makes less than what was sent.
    function _takeIn(address from, uint256 amountWei) private {
        uint256 before = token.balanceOf(address(this));
        _callToken(abi.encodeCall(IToken.transferFrom, (from, address(this), amountWei)), from, address(this), amountWei);
        uint256 afterwards = token.balanceOf(address(this));
        if (afterwards <= before) revert NothingArrived(from, amountWei);
        freeOf[from] += afterwards - before;
        depositedWei += afterwards - before;
        emit Deposited(from, afterwards - before);
    }

    /// SAFETY: tokens answer true, false, nothing, or revert; the first and the third mean done.
    function _callToken(bytes memory data, address from, address to, uint256 amountWei) private {
        (bool ok, bytes memory answer) = address(token).call(data);
        if (!ok || (answer.length != 0 && (answer.length != 32 || uint256(bytes32(answer)) != 1))) {
            revert TokenRefused(bytes4(data), from, to, amountWei);
        }
    }
}
