// SPDX-License-Identifier: Apache-2.0
// The life of a task: offered, run slice by slice, claimed, settled or halted (docs/protocol.md §3). Money moves in Stake; who checks is in Audit.
//
// INVARIANT: a task's escrow is positive only while it is Offered or Running, and a solver's bond is locked exactly while it is Running.
pragma solidity ^0.8.28;

import {
    Claim, ClaimStatus, ClaimView, IDecoys, IDocket, ILedger, ITasks, Offer, Permit, Record, Spec, Task, TaskStatus, Terms
} from "./Types.sol";
import {Merkle} from "../dispute/Merkle.sol";
import {Intake} from "./Intake.sol";
import {Moment} from "./Moment.sol";
import {OfferHash} from "./OfferHash.sol";
import {SpecLimits} from "./SpecLimits.sol";

contract Market is ITasks {
    /// Of each slice's price a fiftieth goes to the pool: what forced errors pay those who catch them with (Decoys.sol).
    uint256 public constant POOL_FEE_SHARE = 50;
    /// A convicted bond: half to the challenger, which pays its gas and its work; a quarter to the submitter for the lost time; the rest is burnt,
    /// so that convicting oneself always costs.
    uint256 public constant CHALLENGER_SHARE = 2;
    uint256 public constant SUBMITTER_SHARE = 4;
    /// A challenger that wins also gets an eighth of the bond's worth out of the pool: below the burnt quarter, so that it cannot be farmed.
    uint256 public constant POOL_SHARE = 8;
    /// Not disclosing costs a quarter of the bond (half of it to the submitter, half to the pool): clearly more than an honest slip, less than a
    /// proven lie, since nothing is proven.
    uint256 public constant WITHHELD_SHARE = 4;
    /// Missing a slice's deadline costs a tenth of the bond, to the submitter: computers do fail.
    uint256 public constant MISSED_SHARE = 10;
    /// Those who attested a convicted segment lose together at most what an eighth of the bond is worth, burnt, out of their seats. A conviction
    /// proves that the solver's answers were wrong, not that its claim was: it can lose on purpose, to a challenger of its own, and whoever attested the
    /// truth must then be neither worth robbing (nobody gets what they lose) nor cheap to ruin (whoever loses on purpose loses an eighth at least).
    uint256 public constant ATTESTERS_BURN_SHARE = 8;

    ILedger public immutable stake;
    IDocket public immutable audit;
    address public immutable court;
    IDecoys public immutable decoys;
    /// Looks at specs, offers and terms; stateless.
    Intake public immutable intake;

    uint256 public taskCount;
    uint256 public claimCount;
    mapping(uint256 taskId => Task) private _tasks;
    mapping(uint256 taskId => Spec) private _specs;
    mapping(uint256 taskId => Terms) private _terms;
    mapping(uint256 claimId => Claim) private _claims;
    mapping(address solver => Record) private _records;
    /// Tasks that an offer is bound to at the moment, by the offer's digest.
    mapping(bytes32 offerHash => uint256) public capacityUsed;

    event Submitted(uint256 indexed taskId, address indexed submitter, bytes32 indexed specId);
    /// A solver is asked: at submission, and at each handing on.
    event Offered(
        uint256 indexed taskId, address indexed solver, bytes32 offerHash, Terms terms, uint256 escrowWei, uint256 fromSlice, uint256 confirmBy
    );
    event Confirmed(uint256 indexed taskId, address indexed solver, uint256 claimBy);
    event Expired(uint256 indexed taskId, address indexed solver);
    event Claimed(
        uint256 indexed taskId,
        uint256 indexed claimId,
        address indexed solver,
        uint256 slice,
        bytes32 root,
        bytes32 startState,
        bytes32 endState,
        bytes32 probeCommit
    );
    event Settled(
        uint256 indexed taskId, uint256 indexed claimId, address indexed solver, uint256 slice, uint256 solverWei, uint256 verifiersWei, uint256 claimBy
    );
    event Finished(uint256 indexed taskId, bytes32 state, uint256 refundWei);
    event Contested(uint256 indexed claimId, address indexed challenger, uint256 games);
    event Uncontested(uint256 indexed claimId, address indexed challenger, uint256 games);
    event Convicted(uint256 indexed taskId, uint256 indexed claimId, address indexed challenger, address solver, uint256 segment, uint256 challengerWei);
    event Voided(uint256 indexed taskId, uint256 indexed claimId, bool fault, uint256 penaltyWei);
    event DeadlineMissed(uint256 indexed taskId, address indexed solver, uint256 penaltyWei);
    /// The solver is gone, the escrow back with the submitter; goes on from `state` when handed on.
    event Halted(uint256 indexed taskId, uint256 accepted, bytes32 state, uint256 refundWei);
    event Cancelled(uint256 indexed taskId, uint256 refundWei);

    error NotAllowed(address caller);
    error NotSubmitter(uint256 taskId, address submitter, address caller);
    error NotSolver(uint256 taskId, address solver, address caller);
    error WrongStatus(uint256 taskId, TaskStatus status);
    error TooEarly(uint256 deadline, uint256 time);
    error TooLate(uint256 deadline, uint256 time);
    error OfferFull(bytes32 offerHash, uint256 capacity);
    error ClaimOpen(uint256 taskId, uint256 claimId);
    error NoOpenClaim(uint256 taskId);
    error ClaimNotOpen(uint256 claimId, ClaimStatus status);
    error WrongSlice(uint256 slice, uint256 expected);
    error EndNotInRoot(bytes32 root, bytes32 leaf);
    error GamesOpen(uint256 claimId, uint256 games);
    error NoGameOpen(uint256 claimId);
    error NoSuchSegment(uint256 segment, uint256 segments);

    modifier onlyCourt() {
        _mustBeCaller(court);
        _;
    }

    /// The other contracts may not exist yet: their addresses follow from the deployer's nonce.
    constructor(ILedger stake_, IDocket audit_, address court_, IDecoys decoys_) {
        (stake, audit, court, decoys) = (stake_, audit_, court_, decoys_);
        intake = new Intake();
    }

    // ---------------------------------------------------------------- the submitter

    /// Starts a task: checks the spec and the offer, and escrows the most it can cost. What the caller's free balance lacks is pulled.
    function submit(Spec memory spec, Terms calldata terms, Offer calldata offer, bytes calldata signature, Permit calldata permit)
        external
        returns (uint256 taskId)
    {
        taskId = ++taskCount;
        _specs[taskId] = spec;
        Task storage task = _tasks[taskId];
        task.submitter = msg.sender;
        task.state = spec.initialState;
        emit Submitted(taskId, msg.sender, keccak256(abi.encode(spec)));
        _offer(taskId, task, terms, offer, signature, permit);
    }

    /// Gives a halted task to the next solver, from the last accepted state, under new terms.
    function handOn(uint256 taskId, Terms calldata terms, Offer calldata offer, bytes calldata signature, Permit calldata permit) external {
        Task storage task = _tasks[taskId];
        _mustBeSubmitter(taskId, task);
        _offer(taskId, task, terms, offer, signature, permit);
    }

    /// Ends a task that nobody runs. What was escrowed is the submitter's again.
    function cancel(uint256 taskId) external {
        Task storage task = _tasks[taskId];
        _mustBeSubmitter(taskId, task);
        uint256 refundWei = 0;
        if (task.status == TaskStatus.Offered) {
            // Until it is late the solver may rely on the offer: it is fetching the data.
            _mustBeLate(task);
            refundWei = _dismiss(taskId, task);
        } else if (task.status != TaskStatus.Halted) {
            revert WrongStatus(taskId, task.status);
        }
        task.status = TaskStatus.Cancelled;
        emit Cancelled(taskId, refundWei);
    }

    // ---------------------------------------------------------------- the solver

    /// The solver has every blob and takes the task: its bond is locked, its time runs.
    function confirm(uint256 taskId) external {
        Task storage task = _tasks[taskId];
        _mustBe(taskId, task, TaskStatus.Offered);
        if (msg.sender != task.solver) revert NotSolver(taskId, task.solver, msg.sender);
        _mustBeInTime(task);
        task.status = TaskStatus.Running;
        task.deadline = uint48(block.timestamp + _specs[taskId].sliceSeconds);
        stake.lock(msg.sender, _terms[taskId].bondWei);
        emit Confirmed(taskId, msg.sender, task.deadline);
    }

    /// Anybody, once the time to confirm is over; the solver, at any time before it confirms, to decline.
    function expire(uint256 taskId) external {
        Task storage task = _tasks[taskId];
        _mustBe(taskId, task, TaskStatus.Offered);
        if (msg.sender != task.solver) _mustBeLate(task);
        emit Expired(taskId, task.solver);
        _halt(taskId, task);
    }

    /// Claims a slice: `root` over its segments' end moments, the last of which holds `endState` and is proved by `proof`.
    function claim(
        uint256 taskId,
        uint32 slice,
        bytes32 root,
        bytes32 endState,
        bytes32 probeCommit,
        bytes32 anchorHash,
        bytes32[] calldata proof
    )
        external
        returns (uint256 claimId)
    {
        Task storage task = _mayClaim(taskId, slice, msg.sender);
        {
            uint256 segments = _specs[taskId].checkpointsPerSlice;
            bytes32 leaf = Moment.hash(endState, probeCommit);
            if (!Merkle.proves(root, Merkle.depthOf(segments), segments - 1, leaf, proof)) revert EndNotInRoot(root, leaf);
        }
        claimId = ++claimCount;
        task.openClaim = uint64(claimId);
        _claims[claimId] = Claim({
            root: root,
            startState: task.state,
            endState: endState,
            solver: msg.sender,
            slice: slice,
            status: ClaimStatus.Open,
            games: 0,
            taskId: uint64(taskId),
            blockNumber: uint64(block.number),
            time: uint64(block.timestamp)
        });
        emit Claimed(taskId, claimId, msg.sender, slice, root, task.state, endState, probeCommit);
        if (_specs[taskId].decoyOneIn != 0) decoys.bind(claimId, taskId, slice, msg.sender, anchorHash);
        audit.begin(claimId, _records[msg.sender].streak);
    }

    // ---------------------------------------------------------------- anybody

    /// Pays a slice whose audit is passed and that nobody disputes, and goes on to the next, or ends the task.
    function settle(uint256 taskId) external {
        Task storage task = _tasks[taskId];
        uint256 claimId = task.openClaim;
        if (claimId == 0) revert NoOpenClaim(taskId);
        Claim storage claimed = _claims[claimId];
        _mustBeUndisputed(claimId, claimed);
        // INVARIANT: the claim is closed before anybody is paid, so that no slice is paid twice.
        claimed.status = ClaimStatus.Settled;
        task.openClaim = 0;
        task.accepted += 1;
        task.state = claimed.endState;
        address solver = task.solver;
        _records[solver].accepted += 1;
        _records[solver].streak += 1;
        bool last = task.accepted == _specs[taskId].slices;
        if (!last) task.deadline = uint48(block.timestamp + _specs[taskId].sliceSeconds);

        uint256 verifiersWei = _payVerifiers(taskId, claimId);
        uint256 priceWei = _terms[taskId].slicePriceWei;
        // A sealed slice's fee went to the pool when it was sealed.
        if (_specs[taskId].decoyOneIn == 0) _payPool(taskId, priceWei);
        priceWei -= priceWei / POOL_FEE_SHARE;
        _release(taskId, solver, priceWei);
        emit Settled(taskId, claimId, solver, claimed.slice, priceWei, verifiersWei, last ? 0 : task.deadline);
        if (last) {
            task.status = TaskStatus.Done;
            _unlock(solver, _terms[taskId].bondWei);
            emit Finished(taskId, task.state, _dismiss(taskId, task));
        }
    }

    /// The solver let the time for its slice pass without a claim: it loses the task and a part of its bond.
    function missDeadline(uint256 taskId) external {
        Task storage task = _tasks[taskId];
        _mustBe(taskId, task, TaskStatus.Running);
        if (task.openClaim != 0) revert ClaimOpen(taskId, task.openClaim);
        _mustBeLate(task);
        uint256 bondWei = _terms[taskId].bondWei;
        uint256 penaltyWei = bondWei / MISSED_SHARE;
        _records[task.solver].missed += 1;
        _records[task.solver].streak = 0;
        _slash(task.solver, task.submitter, penaltyWei);
        _unlock(task.solver, bondWei - penaltyWei);
        emit DeadlineMissed(taskId, task.solver, penaltyWei);
        _halt(taskId, task);
    }

    // ---------------------------------------------------------------- the court and the audit

    /// A dispute about the claim was opened.
    function contest(uint256 claimId, address challenger) external onlyCourt {
        Claim storage claimed = _claims[claimId];
        _mustBeOpen(claimId, claimed);
        claimed.games += 1;
        emit Contested(claimId, challenger, claimed.games);
    }

    /// A dispute ended without conviction.
    function uncontest(uint256 claimId, address challenger) external onlyCourt {
        Claim storage claimed = _claims[claimId];
        _endGame(claimId, claimed);
        emit Uncontested(claimId, challenger, claimed.games);
    }

    /// A dispute ended with the solver's conviction about `segment`. A second conviction of one claim finds nothing more to take.
    function convict(uint256 claimId, address challenger, uint32 segment) external onlyCourt {
        Claim storage claimed = _claims[claimId];
        _endGame(claimId, claimed);
        if (claimed.status != ClaimStatus.Open) {
            emit Uncontested(claimId, challenger, claimed.games);
            return;
        }
        uint256 taskId = claimed.taskId;
        Task storage task = _tasks[taskId];
        if (segment >= _specs[taskId].checkpointsPerSlice) revert NoSuchSegment(segment, _specs[taskId].checkpointsPerSlice);
        claimed.status = ClaimStatus.Void;
        task.openClaim = 0;
        Record storage record = _records[claimed.solver];
        record.convictions += 1;
        record.streak = 0;

        uint256 bondWei = _terms[taskId].bondWei;
        uint256 challengerWei = _takeBond(task.solver, task.submitter, challenger, bondWei);
        _burnSeats(claimId, segment, bondWei / ATTESTERS_BURN_SHARE);
        audit.close(claimId);
        emit Convicted(taskId, claimId, challenger, task.solver, segment, challengerWei);
        _halt(taskId, task);
    }

    /// The audit: the claim cannot be accepted, without guilt proved; `fault` costs the solver a part of its bond.
    function void(uint256 claimId, bool fault) external {
        _mustBeCaller(address(audit));
        Claim storage claimed = _claims[claimId];
        _mustBeOpen(claimId, claimed);
        // SAFETY: a solver on trial cannot flee into a cheaper verdict.
        _mustBeUndisputed(claimId, claimed);
        uint256 taskId = claimed.taskId;
        Task storage task = _tasks[taskId];
        claimed.status = ClaimStatus.Void;
        task.openClaim = 0;
        uint256 bondWei = _terms[taskId].bondWei;
        uint256 penaltyWei = 0;
        // Nothing is proved, so nothing is taken; but whoever's data three rounds of verifiers could not get is audited whole again for a while.
        _records[task.solver].streak = 0;
        if (fault) {
            penaltyWei = bondWei / WITHHELD_SHARE;
            _records[task.solver].withheld += 1;
            _slash(task.solver, task.submitter, penaltyWei / 2);
            _slash(task.solver, address(stake), penaltyWei - penaltyWei / 2);
        }
        _unlock(task.solver, bondWei - penaltyWei);
        emit Voided(taskId, claimId, fault, penaltyWei);
        _halt(taskId, task);
    }

    // ---------------------------------------------------------------- the decoys

    /// The solver seals the slice that it claims next: the slice's fee goes to the pool now, settled or not, so that no seal is a free ticket for
    /// a jackpot.
    function payFee(uint256 taskId, uint32 slice, address solver) external returns (uint256 priceWei) {
        _mustBeCaller(address(decoys));
        _mayClaim(taskId, slice, solver);
        priceWei = _terms[taskId].slicePriceWei;
        _payPool(taskId, priceWei);
        // Jackpots are measured by this: exactly so many times what was paid.
        priceWei -= priceWei % POOL_FEE_SHARE;
    }

    /// The claim showed a decoy. What it is about from now on is `root`; games about the decoy are moot in the court and block nothing here.
    function unmask(uint256 claimId, bytes32 root) external {
        _mustBeCaller(address(decoys));
        Claim storage claimed = _claims[claimId];
        _mustBeOpen(claimId, claimed);
        claimed.root = root;
        claimed.games = 0;
    }

    // ---------------------------------------------------------------- views

    function taskOf(uint256 taskId) external view returns (Task memory) {
        return _tasks[taskId];
    }

    function specOf(uint256 taskId) external view returns (Spec memory) {
        return _specs[taskId];
    }

    function termsOf(uint256 taskId) external view returns (Terms memory) {
        return _terms[taskId];
    }

    function submitterOf(uint256 taskId) external view returns (address) {
        return _tasks[taskId].submitter;
    }

    function claimOf(uint256 claimId) external view returns (Claim memory) {
        return _claims[claimId];
    }

    function claimView(uint256 claimId) external view returns (ClaimView memory) {
        Claim storage c = _claims[claimId];
        return ClaimView({
            taskId: c.taskId,
            solver: c.solver,
            root: c.root,
            startState: c.startState,
            endState: c.endState,
            open: c.status == ClaimStatus.Open
        });
    }

    /// What a solver has behind it.
    function recordOf(address solver) external view returns (Record memory) {
        return _records[solver];
    }

    /// The digest that a provider signs.
    function offerHash(Offer calldata offer) external view returns (bytes32) {
        return OfferHash.digest(offer, address(this));
    }

    /// The most that `slices` slices cost under these terms, when so many segments of each are audited at most: all of them, in a quorum by each
    /// verifier.
    function escrowFor(uint256 slices, uint256 auditsPerSlice, Terms memory terms) public pure returns (uint256) {
        return slices * (terms.slicePriceWei + auditsPerSlice * terms.auditFeeWei);
    }

    // ---------------------------------------------------------------- within

    /// Binds an offer to a task that nobody runs, and escrows what its remaining slices can cost.
    function _offer(
        uint256 taskId,
        Task storage task,
        Terms calldata terms,
        Offer calldata offer,
        bytes calldata signature,
        Permit calldata permit
    ) private {
        bytes32 hash = intake.check(taskId, terms, offer, signature);
        Spec storage spec = _specs[taskId];
        uint256 fromSlice = task.accepted;
        uint256 audits = uint256(spec.checkpointsPerSlice) * (spec.assurance == SpecLimits.QUORUM ? spec.verifiers : 1);
        uint256 needWei = escrowFor(spec.slices - fromSlice, audits, terms);
        _pullMissing(needWei, permit);
        // SAFETY: the token may have called back; from here on nothing outside is called, so what is checked stays true.
        if (task.status != TaskStatus.None && task.status != TaskStatus.Halted) revert WrongStatus(taskId, task.status);
        if (capacityUsed[hash] >= offer.capacity) revert OfferFull(hash, offer.capacity);
        capacityUsed[hash] += 1;
        uint256 confirmBy = block.timestamp + spec.confirmSeconds;
        task.status = TaskStatus.Offered;
        task.deadline = uint48(confirmBy);
        task.solver = offer.solver;
        task.offerHash = hash;
        _terms[taskId] = terms;
        stake.escrow(taskId, msg.sender, needWei);
        emit Offered(taskId, offer.solver, hash, terms, needWei, fromSlice, confirmBy);
    }

    /// Whether `solver` may claim this slice now, or seal it.
    function _mayClaim(uint256 taskId, uint32 slice, address solver) private view returns (Task storage task) {
        task = _tasks[taskId];
        _mustBe(taskId, task, TaskStatus.Running);
        if (solver != task.solver) revert NotSolver(taskId, task.solver, solver);
        if (task.openClaim != 0) revert ClaimOpen(taskId, task.openClaim);
        if (slice != task.accepted) revert WrongSlice(slice, task.accepted);
        _mustBeInTime(task);
    }

    function _mustBeCaller(address caller) private view {
        if (msg.sender != caller) revert NotAllowed(msg.sender);
    }

    function _mustBe(uint256 taskId, Task storage task, TaskStatus status) private view {
        if (task.status != status) revert WrongStatus(taskId, task.status);
    }

    function _mustBeSubmitter(uint256 taskId, Task storage task) private view {
        if (msg.sender != task.submitter) revert NotSubmitter(taskId, task.submitter, msg.sender);
    }

    function _mustBeOpen(uint256 claimId, Claim storage claimed) private view {
        if (claimed.status != ClaimStatus.Open) revert ClaimNotOpen(claimId, claimed.status);
    }

    function _mustBeUndisputed(uint256 claimId, Claim storage claimed) private view {
        if (claimed.games != 0) revert GamesOpen(claimId, claimed.games);
    }

    function _mustBeInTime(Task storage task) private view {
        if (block.timestamp > task.deadline) revert TooLate(task.deadline, block.timestamp);
    }

    function _mustBeLate(Task storage task) private view {
        if (block.timestamp <= task.deadline) revert TooEarly(task.deadline, block.timestamp);
    }

    // Calls of the ledger, one function each: the compiler would write each call out every time.

    function _slash(address who, address to, uint256 amountWei) private {
        stake.slash(who, to, amountWei);
    }

    function _unlock(address who, uint256 amountWei) private {
        stake.unlock(who, amountWei);
    }

    function _release(uint256 taskId, address to, uint256 amountWei) private {
        stake.release(taskId, to, amountWei);
    }

    function _payPool(uint256 taskId, uint256 priceWei) private {
        _release(taskId, address(stake), priceWei / POOL_FEE_SHARE);
    }

    function _pullMissing(uint256 needWei, Permit calldata permit) private {
        uint256 freeWei = stake.freeOf(msg.sender);
        if (freeWei < needWei) stake.pull(msg.sender, needWei - freeWei, permit);
    }

    function _payVerifiers(uint256 taskId, uint256 claimId) private returns (uint256 paidWei) {
        (address[] memory verifiers, uint32[] memory segments) = audit.finish(claimId);
        uint256 feeWei = _terms[taskId].auditFeeWei;
        for (uint256 i = 0; i < verifiers.length; ++i) {
            _release(taskId, verifiers[i], feeWei * segments[i]);
            paidWei += feeWei * segments[i];
        }
    }

    function _endGame(uint256 claimId, Claim storage claimed) private {
        if (claimed.games == 0) revert NoGameOpen(claimId);
        claimed.games -= 1;
    }

    function _takeBond(address solver, address submitter, address challenger, uint256 bondWei) private returns (uint256 challengerWei) {
        challengerWei = bondWei / CHALLENGER_SHARE;
        uint256 submitterWei = bondWei / SUBMITTER_SHARE;
        _slash(solver, challenger, challengerWei);
        _slash(solver, submitter, submitterWei);
        _slash(solver, address(0), bondWei - challengerWei - submitterWei);
        challengerWei += stake.reward(challenger, bondWei / POOL_SHARE);
    }

    /// Burns `amountWei` in equal parts out of the seats of those who attested the segment.
    function _burnSeats(uint256 claimId, uint32 segment, uint256 amountWei) private {
        address[] memory attesters = audit.attesters(claimId, segment);
        uint256[] memory seats = audit.seatsOf(claimId, attesters);
        for (uint256 i = 0; i < seats.length; ++i) {
            stake.slashSeat(seats[i], attesters[i], amountWei / seats.length, address(0));
        }
    }

    /// Frees the offer's capacity and gives the rest of the escrow back.
    function _dismiss(uint256 taskId, Task storage task) private returns (uint256 refundWei) {
        capacityUsed[task.offerHash] -= 1;
        refundWei = stake.escrowOf(taskId);
        _release(taskId, task.submitter, refundWei);
    }

    function _halt(uint256 taskId, Task storage task) private {
        task.status = TaskStatus.Halted;
        emit Halted(taskId, task.accepted, task.state, _dismiss(taskId, task));
    }
}
