// SPDX-License-Identifier: Apache-2.0
// What the court talks to, for its own tests: a claim and a spec that are set by hand, a ledger of four numbers, and a record of who was told what.
pragma solidity ^0.8.28;

import {ClaimView, IAudit, IDecoys, IMarket, IStake, Permit, Spec, Terms} from "../src/market/Types.sol";

contract CourtStub is IMarket, IStake, IAudit, IDecoys {
    mapping(uint256 => uint256) public sealedUntil;
    mapping(address => uint256) public catches;
    mapping(uint256 => ClaimView) private claims;
    mapping(uint256 => Spec) private specs;
    mapping(address => uint256) public freeOf;
    mapping(address => uint256) public lockedOf;
    uint256 public burnt;
    uint256 public games; // open ones, of all claims
    uint256 public disputes; // told to the audit
    uint256 public convictedSegment = type(uint256).max;

    error Short(address who, uint256 has, uint256 wants);
    error NotUsed();

    // set by tests

    function put(uint256 claimId, ClaimView calldata c, Spec calldata spec) external {
        claims[claimId] = c;
        specs[c.taskId] = spec;
    }

    function fund(address who, uint256 amountWei) external {
        freeOf[who] += amountWei;
    }

    function close(uint256 claimId) external {
        claims[claimId].open = false;
    }

    /// The claim shows another root from now on.
    function unmask(uint256 claimId, bytes32 root) external {
        claims[claimId].root = root;
    }

    function seal(uint256 claimId, uint256 until) external {
        sealedUntil[claimId] = until;
    }

    // decoys

    function decoys() external view returns (IDecoys) {
        return this;
    }

    function caught(uint256, address challenger) external {
        ++catches[challenger];
    }

    // market

    function claimView(uint256 claimId) external view returns (ClaimView memory) {
        return claims[claimId];
    }

    function specOf(uint256 taskId) external view returns (Spec memory) {
        return specs[taskId];
    }

    function contest(uint256, address) external {
        ++games;
    }

    function uncontest(uint256, address) external {
        --games;
    }

    function convict(uint256 claimId, address, uint32 segment) external {
        --games;
        convictedSegment = segment;
        claims[claimId].open = false;
    }

    // audit

    function disputed(uint256, address) external {
        ++disputes;
    }

    // stake

    function lock(address who, uint256 amountWei) external {
        if (freeOf[who] < amountWei) revert Short(who, freeOf[who], amountWei);
        freeOf[who] -= amountWei;
        lockedOf[who] += amountWei;
    }

    function unlock(address who, uint256 amountWei) external {
        lockedOf[who] -= amountWei;
        freeOf[who] += amountWei;
    }

    function slash(address who, address to, uint256 amountWei) external {
        lockedOf[who] -= amountWei;
        freeOf[to] += amountWei;
    }

    function burn(address who, uint256 amountWei) external {
        lockedOf[who] -= amountWei;
        burnt += amountWei;
    }

    // never called by the court

    function bind(uint256, uint256, uint32, address, bytes32) external pure {
        revert NotUsed();
    }

    function isOpen(uint256) external pure returns (bool) {
        revert NotUsed();
    }

    function payCatchers(uint256, address[] calldata, uint256) external pure {
        revert NotUsed();
    }

    function termsOf(uint256) external pure returns (Terms memory) {
        revert NotUsed();
    }

    function void(uint256, bool) external pure {
        revert NotUsed();
    }

    function begin(uint256, uint32) external pure {
        revert NotUsed();
    }

    function passed(uint256) external pure returns (bool) {
        revert NotUsed();
    }

    function payees(uint256) external pure returns (address[] memory, uint32[] memory) {
        revert NotUsed();
    }

    function attesters(uint256, uint32) external pure returns (address[] memory) {
        revert NotUsed();
    }

    function pull(address, uint256, Permit calldata) external pure {
        revert NotUsed();
    }

    function escrow(uint256, address, uint256) external pure {
        revert NotUsed();
    }

    function release(uint256, address, uint256) external pure {
        revert NotUsed();
    }

    function seatCount() external pure returns (uint256) {
        revert NotUsed();
    }

    function seatAt(uint256, uint256) external pure returns (address, bool) {
        revert NotUsed();
    }
}
