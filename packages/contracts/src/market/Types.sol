// SPDX-License-Identifier: Apache-2.0
// The words of the market: what a task is, what it pays, what a provider offers, and what the contracts ask of one another.
pragma solidity ^0.8.28;

/// What is trained, how it is cut into claims, how it is checked. Its id is keccak256(abi.encode(spec)).
struct Spec {
    bytes32 graphId;
    bytes32 initialState; // state root before the first step
    bytes32 dataRoot; // items root over the data slots
    uint32 exprs; // leaves of the trace tree
    uint32 stateSlots;
    uint32 dataSlots;
    uint32 probe; // the probe's expr
    uint32 stepsPerCheckpoint;
    uint32 checkpointsPerSlice; // segments a slice
    uint32 slices;
    uint64 operationsPerStep;
    uint8 assurance; // 0 none, 1 spot, 2 full, 3 quorum
    uint8 verifiers; // drawn per claim; of a quorum of k, the k - 1 beside the solver
    uint8 segments; // per verifier, once the solver is past probation
    uint32 confirmSeconds; // the solver must confirm within
    uint32 sliceSeconds; // and claim each slice within
    uint32 sealSeconds;
    uint32 discloseSeconds;
    uint32 revealSeconds;
    uint32 challengeSeconds; // open to challenges after the last reveal
    uint32 clockSeconds; // each side's thinking time in a dispute
    uint32 decoyOneIn; // forced errors: one claim in so many shows a decoy (Decoys.sol); 0: none
}

/// What one solver is paid and puts at risk. Wei of the token.
struct Terms {
    uint256 slicePriceWei;
    uint256 auditFeeWei; // per audited segment
    uint256 bondWei;
}

/// What a provider signs (EIP-712).
struct Offer {
    address solver;
    uint256 weiPerTeraop; // price of 10^12 scalar operations
    uint64 memoryBytes;
    uint64 operationsPerSecond; // measured by its own self-test
    uint32 capacity; // tasks at a time
    uint64 validUntil; // unix seconds
    uint8 minAssurance;
    bytes32 salt;
    string contact; // where its node answers
}

struct Permit {
    uint256 amountWei;
    uint256 deadline;
    uint8 v;
    bytes32 r;
    bytes32 s;
}

/// Where a task stands. Money is escrowed for it while Offered and Running, and only then.
enum TaskStatus {
    None,
    Offered, // escrowed; its solver has not confirmed
    Running,
    Halted, // its solver is gone; the submitter may hand it on
    Done,
    Cancelled
}

enum ClaimStatus {
    None,
    Open,
    Settled,
    Void
}

struct Task {
    address submitter;
    TaskStatus status;
    uint32 accepted; // slices accepted, of all solvers together
    uint48 deadline; // to confirm (Offered) or to claim the next slice (Running without an open claim); unix seconds
    address solver; // the present one, or the last
    uint64 openClaim; // 0: none
    bytes32 state; // state root after the last accepted slice
    bytes32 offerHash; // EIP-712 digest of the present solver's offer
}

struct Claim {
    bytes32 root;
    bytes32 startState;
    bytes32 endState;
    address solver;
    uint32 slice;
    ClaimStatus status;
    uint32 games; // disputes open about it
    uint64 taskId;
    uint64 blockNumber;
    uint64 time;
}

/// What a solver has behind it.
struct Record {
    uint32 accepted; // slices
    uint32 streak; // slices accepted since its last fault: what probation counts
    uint32 convictions;
    uint32 missed; // deadlines
    uint32 withheld; // claims void because it did not disclose
}

/// Where a claim's audit stands. Each stage ends early when all have acted.
enum Stage {
    None,
    Drawing, // waits for the anchor block, then for anybody's `draw`
    Sealing,
    Disclosing,
    Revealing,
    Window, // open to challenges; then settled
    Closed
}

/// What a drawn verifier has done.
enum Verdict {
    Vacant, // nobody holds this place
    Drawn,
    Sealed,
    Same,
    Different,
    Unavailable,
    Stamped, // *same* with a digest that is not the disclosed one: slashed
    Missing, // sealed and never revealed: slashed
    Idle // *different* without a dispute: slashed
}

struct Assignment {
    uint32 segment;
    address verifier;
    Verdict verdict;
}

/// A claim over one slice, as the court needs it.
struct ClaimView {
    uint256 taskId;
    address solver;
    bytes32 root;
    bytes32 startState;
    bytes32 endState;
    bool open; // neither settled nor void
}

interface IMarket {
    function claimView(uint256 claimId) external view returns (ClaimView memory);
    function specOf(uint256 taskId) external view returns (Spec memory);
    function termsOf(uint256 taskId) external view returns (Terms memory);
    /// The court: a dispute about the claim was opened, or ended without conviction.
    function contest(uint256 claimId, address challenger) external;
    function uncontest(uint256 claimId, address challenger) external;
    /// The court: the solver lied in `segment`.
    function convict(uint256 claimId, address challenger, uint32 segment) external;
    /// The audit: the claim is void without guilt proved (withheld data, no disclosure); `fault` slashes the solver.
    function void(uint256 claimId, bool fault) external;
}

