// SPDX-License-Identifier: Apache-2.0
// The court, held to vectors/dispute.json (games that packages/dispute played, legal moves and refused ones), and what the shell adds to it:
// who may move, what is locked, paid and burnt, what is moot.
pragma solidity ^0.8.28;

import {CourtStub} from "./CourtStub.sol";
import {Test} from "./Test.sol";
import {Arbiter} from "../src/arbiter/Arbiter.sol";
import {Claims, Ground, Item, Opened, Pick} from "../src/dispute/Claims.sol";
import {Dispute, Opening, Quarrel} from "../src/dispute/Dispute.sol";
import {Fed, Source} from "../src/dispute/Grounds.sol";
import {Game, GameState, Level, Papers, Side} from "../src/dispute/GameState.sol";
import {Operand} from "../src/arbiter/Witness.sol";
import {Merkle} from "../src/dispute/Merkle.sol";
import {Position} from "../src/dispute/Position.sol";
import {ClaimView, Spec} from "../src/market/Types.sol";

/// A game of the vector file.
struct Vector {
    string name;
    bytes put;
    bytes challenge;
    bytes32 opened;
    uint256 segment;
    uint256 sealedUntil;
    bool convicted;
    uint256 ground;
    string[] kinds;
    uint256[] by;
    uint256[] time;
    bytes[] data;
    bytes[] refusal;
    bytes32[] state;
}

/// Cheatcodes that Test.sol does not declare.
interface LogVm {
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
}

abstract contract Scene is Test {
    LogVm internal constant logs = LogVm(address(uint160(uint256(keccak256("hevm cheat code")))));
    CourtStub internal stub = new CourtStub();
    Dispute internal court = new Dispute(stub, stub, stub, new Arbiter());
    address internal constant SOLVER = address(0x5050505050505050505050505050505050505050);
    address internal constant CHALLENGER = address(0xC4A11E);
    address internal constant ANYBODY = address(0xA9);
    uint256 internal constant BOND = 10 ether;
}

/// Games as whoever reads the log knows them.
contract Reader {
    function unpack(bytes calldata state) external pure returns (Game memory g) {
        GameState.unpack(state, g);
    }

    function unpackPapers(bytes calldata papers) external pure returns (Papers memory p) {
        GameState.unpackPapers(papers, p);
    }
}

