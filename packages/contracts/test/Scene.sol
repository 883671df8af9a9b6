// SPDX-License-Identifier: Apache-2.0
// The whole market with its people, for the tests of Market, Stake and Audit: a plain account is the court, and slices are made of named hashes.
pragma solidity ^0.8.28;

import {Test} from "./Test.sol";
import {Merkle} from "../src/dispute/Merkle.sol";
import {Audit} from "../src/market/Audit.sol";
import {Decoys} from "../src/market/Decoys.sol";
import {Market} from "../src/market/Market.sol";
import {Moment} from "../src/market/Moment.sol";
import {IToken, Stake} from "../src/market/Stake.sol";
import {TestToken} from "../src/market/TestToken.sol";
import {Assignment, IDecoys, IDocket, ILedger, ITasks, Offer, Permit, Spec, Stage, Task, TaskStatus, Terms, Verdict} from "../src/market/Types.sol";

/// Cheatcodes that Test.sol does not declare.
interface MoreVm {
    function getNonce(address account) external view returns (uint64);
    function computeCreateAddress(address deployer, uint256 nonce) external pure returns (address);
}

abstract contract Scene is Test {
    MoreVm internal constant more = MoreVm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 internal constant SUBMITTER_KEY = 0xa11ce;
    uint256 internal constant SOLVER_KEY = 0x501;
    uint256 internal constant RIVAL_KEY = 0x502;
    uint256 internal constant FUNDS = 10_000 ether;
    uint256 internal constant VERIFIERS = 4;

    TestToken internal token;
    Stake internal stake;
    Market internal market;
    Audit internal audit;
    Decoys internal decoys;
    address internal court = address(0xC0047);
    address internal challenger = address(0xC4A11);
    address internal submitter = vm.addr(SUBMITTER_KEY);
    address internal solver = vm.addr(SOLVER_KEY);
    address internal rival = vm.addr(RIVAL_KEY);
    address[] internal verifiers;
    /// Everybody who can hold a balance.
    address[] internal people;

    function setUp() public virtual {
        token = new TestToken();
        _deploy(address(token));
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            verifiers.push(address(uint160(0xbee0 + i)));
        }
        people = [submitter, solver, rival, challenger];
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            people.push(verifiers[i]);
        }
        vm.warp(1_800_000_000);
        vm.roll(1000);
        for (uint256 i = 0; i < people.length; ++i) {
            token.mint(people[i], FUNDS);
            vm.prank(people[i]);
            token.approve(address(stake), type(uint256).max);
            if (people[i] == submitter) continue; // pulls from its wallet instead
            vm.prank(people[i]);
            stake.deposit(FUNDS / 2);
        }
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            vm.prank(verifiers[i]);
            stake.takeSeats(1);
        }
        vm.warp(block.timestamp + 1);
    }

    function _deploy(address token_) internal {
        uint256 nonce = more.getNonce(address(this));
        address marketAt = more.computeCreateAddress(address(this), nonce + 1);
        address auditAt = more.computeCreateAddress(address(this), nonce + 2);
        address decoysAt = more.computeCreateAddress(address(this), nonce + 3);
        stake = new Stake(IToken(token_), marketAt, auditAt, court, decoysAt);
        market = new Market(stake, IDocket(auditAt), court, IDecoys(decoysAt));
        audit = new Audit(stake, market, court, IDecoys(decoysAt));
        decoys = new Decoys(stake, market, audit, court);
        assertEq(address(market), marketAt, "market where it was expected");
        assertEq(address(audit), auditAt, "audit where it was expected");
        assertEq(address(decoys), decoysAt, "decoys where they were expected");
    }

    // ---------------------------------------------------------------- papers

    function aSpec() internal pure returns (Spec memory) {
        return Spec({
            graphId: keccak256("graph"),
            initialState: keccak256("initial state"),
            dataRoot: keccak256("data"),
            exprs: 300,
            stateSlots: 5,
            dataSlots: 2,
            probe: 299,
            stepsPerCheckpoint: 2,
            checkpointsPerSlice: 4,
            slices: 3,
            operationsPerStep: 1_000_000_000,
            assurance: 1,
            verifiers: 2,
            segments: 1,
            confirmSeconds: 60,
            sliceSeconds: 600,
            sealSeconds: 90,
            discloseSeconds: 60,
            revealSeconds: 60,
            challengeSeconds: 30,
            clockSeconds: 120,
            decoyOneIn: 0
        });
    }

    function anOffer(address who) internal view returns (Offer memory) {
        return Offer({
            solver: who,
            weiPerTeraop: 1000 ether,
            memoryBytes: 1 << 30,
            operationsPerSecond: 1e10,
            capacity: 3,
            validUntil: uint64(block.timestamp + 1 days),
            minAssurance: 1,
            salt: keccak256("salt"),
            contact: "/ip4/127.0.0.1/tcp/4001"
        });
    }

    /// 8 giga-operations a slice at 1,000 ether a tera-operation, two for each of its four segments; audits at twice, a bond of four slices.
    function someTerms() internal pure returns (Terms memory) {
        return Terms({slicePriceWei: 8 ether, auditFeeWei: 4 ether, bondWei: 32 ether});
    }

    function noPermit() internal pure returns (Permit memory p) {}

    function sign(uint256 key, Offer memory offer) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, market.offerHash(offer));
        return abi.encodePacked(r, s, v);
    }

    function permitFrom(uint256 key, uint256 amountWei) internal view returns (Permit memory p) {
        p.amountWei = amountWei;
        p.deadline = block.timestamp + 60;
        bytes32 typehash = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        address owner = vm.addr(key);
        bytes32 structHash = keccak256(abi.encode(typehash, owner, address(stake), amountWei, token.nonces(owner), p.deadline));
        (p.v, p.r, p.s) = vm.sign(key, keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), structHash)));
    }

    // ---------------------------------------------------------------- deeds

    function submitTask(Spec memory spec) internal returns (uint256 taskId) {
        Offer memory offer = anOffer(solver);
        if (spec.assurance == 0) offer.minAssurance = 0;
        bytes memory signature = sign(SOLVER_KEY, offer);
        vm.prank(submitter);
        return market.submit(spec, someTerms(), offer, signature, noPermit());
    }

    function startTask(Spec memory spec) internal returns (uint256 taskId) {
        taskId = submitTask(spec);
        vm.prank(solver);
        market.confirm(taskId);
    }

    function startTask() internal returns (uint256) {
        return startTask(aSpec());
    }

    /// The end of a segment and its probe digest, made up but fixed.
    function stateOf(uint256 taskId, uint256 slice, uint256 segment) internal pure returns (bytes32) {
        return keccak256(abi.encode("state", taskId, slice, segment));
    }

    function probeOf(uint256 taskId, uint256 slice, uint256 segment) internal pure returns (bytes32) {
        return keccak256(abi.encode("probe", taskId, slice, segment));
    }

    function leavesOf(uint256 taskId, uint256 slice) internal view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](market.specOf(taskId).checkpointsPerSlice);
        for (uint256 j = 0; j < leaves.length; ++j) {
            leaves[j] = Moment.hash(stateOf(taskId, slice, j), sha256(abi.encodePacked(probeOf(taskId, slice, j))));
        }
    }

    /// The siblings of leaf `index`, computed level by level, the slow and obvious way.
    function proofOf(bytes32[] memory leaves, uint256 index) internal view returns (bytes32[] memory proof) {
        uint256 depth = Merkle.depthOf(leaves.length);
        proof = new bytes32[](depth);
        bytes32[] memory level = new bytes32[](1 << depth);
        for (uint256 j = 0; j < leaves.length; ++j) {
            level[j] = leaves[j];
        }
        for (uint256 k = 0; k < depth; ++k) {
            proof[k] = level[index ^ 1];
            bytes32[] memory next = new bytes32[](level.length / 2);
            for (uint256 j = 0; j < next.length; ++j) {
                next[j] = Merkle.innerHash(level[2 * j], level[2 * j + 1]);
            }
            (level, index) = (next, index / 2);
        }
    }

    function claimSlice(uint256 taskId) internal returns (uint256 claimId) {
        Task memory task = market.taskOf(taskId);
        bytes32[] memory leaves = leavesOf(taskId, task.accepted);
        uint256 last = leaves.length - 1;
        bytes32[] memory proof = proofOf(leaves, last);
        bytes32 root = Merkle.itemsRoot(leaves);
        bytes32 probeCommit = sha256(abi.encodePacked(probeOf(taskId, task.accepted, last)));
        bytes32 endState = stateOf(taskId, task.accepted, last);
        bytes32 anchorHash = anchorOf(taskId);
        vm.prank(task.solver);
        return market.claim(taskId, task.accepted, root, endState, probeCommit, anchorHash, proof);
    }

    /// The hash that decides what the next claim shows; 0 where it is plain.
    function anchorOf(uint256) internal view virtual returns (bytes32) {
        return 0;
    }

    function mine() internal {
        vm.roll(block.number + 2);
        vm.warp(block.timestamp + 1);
    }

    function drawFor(uint256 claimId) internal {
        mine();
        audit.draw(claimId);
    }

    function stageOf(uint256 claimId) internal view returns (Stage stage) {
        (stage,,,,,,) = audit.stageOf(claimId);
    }

    function deadlineOf(uint256 claimId) internal view returns (uint256 deadline) {
        (, deadline,,,,,) = audit.stageOf(claimId);
    }

    /// Those who are drawn and have not sealed, or have sealed and not revealed.
    function waiting(uint256 claimId, Verdict verdict) internal view returns (address[] memory list) {
        Assignment[] memory all = audit.assignmentsOf(claimId);
        list = new address[](all.length);
        uint256 n = 0;
        for (uint256 k = 0; k < all.length; ++k) {
            if (all[k].verdict != verdict) continue;
            bool known = false;
            for (uint256 i = 0; i < n; ++i) {
                known = known || list[i] == all[k].verifier;
            }
            if (!known) list[n++] = all[k].verifier;
        }
        address[] memory cut = new address[](n);
        for (uint256 i = 0; i < n; ++i) {
            cut[i] = list[i];
        }
        return cut;
    }

    function sliceOf(uint256 claimId) internal view returns (uint256 taskId, uint256 slice) {
        return (market.claimOf(claimId).taskId, market.claimOf(claimId).slice);
    }

    /// What an honest verifier finds: the hash of its segments' probe digests, ascending.
    function digestOf(uint256 claimId, address verifier) internal view returns (bytes32) {
        (uint256 taskId, uint256 slice) = sliceOf(claimId);
        Assignment[] memory all = audit.assignmentsOf(claimId);
        bytes memory joined = "";
        for (uint256 k = 0; k < all.length; ++k) {
            if (all[k].verifier == verifier) joined = abi.encodePacked(joined, probeOf(taskId, slice, all[k].segment));
        }
        return keccak256(joined);
    }

    function saltOf(address verifier) internal pure returns (bytes32) {
        return keccak256(abi.encode("salt", verifier));
    }

    function sealAs(uint256 claimId, address verifier, uint8 verdict, bytes32 digest) internal {
        bytes32 sealed_ = keccak256(abi.encode(claimId, verifier, verdict, digest, saltOf(verifier)));
        vm.prank(verifier);
        audit.seal(claimId, sealed_);
    }

    function revealAs(uint256 claimId, address verifier, uint8 verdict, bytes32 digest) internal {
        vm.prank(verifier);
        audit.reveal(claimId, verdict, digest, saltOf(verifier));
    }

    function sealAll(uint256 claimId, uint8 verdict) internal returns (address[] memory drawn) {
        drawn = waiting(claimId, Verdict.Drawn);
        for (uint256 i = 0; i < drawn.length; ++i) {
            sealAs(claimId, drawn[i], verdict, digestOf(claimId, drawn[i]));
        }
    }

    function revealAll(uint256 claimId, uint8 verdict) internal {
        address[] memory drawn = waiting(claimId, Verdict.Sealed);
        for (uint256 i = 0; i < drawn.length; ++i) {
            revealAs(claimId, drawn[i], verdict, digestOf(claimId, drawn[i]));
        }
    }

    struct Disclosure {
        uint32[] segments;
        bytes32[] states;
        bytes32[] probes;
        bytes32[][] proofs;
    }

    function disclosureOf(uint256 claimId) internal view returns (Disclosure memory d) {
        (uint256 taskId, uint256 slice) = sliceOf(claimId);
        Assignment[] memory all = audit.assignmentsOf(claimId);
        bytes32[] memory leaves = leavesOf(taskId, slice);
        // in a quorum every segment stands once for each place
        uint256 n = 0;
        for (uint256 k = 0; k < all.length; ++k) {
            if (k == 0 || all[k].segment != all[n - 1].segment) all[n++].segment = all[k].segment;
        }
        d = Disclosure(new uint32[](n), new bytes32[](n), new bytes32[](n), new bytes32[][](n));
        for (uint256 k = 0; k < n; ++k) {
            uint32 segment = all[k].segment;
            d.segments[k] = segment;
            d.states[k] = stateOf(taskId, slice, segment);
            d.probes[k] = probeOf(taskId, slice, segment);
            d.proofs[k] = proofOf(leaves, segment);
        }
    }

    function disclose(uint256 claimId, Disclosure memory d) internal {
        vm.prank(market.claimOf(claimId).solver);
        audit.disclose(claimId, d.segments, d.states, d.probes, d.proofs);
    }

    /// From a fresh claim to the open window, everybody honest.
    function auditHonestly(uint256 claimId) internal {
        if (stageOf(claimId) == Stage.Window) return;
        drawFor(claimId);
        sealAll(claimId, 1);
        disclose(claimId, disclosureOf(claimId));
        revealAll(claimId, 1);
    }

    function passWindow(uint256 claimId) internal {
        uint256 deadline = deadlineOf(claimId);
        if (block.timestamp < deadline) vm.warp(deadline);
    }

    /// One slice from claim to payment, everybody honest.
    function acceptSlice(uint256 taskId) internal returns (uint256 claimId) {
        claimId = claimSlice(taskId);
        auditHonestly(claimId);
        passWindow(claimId);
        market.settle(taskId);
    }

    // ---------------------------------------------------------------- the books

    /// Every wei is in exactly one account, and the ledger holds at least as many tokens as it owes.
    function assertConserved() internal view {
        uint256 sum = stake.poolWei() + stake.burntWei() + stake.withdrawnWei();
        for (uint256 i = 0; i < people.length; ++i) {
            sum += stake.freeOf(people[i]) + stake.lockedOf(people[i]);
        }
        for (uint256 i = 0; i < stake.seatCount(); ++i) {
            sum += stake.seatOf(i).stakeWei;
        }
        for (uint256 id = 1; id <= market.taskCount(); ++id) {
            sum += stake.escrowOf(id);
        }
        assertEq(sum, stake.depositedWei(), "free + locked + escrow + seats + pool + burnt + withdrawn = deposited");
        assertEq(token.balanceOf(address(stake)), stake.depositedWei() - stake.withdrawnWei(), "tokens held");
    }

    function assertStatus(uint256 taskId, TaskStatus status) internal view {
        assertEq(uint256(market.taskOf(taskId).status), uint256(status), "task status");
    }

    function assertStage(uint256 claimId, Stage stage) internal view {
        assertEq(uint256(stageOf(claimId)), uint256(stage), "stage");
    }
}