interface IAudit {
    /// The market: a claim was made; its audit begins.
    function begin(uint256 claimId, uint32 acceptedBefore) external;
    /// True when every assigned segment has its verdict, none is *different* without a dispute, and the window is over.
    function passed(uint256 claimId) external view returns (bool);
    /// The market, on settling: who is paid for how many segments.
    function payees(uint256 claimId) external view returns (address[] memory verifiers, uint32[] memory segments);
    /// The market, on conviction: who attested this segment. Many in a quorum.
    function attesters(uint256 claimId, uint32 segment) external view returns (address[] memory);
    /// The court: a verifier that said *different* has kept its word.
    function disputed(uint256 claimId, address verifier) external;
}

interface IStake {
    function freeOf(address who) external view returns (uint256);
    /// Ledger moves, for the market, the audit and the court only.
    function pull(address from, uint256 amountWei, Permit calldata permit) external; // tokens in, to `from`'s free balance
    function lock(address who, uint256 amountWei) external; // free -> locked
    function unlock(address who, uint256 amountWei) external; // locked -> free
    function escrow(uint256 taskId, address from, uint256 amountWei) external; // free -> escrow
    function release(uint256 taskId, address to, uint256 amountWei) external; // escrow -> free
    function slash(address who, address to, uint256 amountWei) external; // locked -> somebody's free balance (0: burnt; the ledger itself: pool)
    function burn(address who, uint256 amountWei) external; // locked -> burnt
    /// Seats: SEAT_WEI each; the count never falls, so that a draw counts them as they stood.
    function seatCount() external view returns (uint256);
    function seatAt(uint256 index, uint256 atTime) external view returns (address owner, bool active);
}

/// What the market and the audit ask of the ledger beside that. `to`: address(0) burns, the ledger's own address is the pool.
interface ILedger is IStake {
    function SEAT_WEI() external view returns (uint256);
    function escrowOf(uint256 taskId) external view returns (uint256);
    /// From a seat, which is jailed; takes what is there when it holds less or `owner` holds it no more.
    function slashSeat(uint256 index, address owner, uint256 amountWei, address to) external returns (uint256 takenWei);
    /// Pool -> somebody's free balance: never more than a quarter of it.
    function reward(address to, uint256 atMostWei) external returns (uint256 paidWei);
}

/// What the audit and the decoys ask of the market beside IMarket.
interface ITasks is IMarket {
    function submitterOf(uint256 taskId) external view returns (address);
    function claimOf(uint256 claimId) external view returns (Claim memory);
    /// The decoys: the solver of a running task seals its next slice; that slice's fee goes to the pool. Reverts where it must not.
    function payFee(uint256 taskId, uint32 slice, address solver) external returns (uint256 priceWei);
    /// The decoys: the claim showed a decoy; from now on it is about `root`, and the games about the decoy count no more.
    function unmask(uint256 claimId, bytes32 root) external;
}

/// What the market asks of the audit beside IAudit.
interface IDocket is IAudit {
    /// Ends a passed audit: slashes who broke its word, and says who is paid for how many segments. Reverts when not passed.
    function finish(uint256 claimId) external returns (address[] memory verifiers, uint32[] memory segments);
    /// The claim was convicted: nothing more to audit.
    function close(uint256 claimId) external;
    /// Which seats the attesters of a segment were drawn by.
    function seatsOf(uint256 claimId, address[] calldata verifiers) external view returns (uint256[] memory);
    /// Where a claim's audit stands, a passed deadline taken into account.
    function stageOf(uint256 claimId)
        external
        view
        returns (Stage stage, uint256 deadline, uint256 places, uint256 sealedCount, uint256 revealedCount, uint256 round, uint256 anchorBlock);
    /// The decoys: the claim showed a decoy and is about `root` now. What was sealed before is revealed by other rules.
    function unmask(uint256 claimId, bytes32 root) external;
}

/// What market and audit ask of the decoys.
interface IDecoys {
    /// The market: the claim is made under the solver's seal; reverts where there is none, its anchor block is not there yet, or its hash is not the one
    /// that the solver went by.
    function bind(uint256 claimId, uint256 taskId, uint32 slice, address solver, bytes32 anchorHash) external;
    /// Whether the claim's seal is opened, or there is nothing to open.
    function isOpen(uint256 claimId) external view returns (bool);
    /// The audit, of a claim that showed a decoy and is passed: who caught it, of so many places.
    function payCatchers(uint256 claimId, address[] calldata catchers, uint256 places) external;
    /// The court: until when games about the claim stand still (the solver's first answer is neither due nor accepted); in the past once it is opened,
    /// 0 where it has no seal. A first answer's clock starts here where this is later than the challenge.
    function sealedUntil(uint256 claimId) external view returns (uint256);
    /// The court, giving back the bond of a game about a decoy: its challenger's part of the jackpot. Once a game.
    function caught(uint256 claimId, address challenger) external;
}