contract DisputeVectorTest is Scene {
    string private json = vm.readFile("../../vectors/dispute.json");

    function test_games_go_as_in_typescript() public {
        for (uint256 i = 0; vm.keyExistsJson(json, key(i, "name")); ++i) {
            play(i, read(i));
        }
    }

    function play(uint256 gameId, Vector memory v) private {
        vm.warp(vm.parseJsonUint(json, ".base"));
        (bool ok,) = address(stub).call(v.put);
        assertTrue(ok, "put");
        stub.seal(gameId + 1, v.sealedUntil);
        stub.fund(CHALLENGER, BOND);
        vm.prank(CHALLENGER);
        (ok,) = address(court).call(v.challenge);
        assertTrue(ok, "challenge");
        assertEq(court.gameOf(gameId).state, v.opened, "opened");
        bool measured = keccak256(bytes(v.name)) == keccak256("mnist");
        uint256 total;
        for (uint256 k = 0; k < v.kinds.length; ++k) {
            vm.warp(v.time[k]);
            vm.prank(v.by[k] == 0 ? SOLVER : v.by[k] == 1 ? CHALLENGER : ANYBODY);
            uint256 gas = gasleft();
            bytes memory answer;
            (ok, answer) = address(court).call(v.data[k]);
            gas -= gasleft();
            string memory what = string.concat(v.name, ": move ", vm.toString(k), ", ", v.kinds[k]);
            if (v.refusal[k].length > 0) {
                assertFalse(ok, what);
                assertEq(bytes32(bytes4(answer)), bytes32(bytes4(v.refusal[k])), what);
            } else {
                assertTrue(ok, what);
                assertEq(court.gameOf(gameId).state, v.state[k], what);
                total += gas;
                if (measured) vm.snapshotValue("Dispute", string.concat("mnist ", digits(k), " ", v.kinds[k]), gas);
            }
        }
        if (measured) vm.snapshotValue("Dispute", "mnist total (execution, without calldata)", total);
        ended(gameId, v);
    }

    function ended(uint256 gameId, Vector memory v) private view {
        assertEq(court.gameOf(gameId).state, 0, "over");
        assertEq(stub.lockedOf(CHALLENGER), 0, "nothing stays locked");
        if (v.convicted) assertEq(stub.convictedSegment(), v.segment, "segment");
        assertEq(stub.games(), 0, "no game open");
    }

    function digits(uint256 k) private pure returns (string memory) {
        return string.concat(k < 10 ? "0" : "", vm.toString(k));
    }

    function key(uint256 i, string memory field) private pure returns (string memory) {
        return string.concat(".games[", vm.toString(i), "].", field);
    }

    function read(uint256 i) private view returns (Vector memory v) {
        v.name = vm.parseJsonString(json, key(i, "name"));
        v.put = vm.parseJsonBytes(json, key(i, "put"));
        v.challenge = vm.parseJsonBytes(json, key(i, "challenge"));
        v.opened = vm.parseJsonBytes32(json, key(i, "opened"));
        v.segment = vm.parseJsonUint(json, key(i, "segment"));
        v.sealedUntil = vm.parseJsonUint(json, key(i, "sealedUntil"));
        v.convicted = vm.parseJsonBool(json, key(i, "convicted"));
        v.ground = vm.parseJsonUint(json, key(i, "ground"));
        v.kinds = vm.parseJsonStringArray(json, key(i, "kinds"));
        v.by = vm.parseJsonUintArray(json, key(i, "by"));
        v.time = vm.parseJsonUintArray(json, key(i, "at"));
        v.data = vm.parseJsonBytesArray(json, key(i, "data"));
        v.refusal = vm.parseJsonBytesArray(json, key(i, "error"));
        v.state = vm.parseJsonBytes32Array(json, key(i, "state"));
    }
}

