// SPDX-License-Identifier: Apache-2.0
// What a spec may say: bounds that keep every loop of the contracts, every dispute and every wait finite.
pragma solidity ^0.8.28;

import {Spec} from "./Types.sol";

library SpecLimits {
    uint8 internal constant NONE = 0;
    uint8 internal constant SPOT = 1;
    uint8 internal constant FULL = 2;
    /// Every verifier re-runs the whole slice; the claim stands when all agree.
    uint8 internal constant QUORUM = 3;

    /// Four bisections of 64 parts reach any step of a segment.
    uint256 internal constant MAX_STEPS_PER_CHECKPOINT = 1 << 24;
    /// A whole audit deals and discloses every segment of a slice in one transaction each: a few million gas at 256.
    uint256 internal constant MAX_CHECKPOINTS = 256;
    /// Far above any training run; keeps step numbers below 2^53, which every client can count.
    uint256 internal constant MAX_SLICES = 1 << 20;
    /// Four descents of five levels reach any expr of a trace.
    uint256 internal constant MAX_EXPRS = 1 << 20;
    /// State and data slots: as many tensors as a large model has, a hundredfold.
    uint256 internal constant MAX_SLOTS = 1 << 16;
    /// Verifiers of one claim: bounds the loops that pay and slash them.
    uint256 internal constant MAX_VERIFIERS = 16;
    /// The same for a quorum, where each is dealt every segment: a quorum of 16 with the solver.
    uint256 internal constant MAX_QUORUM_VERIFIERS = 15;
    /// Forced errors: rarer than one claim in 8, so that honest claims are the rule, and at least one in 1,024, so that a verifier meets them at all.
    uint256 internal constant MIN_ONE_IN = 8;
    uint256 internal constant MAX_ONE_IN = 1024;
    /// Whoever is awake gets one transaction in: a block and a half of Ethereum.
    uint256 internal constant MIN_WINDOW = 20;
    /// Longest seal, disclose, reveal, challenge and clock: Stake.UNBONDING_SECONDS is longer than an audit made of these.
    uint256 internal constant MAX_WINDOW = 1 days;
    /// Longest wait for a confirmation: it holds a provider's capacity.
    uint256 internal constant MAX_CONFIRM = 1 days;
    /// Longest time for one slice: how long a solver may hold a submitter's escrow without showing anything.
    uint256 internal constant MAX_SLICE_TIME = 30 days;

    /// `field` is the name in ASCII.
    error SpecOutOfBounds(bytes32 field, uint256 value, uint256 low, uint256 high);

    /// Reverts at the first field out of bounds.
    function check(Spec memory spec) internal pure {
        if (spec.graphId == 0) revert SpecOutOfBounds("graphId", 0, 1, type(uint256).max);
        if (spec.initialState == 0) revert SpecOutOfBounds("initialState", 0, 1, type(uint256).max);
        _within("exprs", spec.exprs, 1, MAX_EXPRS);
        _within("stateSlots", spec.stateSlots, 1, MAX_SLOTS);
        _within("dataSlots", spec.dataSlots, 0, MAX_SLOTS);
        _within("probe", spec.probe, 0, spec.exprs - 1);
        _within("stepsPerCheckpoint", spec.stepsPerCheckpoint, 1, MAX_STEPS_PER_CHECKPOINT);
        _within("checkpointsPerSlice", spec.checkpointsPerSlice, 1, MAX_CHECKPOINTS);
        _within("slices", spec.slices, 1, MAX_SLICES);
        _within("operationsPerStep", spec.operationsPerStep, 1, type(uint64).max);
        _within("assurance", spec.assurance, NONE, QUORUM);
        _within("verifiers", spec.verifiers, spec.assurance == NONE ? 0 : 1, spec.assurance == QUORUM ? MAX_QUORUM_VERIFIERS : MAX_VERIFIERS);
        _within("confirmSeconds", spec.confirmSeconds, MIN_WINDOW, MAX_CONFIRM);
        _within("sliceSeconds", spec.sliceSeconds, MIN_WINDOW, MAX_SLICE_TIME);
        _within("sealSeconds", spec.sealSeconds, MIN_WINDOW, MAX_WINDOW);
        _within("discloseSeconds", spec.discloseSeconds, MIN_WINDOW, MAX_WINDOW);
        _within("revealSeconds", spec.revealSeconds, MIN_WINDOW, MAX_WINDOW);
        // One second is enough: who says *different* has clockSeconds to open its dispute, whatever this is.
        _within("challengeSeconds", spec.challengeSeconds, 1, MAX_WINDOW);
        _within("clockSeconds", spec.clockSeconds, MIN_WINDOW, MAX_WINDOW);
        // A decoy is opened when the audit discloses: without an audit it never would be.
        if (spec.decoyOneIn != 0) _within("decoyOneIn", spec.decoyOneIn, MIN_ONE_IN, spec.assurance == NONE ? 0 : MAX_ONE_IN);
    }

    function _within(bytes32 field, uint256 value, uint256 low, uint256 high) private pure {
        if (value < low || value > high) revert SpecOutOfBounds(field, value, low, high);
    }
}
