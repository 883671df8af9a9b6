// SPDX-License-Identifier: Apache-2.0
// The audit of a claim: drawn verifiers re-run drawn segments, seal what they found, and reveal it after the solver has disclosed (docs/protocol.md §3).
// A seal that matches what was nowhere public proves an independent re-execution; whoever copies or guesses is slashed.
//
// Draw ─ seal ─ disclose ─ reveal ─ window. Each stage ends as soon as all have acted, or at its deadline by a call that anybody may make:
// `redraw` (sealing), `lapse` (disclosing), `sweep` (revealing and after). The market's `settle` does the last of these itself.
pragma solidity ^0.8.28;

import {Assignment, ClaimView, IDecoys, IDocket, ILedger, ITasks, Spec, Stage, Verdict} from "./Types.sol";
import {Merkle} from "../dispute/Merkle.sol";
import {Moment} from "./Moment.sol";
import {Randomness} from "./Randomness.sol";
import {SpecLimits} from "./SpecLimits.sol";

contract Audit is IDocket {
    /// A solver's first slices since its last fault are audited whole: it has nothing to lose yet but its bond.
    uint256 public constant PROBATION = 2;
    /// A solver with so many slices accepted since its last fault is sampled half as much, never less than one segment: it has a name to lose.
    uint256 public constant PROVEN = 32;
    /// Draws of one claim: the first, and two more when verifiers were silent or their verdicts decide nothing. Then it is void.
    uint256 public constant MAX_ROUNDS = 3;
    /// Seats looked at for each place: misses once in 4 billion draws while half of the seats qualify, and a miss only costs another block.
    uint256 public constant TRIES_PER_PLACE = 32;
    /// Silence costs a tenth of a seat, to the pool: computers do fail; yet it must cost more than an audit fee is worth.
    uint256 public constant SILENCE_SHARE = 10;
    /// Sealing and not revealing costs a quarter, to the pool: worse than silence, since the verdict was known.
    uint256 public constant MISSING_SHARE = 4;
    /// A whole seat for a rubber stamp (half burnt, half to the pool) and for crying *different* without a dispute (half burnt, half to the solver).
    uint256 public constant WHOLE_SHARE = 1;

    uint8 private constant SAME = 1;
    uint8 private constant DIFFERENT = 2;
    uint8 private constant UNAVAILABLE = 3;
    /// In `_placeOf`: was drawn in an earlier round and is not drawn again.
    uint8 private constant GONE = 255;

    struct Case {
        bytes32 root;
        address solver;
        uint64 anchorBlock;
        Stage stage;
        uint8 round;
        uint16 wanted; // segments to audit, in a quorum by each verifier
        address submitter;
        uint24 sealSeconds;
        uint24 discloseSeconds;
        uint24 revealSeconds;
        uint24 challengeSeconds;
        uint24 clockSeconds;
        uint16 checkpoints;
        uint8 verifiers; // places to fill
        uint8 sealedCount;
        uint8 revealedCount;
        bool quorum; // each place is dealt every segment, and all must agree
        bool hasSeal; // the solver sealed the claim (Decoys.sol) and opens it before it discloses
        bool masked; // what is sealed was sealed about a decoy
        uint48 deadline; // of the stage; while drawing: when an empty draw gives up
        uint48 windowFrom;
        uint48 seatTime; // seats count as they stood when the anchor was set
        uint48 seatCount;
    }

    /// One verifier's part: the segments at positions i, i + places, i + 2·places … of the sorted list; in a quorum all of them.
    struct Place {
        address verifier;
        uint40 seat;
        uint40 revealedAt;
        Verdict verdict;
        bool caught; // a decoy
        bytes32 seal;
        bytes32 digest; // of what the solver disclosed for this place
    }

    struct Tally {
        uint256 same; // segments, as all of these
        uint256 unavailable;
        uint256 refuted; // *different*, whose dispute convicted nobody
        bool blocked; // a *different* may still open its dispute
    }

    ILedger public immutable stake;
    ITasks public immutable market;
    address public immutable court;
    IDecoys public immutable decoys;

    mapping(uint256 claimId => Case) private _cases;
    mapping(uint256 claimId => Place[]) private _places;
    mapping(uint256 claimId => uint16[]) private _segments;
    mapping(uint256 claimId => mapping(address verifier => uint8)) private _placeOf; // place + 1
    /// About which root of a claim somebody has opened a dispute last.
    mapping(uint256 claimId => mapping(address verifier => bytes32)) private _disputedRoot;

    event Begun(uint256 indexed claimId, uint256 segments);
    /// The next draw uses this block's hash and the seats as they stand now.
    event Anchored(uint256 indexed claimId, uint256 round, uint256 anchorBlock);
    event Entered(uint256 indexed claimId, Stage stage, uint256 deadline);
    /// New assignments: segments[i] is verifiers[i]'s.
    event Drawn(uint256 indexed claimId, uint256 round, address[] verifiers, uint32[] segments);
    event NobodyDrawn(uint256 indexed claimId, uint256 round);
    event Sealed(uint256 indexed claimId, address indexed verifier, bytes32 seal);
    event Redrawn(uint256 indexed claimId, uint256 round, address[] silent);
    event Disclosed(uint256 indexed claimId, uint32[] segments, bytes32[] probeDigests);
    event Revealed(uint256 indexed claimId, address indexed verifier, Verdict verdict, bytes32 digest);
    event VerifierSlashed(uint256 indexed claimId, address indexed verifier, Verdict verdict, uint256 takenWei);
    event Disputed(uint256 indexed claimId, address indexed verifier);
    event Restarted(uint256 indexed claimId, uint256 round);
    /// The claim showed a decoy and is about this root now. Whoever was drawn and had not sealed is free.
    event Unmasked(uint256 indexed claimId, bytes32 root);
    event Passed(uint256 indexed claimId);
    event Failed(uint256 indexed claimId, bool fault);

    error NotAllowed(address caller);
    error WrongStage(uint256 claimId, Stage stage, Stage wanted);
    error TooEarly(uint256 deadline, uint256 time);
    error TooLate(uint256 deadline, uint256 time);
    error NotDrawn(uint256 claimId, address caller);
    error WrongVerdict(uint256 claimId, address verifier, Verdict verdict);
    error EmptySeal(uint256 claimId, address verifier);
    error SealBroken(bytes32 seal, bytes32 revealed);
    error NoSuchVerdict(uint8 verdict);
    error NotSolver(address solver, address caller);
    error WrongLength(uint256 length, uint256 wanted);
    error WrongSegment(uint256 position, uint256 segment, uint256 wanted);
    error NotInClaim(uint256 segment, bytes32 leaf, bytes32 root);
    error NotPassed(uint256 claimId);
    error NothingToDo(uint256 claimId);
    error SealNotOpened(uint256 claimId);

    modifier onlyMarket() {
        if (msg.sender != address(market)) revert NotAllowed(msg.sender);
        _;
    }

    /// The other contracts may not exist yet: their addresses follow from the deployer's nonce.
    constructor(ILedger stake_, ITasks market_, address court_, IDecoys decoys_) {
        (stake, market, court, decoys) = (stake_, market_, court_, decoys_);
    }

    // ---------------------------------------------------------------- drawing

    /// The market: a claim was made by a solver with so many slices accepted since its last fault.
    function begin(uint256 claimId, uint32 acceptedBefore) external onlyMarket {
        ClaimView memory claimed = market.claimView(claimId);
        Spec memory spec = market.specOf(claimed.taskId);
        Case storage c = _cases[claimId];
        c.root = claimed.root;
        c.solver = claimed.solver;
        c.submitter = market.submitterOf(claimed.taskId);
        c.sealSeconds = uint24(spec.sealSeconds);
        c.discloseSeconds = uint24(spec.discloseSeconds);
        c.revealSeconds = uint24(spec.revealSeconds);
        c.challengeSeconds = uint24(spec.challengeSeconds);
        c.clockSeconds = uint24(spec.clockSeconds);
        c.checkpoints = uint16(spec.checkpointsPerSlice);
        uint256 wanted = _wanted(spec, acceptedBefore);
        c.wanted = uint16(wanted);
        c.quorum = spec.assurance == SpecLimits.QUORUM;
        c.hasSeal = spec.decoyOneIn != 0;
        c.verifiers = uint8(c.quorum || spec.verifiers < wanted ? spec.verifiers : wanted);
        emit Begun(claimId, wanted);
        if (wanted == 0) {
            _openWindow(claimId, c, block.timestamp);
        } else {
            _enter(claimId, c, Stage.Drawing, spec.sealSeconds);
            _anchor(claimId, c);
        }
    }

    /// Anybody, once the anchor block exists: draws verifiers for the vacant places, and with the first of a claim the segments.
    function draw(uint256 claimId) external {
        Case storage c = _in(claimId, Stage.Drawing);
        if (Randomness.isLost(c.anchorBlock)) {
            _anchor(claimId, c);
            return;
        }
        bytes32 seed = Randomness.seed(c.anchorBlock, claimId);
        Place[] storage places = _places[claimId];
        uint256[] memory into = _vacancies(places, c.verifiers);
        uint256 found = _pick(claimId, c, places, into, seed);
        if (found == 0) {
            _drewNobody(claimId, c);
            return;
        }
        // INVARIANT: a claim's segments are drawn once. Were they drawn again for other verifiers, a solver that withholds the data of a segment that
        // it forged would only have to wait until another one is drawn.
        if (_segments[claimId].length == 0) _segments[claimId] = _sample(seed, c.wanted, c.checkpoints);
        _emitDrawn(claimId, c, places, into, found);
        _enter(claimId, c, Stage.Sealing, c.sealSeconds);
    }

    // ---------------------------------------------------------------- sealing

    /// A drawn verifier: keccak256(abi.encode(claimId, verifier, verdict, digest, salt)), with a salt of its own.
    function seal(uint256 claimId, bytes32 sealed_) external {
        Case storage c = _in(claimId, Stage.Sealing);
        _mustBeInTime(c);
        Place storage place = _placeIs(claimId, msg.sender, Verdict.Drawn);
        if (sealed_ == 0) revert EmptySeal(claimId, msg.sender);
        place.seal = sealed_;
        place.verdict = Verdict.Sealed;
        c.sealedCount += 1;
        emit Sealed(claimId, msg.sender, sealed_);
        Place[] storage places = _places[claimId];
        if (c.sealedCount != _occupied(places)) return;
        // A quorum goes on when it is complete. Places that no seat was found for are drawn for once more; in the last round `redraw` ends it when
        // the time is over, since a seal must never be refused because the market cannot void a claim in dispute.
        if (!c.quorum || c.sealedCount == c.verifiers) _enter(claimId, c, Stage.Disclosing, c.discloseSeconds);
        else if (c.round + 1 < MAX_ROUNDS) _nextRound(claimId, c);
    }

    /// Anybody, when the time to seal is over: the silent lose a part of their seat and their place, which is drawn anew.
    function redraw(uint256 claimId) external {
        Case storage c = _in(claimId, Stage.Sealing);
        _mustBeLate(c);
        Place[] storage places = _places[claimId];
        address[] memory silent = new address[](_occupied(places) - c.sealedCount);
        uint256 n = 0;
        for (uint256 i = 0; i < places.length; ++i) {
            if (places[i].verdict != Verdict.Drawn) continue;
            silent[n++] = places[i].verifier;
            _slash(claimId, places[i], SILENCE_SHARE, address(stake));
            _placeOf[claimId][places[i].verifier] = GONE;
            delete places[i];
        }
        emit Redrawn(claimId, c.round + 1, silent);
        _nextRound(claimId, c);
    }

    // ---------------------------------------------------------------- disclosing

    /// The solver, once all have sealed: the drawn segments' end states and probe digests, ascending, each proved against the claim.
    function disclose(
        uint256 claimId,
        uint32[] calldata segments,
        bytes32[] calldata stateRoots,
        bytes32[] calldata probeDigests,
        bytes32[][] calldata proofs
    ) external {
        Case storage c = _in(claimId, Stage.Disclosing);
        if (msg.sender != c.solver) revert NotSolver(c.solver, msg.sender);
        _mustBeInTime(c);
        if (c.hasSeal && !decoys.isOpen(claimId)) revert SealNotOpened(claimId);
        uint16[] storage drawn = _segments[claimId];
        _mustHave(segments.length, drawn.length);
        _mustHave(stateRoots.length, drawn.length);
        _mustHave(probeDigests.length, drawn.length);
        _mustHave(proofs.length, drawn.length);
        for (uint256 k = 0; k < segments.length; ++k) {
            if (segments[k] != drawn[k]) revert WrongSegment(k, segments[k], drawn[k]);
            _mustBeInClaim(c, segments[k], stateRoots[k], probeDigests[k], proofs[k]);
        }
        _keepDigests(c, _places[claimId], probeDigests);
        emit Disclosed(claimId, segments, probeDigests);
        _enter(claimId, c, Stage.Revealing, c.revealSeconds);
    }

    /// Anybody, when the solver has not disclosed in time: the claim is void, by its fault.
    function lapse(uint256 claimId) external {
        Case storage c = _in(claimId, Stage.Disclosing);
        _mustBeLate(c);
        _fail(claimId, c, true);
    }

    // ---------------------------------------------------------------- revealing

    /// A verifier opens its seal. 1 same, 2 different, 3 unavailable. *Same* with a digest other than the disclosed one is a rubber stamp. Of a claim
    /// that showed a decoy, *different* with the disclosed digest has caught it; what else was said of it but *unavailable* counts as *different* about
    /// the true claim: whoever re-ran and was shown the truth as a decoy can prove the lie that came instead.
    function reveal(uint256 claimId, uint8 verdict, bytes32 digest, bytes32 salt) external {
        Case storage c = _in(claimId, Stage.Revealing);
        _mustBeInTime(c);
        Place storage place = _placeIs(claimId, msg.sender, Verdict.Sealed);
        bytes32 opened = keccak256(abi.encode(claimId, msg.sender, verdict, digest, salt));
        if (opened != place.seal) revert SealBroken(place.seal, opened);
        if (verdict < SAME || verdict > UNAVAILABLE) revert NoSuchVerdict(verdict);
        if (verdict == UNAVAILABLE) {
            place.verdict = Verdict.Unavailable;
        } else if (c.masked) {
            place.caught = verdict == DIFFERENT && digest == place.digest;
            place.verdict = place.caught ? Verdict.Same : Verdict.Different;
        } else if (verdict == SAME) {
            place.verdict = digest == place.digest ? Verdict.Same : Verdict.Stamped;
        } else {
            place.verdict = Verdict.Different;
        }
        place.revealedAt = uint40(block.timestamp);
        c.revealedCount += 1;
        emit Revealed(claimId, msg.sender, place.verdict, digest);
        if (place.verdict == Verdict.Stamped) _slash(claimId, place, WHOLE_SHARE, address(stake));
        if (c.revealedCount == c.sealedCount) _openWindow(claimId, c, block.timestamp);
    }

    /// The court: whoever opened a dispute about the claim. A verifier that said *different*, or will, has kept its word.
    function disputed(uint256 claimId, address verifier) external {
        if (msg.sender != court) revert NotAllowed(msg.sender);
        _disputedRoot[claimId][verifier] = _cases[claimId].root;
        emit Disputed(claimId, verifier);
    }

    /// The decoys: the claim showed one. Who has sealed keeps its place if they are enough; else the draw begins again, as for any claim about `root`.
    /// That is no fault of anybody's and costs no round.
    function unmask(uint256 claimId, bytes32 root) external {
        if (msg.sender != address(decoys)) revert NotAllowed(msg.sender);
        Case storage c = _cases[claimId];
        c.root = root;
        emit Unmasked(claimId, root);
        if (c.stage == Stage.Disclosing) {
            c.masked = true;
            // SAFETY: its games are moot, so whoever challenged a lie needs the time to challenge it again before `lapse` ends the claim at a lower price.
            _enter(claimId, c, Stage.Disclosing, c.discloseSeconds);
        } else if (_sealedEnough(claimId, c)) {
            c.masked = true;
            Place[] storage places = _places[claimId];
            for (uint256 i = 0; i < places.length; ++i) {
                if (places[i].verdict != Verdict.Drawn) continue;
                _placeOf[claimId][places[i].verifier] = 0;
                delete places[i];
            }
            _enter(claimId, c, Stage.Disclosing, c.discloseSeconds);
        } else {
            _restart(claimId, c, 0);
        }
    }

    // ---------------------------------------------------------------- the end

    /// Anybody, after the time to reveal: slashes broken words; draws once more, or voids the claim, when its verdicts cannot carry it.
    function sweep(uint256 claimId) external {
        Case storage c = _cases[claimId];
        bool changed = _chase(claimId, c);
        Tally memory t = _tally(claimId, c);
        bool decided = block.timestamp >= uint256(c.windowFrom) + c.challengeSeconds && !t.blocked;
        if (2 * t.unavailable > _whole(c) || (decided && !_carries(c, t))) {
            c.round += 1;
            if (c.round < MAX_ROUNDS) _restart(claimId, c, GONE);
            else _fail(claimId, c, false);
        } else if (!changed) {
            revert NothingToDo(claimId);
        }
    }

    /// The market, settling: ends a passed audit and says who is paid for how many segments.
    function finish(uint256 claimId) external onlyMarket returns (address[] memory verifiers, uint32[] memory segments) {
        Case storage c = _cases[claimId];
        _chase(claimId, c);
        if (!passed(claimId)) revert NotPassed(claimId);
        _enter(claimId, c, Stage.Closed, 0);
        emit Passed(claimId);
        if (c.masked) decoys.payCatchers(claimId, _filtered(claimId, true), _places[claimId].length);
        return payees(claimId);
    }

    /// The market: the solver was convicted.
    function close(uint256 claimId) external onlyMarket {
        _enter(claimId, _cases[claimId], Stage.Closed, 0);
    }

    // ---------------------------------------------------------------- views

    /// Whether the claim may be settled as far as its audit goes; the market asks besides that no dispute is open.
    function passed(uint256 claimId) public view returns (bool) {
        Case storage c = _cases[claimId];
        (bool inWindow, uint256 from) = _window(c);
        if (!inWindow || block.timestamp < from + c.challengeSeconds) return false;
        Tally memory t = _tally(claimId, c);
        return !t.blocked && _carries(c, t);
    }

    /// Where the audit stands, a passed deadline taken into account. `deadline`: until when the next may act, or the window's end.
    function stageOf(uint256 claimId)
        external
        view
        returns (Stage stage, uint256 deadline, uint256 places, uint256 sealedCount, uint256 revealedCount, uint256 round, uint256 anchorBlock)
    {
        Case storage c = _cases[claimId];
        (stage, deadline) = (c.stage, c.deadline);
        (bool inWindow, uint256 from) = _window(c);
        if (inWindow) (stage, deadline) = (Stage.Window, from + c.challengeSeconds);
        (places, sealedCount, revealedCount) = (_occupied(_places[claimId]), c.sealedCount, c.revealedCount);
        (round, anchorBlock) = (c.round, c.anchorBlock);
    }

    /// Whether a verifier has opened a dispute about the claim as it is: about its true root, where it showed a decoy.
    function hasDisputed(uint256 claimId, address verifier) public view returns (bool) {
        bytes32 root = _cases[claimId].root;
        return root != 0 && _disputedRoot[claimId][verifier] == root;
    }

    /// Who re-runs which segment, ascending by segment, in a quorum each segment once for each place; nobody where a place is vacant.
    function assignmentsOf(uint256 claimId) external view returns (Assignment[] memory list) {
        Place[] storage places = _places[claimId];
        uint16[] storage segments = _segments[claimId];
        // While a claim is drawn for again it has segments and no places.
        if (places.length == 0) return list;
        uint256 times = _cases[claimId].quorum ? places.length : 1;
        list = new Assignment[](segments.length * times);
        for (uint256 k = 0; k < list.length; ++k) {
            Place storage place = places[k % places.length];
            list[k] = Assignment({segment: segments[k / times], verifier: place.verifier, verdict: place.verdict});
        }
    }

    /// Who said *same* and showed it, and for how many segments.
    function payees(uint256 claimId) public view returns (address[] memory verifiers, uint32[] memory segments) {
        verifiers = _filtered(claimId, false);
        segments = new uint32[](verifiers.length);
        Case storage c = _cases[claimId];
        for (uint256 i = 0; i < segments.length; ++i) {
            segments[i] = uint32(_shareOf(c, _places[claimId].length, _placeOf[claimId][verifiers[i]] - 1));
        }
    }

    /// Who attested this segment: at most one verifier, in a quorum any of them.
    function attesters(uint256 claimId, uint32 segment) external view returns (address[] memory verifiers) {
        uint16[] storage segments = _segments[claimId];
        uint256 places = _places[claimId].length;
        if (_cases[claimId].quorum) return _filtered(claimId, false);
        for (uint256 k = 0; k < segments.length && places != 0; ++k) {
            Place storage place = _places[claimId][k % places];
            if (segments[k] != segment || place.verdict != Verdict.Same) continue;
            verifiers = new address[](1);
            verifiers[0] = place.verifier;
            return verifiers;
        }
    }

    /// Which seats these verifiers were drawn by.
    function seatsOf(uint256 claimId, address[] calldata verifiers) external view returns (uint256[] memory seats) {
        seats = new uint256[](verifiers.length);
        for (uint256 i = 0; i < seats.length; ++i) {
            seats[i] = _placeAt(claimId, verifiers[i]).seat;
        }
    }

    // ---------------------------------------------------------------- within: drawing

    function _wanted(Spec memory spec, uint256 acceptedBefore) private pure returns (uint256) {
        if (spec.assurance == SpecLimits.NONE) return 0;
        uint256 all = spec.checkpointsPerSlice;
        if (spec.assurance != SpecLimits.SPOT || acceptedBefore < PROBATION) return all;
        uint256 sample = uint256(spec.verifiers) * spec.segments;
        if (acceptedBefore >= PROVEN) sample = (sample + 1) / 2;
        if (sample == 0) return 1;
        return sample < all ? sample : all;
    }

    function _anchor(uint256 claimId, Case storage c) private {
        c.anchorBlock = uint64(Randomness.anchor());
        c.seatTime = uint48(block.timestamp);
        c.seatCount = uint48(stake.seatCount());
        emit Anchored(claimId, c.round, c.anchorBlock);
    }

    /// The places to fill: all of them at a round's first draw.
    function _vacancies(Place[] storage places, uint256 wanted) private view returns (uint256[] memory into) {
        uint256 size = places.length == 0 ? wanted : places.length - _occupied(places);
        into = new uint256[](size);
        uint256 n = 0;
        for (uint256 i = 0; n < size; ++i) {
            if (i >= places.length || places[i].verdict == Verdict.Vacant) into[n++] = i;
        }
    }

    /// Draws owners of seats, each at most once a claim, by rejection: what was drawn and does not qualify is drawn again, a bounded number of times.
    function _pick(uint256 claimId, Case storage c, Place[] storage places, uint256[] memory into, bytes32 seed) private returns (uint256 found) {
        if (c.seatCount == 0) return 0;
        bool fresh = places.length == 0;
        uint256 tries = into.length * TRIES_PER_PLACE;
        for (uint256 i = 0; i < tries && found < into.length; ++i) {
            Place memory place = _look(claimId, c, Randomness.below(seed, i, c.seatCount));
            if (place.verdict == Verdict.Vacant) continue;
            _placeOf[claimId][place.verifier] = uint8(into[found] + 1);
            if (fresh) places.push(place);
            else places[into[found]] = place;
            ++found;
        }
        // A quorum's missing places stay open; a sample is dealt to those who were found.
        if (fresh && c.quorum && found != 0) {
            while (places.length < c.verifiers) places.push();
        }
    }

    /// The place that a seat's owner would get; a vacant one if it does not qualify.
    function _look(uint256 claimId, Case storage c, uint256 index) private view returns (Place memory place) {
        (address owner, bool active) = stake.seatAt(index, c.seatTime);
        if (!active || owner == c.solver || owner == c.submitter || _placeOf[claimId][owner] != 0) return place;
        (place.verifier, place.seat, place.verdict) = (owner, uint40(index), Verdict.Drawn);
    }

    /// `size` of the numbers below `limit`, ascending; every subset is equally likely (Floyd 1987).
    function _sample(bytes32 seed, uint256 size, uint256 limit) private pure returns (uint16[] memory sample) {
        bool[] memory chosen = new bool[](limit);
        bytes32 own = keccak256(abi.encode(seed, "segments"));
        for (uint256 j = limit - size; j < limit; ++j) {
            uint256 t = Randomness.below(own, j, j + 1);
            chosen[chosen[t] ? j : t] = true;
        }
        sample = new uint16[](size);
        uint256 n = 0;
        for (uint256 j = 0; j < limit; ++j) {
            if (chosen[j]) sample[n++] = uint16(j);
        }
    }

    function _emitDrawn(uint256 claimId, Case storage c, Place[] storage places, uint256[] memory into, uint256 found) private {
        uint16[] storage drawn = _segments[claimId];
        uint256 size = 0;
        for (uint256 i = 0; i < found; ++i) {
            size += _shareOf(c, places.length, into[i]);
        }
        address[] memory verifiers = new address[](size);
        uint32[] memory segments = new uint32[](size);
        uint256 n = 0;
        for (uint256 i = 0; i < found; ++i) {
            for (uint256 k = c.quorum ? 0 : into[i]; k < drawn.length; k += c.quorum ? 1 : places.length) {
                verifiers[n] = places[into[i]].verifier;
                segments[n++] = drawn[k];
            }
        }
        emit Drawn(claimId, c.round, verifiers, segments);
    }

    /// Nobody qualifies: goes on with those who have sealed if they are enough; else tries with a later block until the patience is over.
    function _drewNobody(uint256 claimId, Case storage c) private {
        emit NobodyDrawn(claimId, c.round);
        if (_sealedEnough(claimId, c)) _enter(claimId, c, Stage.Disclosing, c.discloseSeconds);
        else if (block.timestamp > c.deadline) _fail(claimId, c, false);
        else _anchor(claimId, c);
    }

    /// Some places are empty: draws for them once more, or goes on without when the rounds are used up.
    function _nextRound(uint256 claimId, Case storage c) private {
        c.round += 1;
        if (c.round < MAX_ROUNDS) {
            _enter(claimId, c, Stage.Drawing, c.sealSeconds);
            _anchor(claimId, c);
        } else if (_sealedEnough(claimId, c)) {
            _enter(claimId, c, Stage.Disclosing, c.discloseSeconds);
        } else {
            _fail(claimId, c, false);
        }
    }

    /// All over again with other verifiers and the same segments; `mark` is GONE where those of before must not come back. What was disclosed before
    /// could be copied now: a claim gets here only when its verifiers failed it, and whoever attests is liable all the same.
    function _restart(uint256 claimId, Case storage c, uint8 mark) private {
        Place[] storage places = _places[claimId];
        for (uint256 i = 0; i < places.length; ++i) {
            if (places[i].verdict != Verdict.Vacant) _placeOf[claimId][places[i].verifier] = mark;
        }
        delete _places[claimId];
        (c.sealedCount, c.revealedCount, c.windowFrom, c.masked) = (0, 0, 0, false);
        emit Restarted(claimId, c.round);
        _enter(claimId, c, Stage.Drawing, c.sealSeconds);
        _anchor(claimId, c);
    }

    // ---------------------------------------------------------------- within: disclosing

    function _mustBeInClaim(Case storage c, uint256 segment, bytes32 stateRoot, bytes32 probeDigest, bytes32[] calldata proof) private view {
        bytes32 leaf = Moment.hash(stateRoot, sha256(abi.encodePacked(probeDigest)));
        if (!Merkle.proves(c.root, Merkle.depthOf(c.checkpoints), segment, leaf, proof)) revert NotInClaim(segment, leaf, c.root);
    }

    /// What each place's seal must hold: keccak256 of its segments' probe digests, ascending.
    function _keepDigests(Case storage c, Place[] storage places, bytes32[] calldata probeDigests) private {
        for (uint256 i = 0; i < places.length; ++i) {
            if (c.quorum) {
                places[i].digest = keccak256(abi.encodePacked(probeDigests));
                continue;
            }
            bytes32[] memory part = new bytes32[](_share(probeDigests.length, places.length, i));
            for (uint256 k = 0; k < part.length; ++k) {
                part[k] = probeDigests[i + k * places.length];
            }
            places[i].digest = keccak256(abi.encodePacked(part));
        }
    }

    // ---------------------------------------------------------------- within: stages

    function _in(uint256 claimId, Stage wanted) private view returns (Case storage c) {
        c = _cases[claimId];
        if (c.stage != wanted) revert WrongStage(claimId, c.stage, wanted);
    }

    function _mustBeInTime(Case storage c) private view {
        if (block.timestamp > c.deadline) revert TooLate(c.deadline, block.timestamp);
    }

    function _mustBeLate(Case storage c) private view {
        if (block.timestamp <= c.deadline) revert TooEarly(c.deadline, block.timestamp);
    }

    function _mustHave(uint256 length, uint256 wanted) private pure {
        if (length != wanted) revert WrongLength(length, wanted);
    }

    function _enter(uint256 claimId, Case storage c, Stage stage, uint256 seconds_) private {
        c.stage = stage;
        c.deadline = uint48(block.timestamp + seconds_);
        emit Entered(claimId, stage, c.deadline);
    }

    function _openWindow(uint256 claimId, Case storage c, uint256 from) private {
        c.stage = Stage.Window;
        c.windowFrom = uint48(from);
        c.deadline = uint48(from + c.challengeSeconds);
        emit Entered(claimId, Stage.Window, c.deadline);
    }

    function _fail(uint256 claimId, Case storage c, bool fault) private {
        _enter(claimId, c, Stage.Closed, 0);
        emit Failed(claimId, fault);
        market.void(claimId, fault);
    }

    /// Whether the challenge window runs, and since when: from the last reveal, or from the deadline to reveal.
    function _window(Case storage c) private view returns (bool, uint256) {
        if (c.stage == Stage.Window) return (true, c.windowFrom);
        if (c.stage == Stage.Revealing && block.timestamp > c.deadline) return (true, c.deadline);
        return (false, 0);
    }

    // ---------------------------------------------------------------- within: places and verdicts

    /// Segments of the place `index` when `total` are dealt round robin to `places`.
    function _share(uint256 total, uint256 places, uint256 index) private pure returns (uint256) {
        return total / places + (index < total % places ? 1 : 0);
    }

    /// Segments of a place: its share of a sample, all of them in a quorum.
    function _shareOf(Case storage c, uint256 places, uint256 index) private view returns (uint256) {
        return c.quorum ? c.wanted : _share(c.wanted, places, index);
    }

    /// Re-runs of segments that the whole audit asks for.
    function _whole(Case storage c) private view returns (uint256) {
        return c.quorum ? uint256(c.wanted) * c.verifiers : c.wanted;
    }

    /// Who said *same* and showed it; `caught`: only those who have caught a decoy.
    function _filtered(uint256 claimId, bool caught) private view returns (address[] memory list) {
        Place[] storage places = _places[claimId];
        list = new address[](places.length);
        uint256 n = 0;
        for (uint256 i = 0; i < places.length; ++i) {
            if (places[i].verdict == Verdict.Same && (places[i].caught || !caught)) list[n++] = places[i].verifier;
        }
        // SAFETY: shortens the array in place; n is at most its length.
        assembly ("memory-safe") {
            mstore(list, n)
        }
    }

    function _occupied(Place[] storage places) private view returns (uint256 n) {
        for (uint256 i = 0; i < places.length; ++i) {
            if (places[i].verdict != Verdict.Vacant) ++n;
        }
    }

    function _placeAt(uint256 claimId, address verifier) private view returns (Place storage) {
        uint8 place = _placeOf[claimId][verifier];
        if (place == 0 || place == GONE) revert NotDrawn(claimId, verifier);
        return _places[claimId][place - 1];
    }

    function _placeIs(uint256 claimId, address verifier, Verdict wanted) private view returns (Place storage place) {
        place = _placeAt(claimId, verifier);
        if (place.verdict != wanted) revert WrongVerdict(claimId, verifier, place.verdict);
    }

    /// Whether those who have sealed hold at least half of the segments; in a quorum all places have sealed.
    function _sealedEnough(uint256 claimId, Case storage c) private view returns (bool) {
        if (c.quorum) return c.sealedCount == c.verifiers;
        Place[] storage places = _places[claimId];
        uint256 segments = 0;
        for (uint256 i = 0; i < places.length; ++i) {
            if (places[i].verdict == Verdict.Sealed) segments += _share(c.wanted, places.length, i);
        }
        return segments != 0 && 2 * segments >= c.wanted;
    }

    /// At least half of the segments are *same*, in a quorum all of them; those of refuted verifiers not counted: they were judged already, and the
    /// claim stood.
    function _carries(Case storage c, Tally memory t) private view returns (bool) {
        uint256 left = _whole(c) - t.refuted;
        return c.quorum ? t.same == left : 2 * t.same >= left;
    }

    function _tally(uint256 claimId, Case storage c) private view returns (Tally memory t) {
        Place[] storage places = _places[claimId];
        for (uint256 i = 0; i < places.length; ++i) {
            Verdict verdict = places[i].verdict;
            uint256 segments = _shareOf(c, places.length, i);
            if (verdict == Verdict.Same) t.same += segments;
            else if (verdict == Verdict.Unavailable) t.unavailable += segments;
            else if (verdict != Verdict.Different) continue;
            else if (hasDisputed(claimId, places[i].verifier)) t.refuted += segments;
            else if (block.timestamp <= _wordUntil(c, places[i])) t.blocked = true;
        }
    }

    /// Until when a verifier that said *different* may open its dispute: the window, but never less than its thinking time in one.
    function _wordUntil(Case storage c, Place storage place) private view returns (uint256) {
        return uint256(place.revealedAt) + (c.challengeSeconds > c.clockSeconds ? c.challengeSeconds : c.clockSeconds);
    }

    /// Once the window runs: opens it if nobody has, and slashes those who sealed and did not reveal or said *different* and did not dispute.
    function _chase(uint256 claimId, Case storage c) private returns (bool changed) {
        (bool inWindow, uint256 from) = _window(c);
        if (!inWindow) revert WrongStage(claimId, c.stage, Stage.Window);
        if (c.stage == Stage.Revealing) {
            _openWindow(claimId, c, from);
            changed = true;
        }
        Place[] storage places = _places[claimId];
        for (uint256 i = 0; i < places.length; ++i) {
            Place storage place = places[i];
            if (place.verdict == Verdict.Sealed) {
                place.verdict = Verdict.Missing;
                _slash(claimId, place, MISSING_SHARE, address(stake));
            } else if (place.verdict == Verdict.Different && !hasDisputed(claimId, place.verifier) && block.timestamp > _wordUntil(c, place)) {
                place.verdict = Verdict.Idle;
                // A solver must not gain from a decoy, nor from a lie that it shows as the truth behind one.
                _slash(claimId, place, WHOLE_SHARE, c.masked ? address(stake) : c.solver);
            } else {
                continue;
            }
            changed = true;
        }
    }

    /// Takes a share of the place's seat, jails it, and gives it to `to`; of a whole seat half is burnt, first, so that whoever gets the rest never gets
    /// more than half of what an eaten seat still holds.
    function _slash(uint256 claimId, Place storage place, uint256 share, address to) private {
        uint256 wei_ = stake.SEAT_WEI() / share;
        uint256 burnWei = share == WHOLE_SHARE ? wei_ / 2 : 0;
        uint256 takenWei = burnWei == 0 ? 0 : stake.slashSeat(place.seat, place.verifier, burnWei, address(0));
        takenWei += stake.slashSeat(place.seat, place.verifier, wei_ - burnWei, to);
        emit VerifierSlashed(claimId, place.verifier, place.verdict, takenWei);
    }
}