/// The shell, on a claim of two segments whose roots mean nothing: no game here gets below the steps.
contract DisputeShellTest is Scene {
    uint32 private constant STEPS = 50;
    uint32 private constant CLOCK = 100;
    bytes32 private constant START = bytes32(uint256(0x57a27));
    Opening private first;
    Opening private last;
    bytes32[] private values;
    Reader private reader = new Reader();
    // how game number i stands, out of the log
    mapping(uint256 => bytes) private states;
    mapping(uint256 => bytes) private papers;

    function setUp() public {
        vm.warp(1_000_000);
        logs.recordLogs();
        (bytes32 a, bytes32 b) = (momentOf("a"), momentOf("b"));
        first = Opening({stateRoot: "a", probeCommit: "probe", proof: new bytes32[](1)});
        first.proof[0] = b;
        last = Opening({stateRoot: "b", probeCommit: "probe", proof: new bytes32[](1)});
        last.proof[0] = a;
        Spec memory spec;
        spec.exprs = 3;
        spec.stateSlots = 1;
        spec.stepsPerCheckpoint = STEPS;
        spec.checkpointsPerSlice = 2;
        spec.clockSeconds = CLOCK;
        ClaimView memory c =
            ClaimView({taskId: 4, solver: SOLVER, root: Merkle.innerHash(a, b), startState: START, endState: "b", open: true});
        stub.put(7, c, spec);
        stub.fund(CHALLENGER, BOND);
        stub.fund(ANYBODY, BOND);
        for (uint256 i = 1; i < STEPS; ++i) {
            values.push(bytes32(i));
        }
    }

    function momentOf(bytes32 state) private pure returns (bytes32) {
        return Claims.momentOf(state, "probe");
    }

    function challenge(address who, uint32 segment) private returns (uint256 gameId) {
        vm.prank(who);
        gameId = court.challenge(7, segment, first, segment == 0 ? first : last);
        readLog();
    }

    /// Takes what the log says of the games' states.
    function readLog() private {
        LogVm.Log[] memory all = logs.getRecordedLogs();
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i].emitter != address(court) || all[i].topics[0] != Dispute.Moved.selector) continue;
            (bytes memory state, bytes memory filed) = abi.decode(all[i].data, (bytes, bytes));
            uint256 gameId = uint256(all[i].topics[1]);
            states[gameId] = state;
            if (filed.length > 0) papers[gameId] = filed;
        }
    }

    function stateOf(uint256 gameId) private view returns (Game memory) {
        assertEq(sha256(states[gameId]), court.gameOf(gameId).state, "the log says what is kept");
        return reader.unpack(states[gameId]);
    }

    function bisect() private {
        vm.prank(SOLVER);
        court.bisect(0, states[0], values);
        readLog();
    }

    function test_a_challenge_locks_the_bond_and_tells_market_and_audit() public {
        vm.expectEmit(address(court));
        emit Dispute.Challenged(
            0, 7, CHALLENGER, SOLVER, 1, Claims.momentOf("a", sha256(abi.encode(bytes32(0)))), momentOf("b")
        );
        assertEq(challenge(CHALLENGER, 1), 0, "id");
        assertEq(stub.lockedOf(CHALLENGER), BOND, "locked");
        assertEq(stub.games(), 1, "contested");
        assertEq(stub.disputes(), 1, "disputed");
        assertEq(court.gameCount(), 1, "count");
        readLog();
        Quarrel memory q = court.gameOf(0);
        assertEq(q.claimId, 7, "claim");
        assertEq(q.challenger, CHALLENGER, "challenger");
        assertEq(court.challengerOf(0), CHALLENGER, "challenger");
        Game memory g = stateOf(0);
        assertEq(g.solver, SOLVER, "solver");
        assertEq(g.challenger, CHALLENGER, "challenger");
        assertEq(uint256(g.level), uint256(Level.Steps), "level");
        assertEq(g.to, STEPS, "to");
        assertFalse(g.fresh, "nothing to wait for");
        Papers memory p = reader.unpackPapers(papers[0]);
        assertEq(p.claimId, 7, "claim");
        assertEq(p.segment, 1, "segment");
        assertEq(p.root, stub.claimView(7).root, "root");
        assertEq(p.exprs, 3, "exprs");
    }

    function test_segment_0_starts_from_the_claims_start_state() public {
        challenge(CHALLENGER, 0);
        assertEq(stateOf(0).lo, Claims.momentOf(START, sha256(abi.encode(bytes32(0)))), "lo");
        assertEq(stateOf(0).hi, momentOf("a"), "hi");
    }

    function test_a_leaf_that_nobody_can_open_can_be_challenged() public {
        vm.startPrank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.NotOpened.selector, 1));
        court.challengeLeaf(7, 1, first, "garbage", last.proof);
        assertEq(court.challengeLeaf(7, 1, first, momentOf("b"), last.proof), 0, "id");
        readLog();
        assertEq(stateOf(0).hi, momentOf("b"), "hi");
        assertEq(stub.lockedOf(CHALLENGER), BOND, "locked");
    }

    function test_a_challenge_is_refused_by_name() public {
        vm.prank(SOLVER);
        vm.expectRevert(Dispute.SelfChallenge.selector);
        court.challenge(7, 1, first, last);
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.ClaimNotOpen.selector, 8));
        court.challenge(8, 1, first, last);
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.NoSegment.selector, 2, 2));
        court.challenge(7, 2, first, last);
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.NotOpened.selector, 1));
        court.challenge(7, 1, first, first);
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.NotOpened.selector, 0));
        court.challenge(7, 1, last, last);
        vm.prank(address(1));
        vm.expectRevert(abi.encodeWithSelector(CourtStub.Short.selector, address(1), 0, BOND));
        court.challenge(7, 1, first, last);
        stub.close(7);
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.ClaimNotOpen.selector, 7));
        court.challenge(7, 1, first, last);
    }

    function test_nobody_moves_for_another() public {
        challenge(CHALLENGER, 1);
        (bytes memory s, bytes memory p) = (states[0], papers[0]);
        Opened memory opened;
        vm.startPrank(CHALLENGER);
        bytes memory notSolver = abi.encodeWithSelector(Dispute.NotSolver.selector, SOLVER);
        vm.expectRevert(notSolver);
        court.bisect(0, s, values);
        vm.expectRevert(notSolver);
        court.bisectFold(0, s, "");
        vm.expectRevert(notSolver);
        court.open(0, s, p, opened, values);
        vm.expectRevert(notSolver);
        court.descend(0, s, values);
        vm.expectRevert(notSolver);
        court.showChunk(0, s, "");
        vm.stopPrank();
        vm.startPrank(SOLVER);
        bytes memory notChallenger = abi.encodeWithSelector(Dispute.NotChallenger.selector, CHALLENGER);
        Pick memory pick;
        vm.expectRevert(notChallenger);
        court.pick(0, s, pick);
        vm.expectRevert(notChallenger);
        court.enterState(0, s, p, 0, 0);
        vm.expectRevert(notChallenger);
        court.showExpr(0, s, p, pick, "", values);
        vm.expectRevert(notChallenger);
        court.pickElement(0, s, pick);
        vm.expectRevert(notChallenger);
        court.proveProbe(0, s, p, opened, item());
        vm.expectRevert(notChallenger);
        court.proveInput(0, s, p, pick, Source("", values, 0, 0, item()));
        vm.expectRevert(notChallenger);
        court.provePadding(0, s, p, pick);
        vm.expectRevert(notChallenger);
        court.proveState(0, s, p, pick, Fed(0, values, item()));
        vm.expectRevert(notChallenger);
        court.proveTail(0, s, p, pick);
        vm.expectRevert(notChallenger);
        court.proveElement(0, s, p, pick, "", new Operand[](0));
        vm.expectRevert(notChallenger);
        court.proveTerm(0, s, p, 0, "", new Operand[](0));
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(Dispute.NoGame.selector, 1));
        court.timeout(1, s, p);
        vm.expectRevert(abi.encodeWithSelector(Dispute.NoGame.selector, 1));
        court.gameOf(1);
    }

    function item() private pure returns (Item memory) {
        return Item({value: 0, proof: new bytes32[](0)});
    }

    function test_another_state_or_other_papers_are_refused() public {
        challenge(CHALLENGER, 1);
        bytes memory s = states[0];
        s[8] ^= 0x01;
        vm.startPrank(SOLVER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.StateDiffers.selector, sha256(s)));
        court.bisect(0, s, values);
        vm.expectRevert(abi.encodeWithSelector(Dispute.StateDiffers.selector, sha256("")));
        court.bisect(0, "", values);
        bytes memory p = papers[0];
        p[40] ^= 0x80;
        Opened memory opened;
        vm.expectRevert(abi.encodeWithSelector(Dispute.PapersDiffer.selector, sha256(p)));
        court.open(0, states[0], p, opened, values);
        vm.stopPrank();
        bytes memory before = states[0];
        bisect();
        vm.prank(SOLVER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.StateDiffers.selector, sha256(before)));
        court.bisect(0, before, values);
    }

    function test_moves_out_of_turn_are_refused_with_where_the_game_stands() public {
        challenge(CHALLENGER, 1);
        Opened memory opened;
        Pick memory pick;
        vm.prank(SOLVER);
        vm.expectRevert(abi.encodeWithSelector(Claims.WrongMove.selector, Level.Steps, Side.Solver));
        court.open(0, states[0], papers[0], opened, values);
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Claims.WrongMove.selector, Level.Steps, Side.Solver));
        court.pick(0, states[0], pick);
        bisect();
        vm.prank(SOLVER);
        vm.expectRevert(abi.encodeWithSelector(Claims.WrongMove.selector, Level.Steps, Side.Challenger));
        court.bisect(0, states[0], values);
    }

    function test_a_game_about_a_sealed_claim_stands_still_until_it_is_opened() public {
        Spec memory spec = stub.specOf(4);
        spec.decoyOneIn = 8;
        stub.put(7, stub.claimView(7), spec);
        stub.seal(7, 1_000_500);
        challenge(CHALLENGER, 1);
        assertTrue(stateOf(0).fresh, "fresh");
        vm.warp(1_000_499);
        bytes memory still = abi.encodeWithSelector(Claims.StillSealed.selector, 1_000_500);
        vm.prank(SOLVER);
        vm.expectRevert(still);
        court.bisect(0, states[0], values);
        vm.expectRevert(still);
        court.timeout(0, states[0], papers[0]);
        vm.warp(1_000_500 + CLOCK);
        vm.expectRevert(abi.encodeWithSelector(Claims.ClockRuns.selector, CLOCK, CLOCK));
        court.timeout(0, states[0], papers[0]);
        stub.seal(7, 1_000_490); // opened earlier than it had to be
        vm.expectEmit(address(court));
        emit Dispute.Decided(0, true, Ground.Clock, 0, 0, 0, 0, 0);
        court.timeout(0, states[0], papers[0]);
    }

    function test_a_game_about_a_decoy_is_moot_and_its_challenger_has_caught_it() public {
        challenge(CHALLENGER, 1);
        stub.unmask(7, "true root");
        vm.warp(1_000_001 + CLOCK);
        vm.expectRevert(abi.encodeWithSelector(Dispute.Moot.selector, 7));
        court.timeout(0, states[0], papers[0]);
        court.withdrawMoot(0, states[0], papers[0]);
        assertEq(stub.freeOf(CHALLENGER), BOND, "bond");
        assertEq(stub.catches(CHALLENGER), 1, "caught");
        vm.expectRevert(abi.encodeWithSelector(Dispute.Closed.selector, 0));
        court.withdrawMoot(0, states[0], papers[0]);
    }

    function test_a_silent_solver_is_convicted_and_the_bond_comes_back() public {
        challenge(CHALLENGER, 1);
        vm.warp(1_000_000 + CLOCK);
        vm.expectRevert(abi.encodeWithSelector(Claims.ClockRuns.selector, CLOCK, CLOCK));
        court.timeout(0, states[0], papers[0]);
        vm.warp(1_000_001 + CLOCK);
        vm.prank(SOLVER);
        vm.expectRevert(abi.encodeWithSelector(Claims.ClockRanOut.selector, CLOCK + 1, CLOCK));
        court.bisect(0, states[0], values);
        vm.expectEmit(address(court));
        emit Dispute.Decided(0, true, Ground.Clock, 0, 0, 0, 0, 0);
        vm.prank(ANYBODY);
        court.timeout(0, states[0], papers[0]);
        assertEq(stub.freeOf(CHALLENGER), BOND, "free again");
        assertEq(stub.convictedSegment(), 1, "segment");
        vm.expectRevert(abi.encodeWithSelector(Dispute.Closed.selector, 0));
        court.timeout(0, states[0], papers[0]);
        vm.prank(SOLVER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.Closed.selector, 0));
        court.bisect(0, states[0], values);
    }

    function test_a_silent_challenger_pays_half_to_the_solver_and_half_to_nobody() public {
        challenge(CHALLENGER, 1);
        bisect();
        vm.warp(1_000_001 + CLOCK);
        vm.expectEmit(address(court));
        emit Dispute.Decided(0, false, Ground.Clock, 0, 0, 0, 0, 0);
        court.timeout(0, states[0], papers[0]);
        assertEq(stub.freeOf(SOLVER), BOND / 2, "solver");
        assertEq(stub.burnt(), BOND / 2, "burnt");
        assertEq(stub.freeOf(CHALLENGER) + stub.lockedOf(CHALLENGER), 0, "challenger");
        assertEq(stub.games(), 0, "uncontested");
        assertTrue(stub.claimView(7).open, "the claim stands");
    }

    function test_a_claim_falls_once_and_the_other_challengers_get_their_bonds_back() public {
        challenge(CHALLENGER, 1);
        challenge(ANYBODY, 0);
        vm.expectRevert(abi.encodeWithSelector(Dispute.NotMoot.selector, 7));
        court.withdrawMoot(1, states[1], papers[1]);
        vm.warp(1_000_001 + CLOCK);
        court.timeout(0, states[0], papers[0]);
        vm.expectRevert(abi.encodeWithSelector(Dispute.Moot.selector, 7));
        court.timeout(1, states[1], papers[1]);
        vm.expectEmit(address(court));
        emit Dispute.Withdrawn(1);
        court.withdrawMoot(1, states[1], papers[1]);
        assertEq(stub.freeOf(ANYBODY), BOND, "bond");
        assertEq(stub.lockedOf(ANYBODY), 0, "nothing locked");
        vm.expectRevert(abi.encodeWithSelector(Dispute.Closed.selector, 1));
        court.withdrawMoot(1, states[1], papers[1]);
        vm.expectRevert(abi.encodeWithSelector(Dispute.Closed.selector, 0));
        court.withdrawMoot(0, states[0], papers[0]);
    }

    function test_a_segment_of_one_step_is_opened_at_once() public {
        Spec memory spec = stub.specOf(4);
        spec.stepsPerCheckpoint = 1;
        stub.put(7, stub.claimView(7), spec);
        challenge(CHALLENGER, 1);
        assertEq(uint256(stateOf(0).level), uint256(Level.Open), "level");
        vm.startPrank(SOLVER);
        vm.expectRevert(Claims.StartDiffers.selector);
        court.open(0, states[0], papers[0], Opened("b", 0, "b", "chain"), values);
        vm.expectRevert(Claims.EndDiffers.selector);
        court.open(0, states[0], papers[0], Opened("a", 0, "b", "chain"), values);
    }

    /// Parts cover an interval without gap, none empty, none longer than what the rounds left can narrow to one.
    function test_parts_cover_an_interval(uint256 from, uint256 count, bool fold) public pure {
        from = bound(from, 0, type(uint32).max / 2);
        count = bound(count, 1, type(uint32).max / 2);
        uint256 most = fold ? Position.TERMS : Position.STEPS;
        uint256 to = from + count;
        uint256 parts = Position.partsOf(count, most);
        assertLe(parts, most, "parts");
        assertEq(Position.cutAt(from, to, parts, 0), from, "first");
        assertEq(Position.cutAt(from, to, parts, parts), to, "last");
        for (uint256 i = 0; i < parts; ++i) {
            uint256 length = Position.cutAt(from, to, parts, i + 1) - Position.cutAt(from, to, parts, i);
            assertTrue(length >= 1, "not empty");
            assertLe(length, count / parts + 1, "not long");
            assertLe(roundsOf(length, most), count > 1 ? roundsOf(count, most) - 1 : 0, "rounds");
        }
    }

    function roundsOf(uint256 count, uint256 most) private pure returns (uint256 rounds) {
        for (uint256 reach = 1; reach < count; reach *= most) {
            ++rounds;
        }
    }

    /// Six levels at most a round, and no round too many.
    function test_descents_are_short(uint8 depth) public pure {
        uint256 rounds = 0;
        for (uint256 left = depth; left > 0; ++rounds) {
            uint256 take = Position.takeOf(left);
            assertTrue(take >= 1 && take <= 6, "take");
            left -= take;
        }
        assertLe(rounds, uint256(depth) / 5 + 1, "rounds");
    }
}
