// SPDX-License-Identifier: Apache-2.0
// Many random lives of many tasks at once: no wei appears or vanishes, no slice is paid twice, and at the end everybody can take everything home.
pragma solidity ^0.8.28;

import {DecoyScene} from "./DecoyScene.sol";
import {Leaves, Decoys} from "../src/market/Decoys.sol";
import {Claim, ClaimStatus, Offer, Permit, Spec, Stage, Task, TaskStatus, Terms, Verdict} from "../src/market/Types.sol";

contract ConservationTest is DecoyScene {
    /// What the court's challengers lock; a losing one pays half to the solver and half is burnt.
    uint256 internal constant CHALLENGE_BOND = 10 ether;
    uint256 internal constant KINDS = 22;
    /// From any state, by calls that anybody may make: the longest wait of these lives, restarts and all.
    uint256 internal constant LONGEST_END = 2 hours;

    uint256 internal _random;
    uint256 internal _salt;
    /// How often each deed succeeded, so that a test of nothing shows.
    uint256[KINDS] internal _done;
    mapping(uint256 taskId => mapping(uint256 slice => bool)) internal _settled;
    mapping(uint256 claimId => address[]) internal _challengers;
    mapping(uint256 claimId => mapping(address verifier => uint8)) internal _verdict;
    mapping(uint256 claimId => mapping(address verifier => bytes32)) internal _digest;
    mapping(uint256 claimId => bool) internal _showsDecoy;

    function random(uint256 limit) internal returns (uint256) {
        _random = uint256(keccak256(abi.encode(_random)));
        return _random % limit;
    }

    // ---------------------------------------------------------------- deeds, each in a call of its own so that a refusal undoes it

    function paper() internal returns (Terms memory terms, Offer memory offer, bytes memory signature) {
        bool first = random(2) == 0;
        offer = anOffer(first ? solver : rival);
        offer.weiPerTeraop = random(2000 ether);
        offer.minAssurance = 0;
        offer.salt = bytes32(++_salt);
        signature = sign(first ? SOLVER_KEY : RIVAL_KEY, offer);
        uint256 priceWei = 16 ether + random(5 ether);
        terms = Terms({slicePriceWei: priceWei, auditFeeWei: 4 ether + random(3 ether), bondWei: priceWei + random(40 ether)});
    }

    function submitSomething() external {
        Spec memory spec = aSpec();
        spec.slices = uint32(1 + random(3));
        spec.checkpointsPerSlice = uint32(1 + random(5));
        spec.operationsPerStep = 500_000_000;
        spec.assurance = uint8(random(4));
        spec.verifiers = uint8(1 + random(3));
        spec.segments = uint8(random(3));
        if (spec.assurance != 0 && random(2) == 0) spec.decoyOneIn = 8;
        (Terms memory terms, Offer memory offer, bytes memory signature) = paper();
        vm.prank(submitter);
        market.submit(spec, terms, offer, signature, noPermit());
    }

    function handOn(uint256 taskId) external {
        (Terms memory terms, Offer memory offer, bytes memory signature) = paper();
        vm.prank(submitter);
        market.handOn(taskId, terms, offer, signature, noPermit());
    }

    function confirm(uint256 taskId) external {
        vm.prank(market.taskOf(taskId).solver);
        market.confirm(taskId);
    }

    function cancel(uint256 taskId) external {
        vm.prank(submitter);
        market.cancel(taskId);
    }

    function claim(uint256 taskId) external {
        Task memory task = market.taskOf(taskId);
        Decoys.Seal memory s = decoys.sealOf(taskId, task.accepted, task.solver);
        if (s.commitment == 0 || s.used || block.number > s.anchorBlock + 256) {
            // plain, or refused
            claimSlice(taskId);
            return;
        }
        bool bit = random(2) == 0;
        anchorWith(taskId, bit);
        Leaves memory l = leavesFor(taskId, task.accepted);
        // one in eight shows the other root, and can never open it
        bool shown = random(8) == 0 ? !bit : bit;
        uint256 claimId = claimTree(taskId, l.states, shown ? l.decoyCommits : l.trueCommits);
        _showsDecoy[claimId] = shown;
    }

    function sealSlice(uint256 taskId) external {
        sealHonestly(taskId);
    }

    /// The solver opens its claim; of a decoy the court gives every challenger its bond and its part of the jackpot.
    function openOne(uint256 claimId) external {
        bool bit = _showsDecoy[claimId];
        openAs(claimId, bit);
        address[] storage all = _challengers[claimId];
        while (bit && all.length > 0) {
            vm.prank(court);
            stake.unlock(all[all.length - 1], CHALLENGE_BOND);
            vm.prank(court);
            decoys.caught(claimId, all[all.length - 1]);
            all.pop();
        }
    }

    function sealOne(uint256 claimId) external {
        address[] memory drawn = waiting(claimId, Verdict.Drawn);
        address verifier = drawn[random(drawn.length)];
        uint256 dice = random(10);
        uint8 verdict = dice < 7 ? (_showsDecoy[claimId] ? 2 : 1) : uint8(dice - 6);
        bytes32 digest = random(10) == 0 ? keccak256("guessed") : digestOf(claimId, verifier);
        _verdict[claimId][verifier] = verdict;
        _digest[claimId][verifier] = digest;
        sealAs(claimId, verifier, verdict, digest);
    }

    function revealOne(uint256 claimId) external {
        address[] memory drawn = waiting(claimId, Verdict.Sealed);
        address verifier = drawn[random(drawn.length)];
        revealAs(claimId, verifier, _verdict[claimId][verifier], _digest[claimId][verifier]);
    }

    function discloseOne(uint256 claimId) external {
        disclose(claimId, disclosureOf(claimId));
    }

    /// Pays exactly the slice's price, once.
    function settle(uint256 taskId) external {
        Task memory task = market.taskOf(taskId);
        uint256 slice = task.accepted;
        uint256 before = stake.freeOf(task.solver) + stake.lockedOf(task.solver);
        uint256 seatsBefore = allSeats();
        market.settle(taskId);
        assertFalse(_settled[taskId][slice], "a slice was settled twice");
        _settled[taskId][slice] = true;
        uint256 gained = stake.freeOf(task.solver) + stake.lockedOf(task.solver) - before;
        uint256 priceWei = market.termsOf(taskId).slicePriceWei;
        priceWei -= priceWei / 50;
        assertTrue(gained >= priceWei, "price");
        // an idle *different* may add the half of a seat or more
        assertLe(gained - priceWei, (seatsBefore - allSeats()) / 2 + 1, "nothing but the price less the pool's part, and half of the idle seats");
    }

    function contest(uint256 claimId) external {
        address who = random(3) == 0 ? verifiers[random(VERIFIERS)] : challenger;
        // one prank a call: a lasting one would outlive a refusal
        vm.prank(court);
        stake.lock(who, CHALLENGE_BOND);
        vm.prank(court);
        market.contest(claimId, who);
        vm.prank(court);
        audit.disputed(claimId, who);
        _challengers[claimId].push(who);
    }

    function judge(uint256 claimId, bool guilty) external {
        address[] storage all = _challengers[claimId];
        address who = all[all.length - 1];
        all.pop();
        Claim memory claimed = market.claimOf(claimId);
        if (guilty) {
            uint32 segment = uint32(random(market.specOf(claimed.taskId).checkpointsPerSlice));
            vm.prank(court);
            stake.unlock(who, CHALLENGE_BOND);
            vm.prank(court);
            market.convict(claimId, who, segment);
        } else {
            vm.prank(court);
            stake.slash(who, claimed.solver, CHALLENGE_BOND / 2);
            vm.prank(court);
            stake.burn(who, CHALLENGE_BOND - CHALLENGE_BOND / 2);
            vm.prank(court);
            market.uncontest(claimId, who);
        }
    }

    function seats(uint256 choice) external {
        address who = verifiers[random(VERIFIERS)];
        if (choice == 0) {
            vm.prank(who);
            stake.takeSeats(1 + random(2));
            return;
        }
        uint256[] memory one = new uint256[](1);
        one[0] = random(stake.seatCount());
        address owner = stake.seatOf(one[0]).owner;
        // nobody calls from the zero address
        if (owner == address(0)) return;
        vm.prank(owner);
        if (choice == 1) stake.leaveSeats(one);
        else stake.withdrawSeats(one);
    }

    function money() external {
        address who = people[random(people.length)];
        vm.prank(who);
        if (random(2) == 0) stake.deposit(1 + random(50 ether));
        else stake.withdraw(random(20 ether));
    }

    // ---------------------------------------------------------------- chance

    function attempt(uint256 kind, bytes memory data) internal returns (bool ok) {
        (ok,) = address(this).call(data);
        if (ok) _done[kind] += 1;
    }

    function attemptOn(address target, uint256 kind, bytes memory data) internal returns (bool ok) {
        (ok,) = target.call(data);
        if (ok) _done[kind] += 1;
    }

    /// What would come next in an orderly life of this task.
    function nextOf(uint256 taskId) internal {
        Task memory task = market.taskOf(taskId);
        if (task.status == TaskStatus.Offered) attempt(0, abi.encodeCall(this.confirm, (taskId)));
        else if (task.status == TaskStatus.Halted) attempt(1, abi.encodeCall(this.handOn, (taskId)));
        else if (task.status == TaskStatus.Running && task.openClaim == 0) nextOfSlice(taskId, task);
        else if (task.status == TaskStatus.Running) nextOfClaim(taskId, task.openClaim);
    }

    function nextOfSlice(uint256 taskId, Task memory task) internal {
        bool bare = market.specOf(taskId).decoyOneIn != 0 && decoys.sealOf(taskId, task.accepted, task.solver).commitment == 0;
        if (bare) attempt(18, abi.encodeCall(this.sealSlice, (taskId)));
        else attempt(2, abi.encodeCall(this.claim, (taskId)));
    }

    function allSeats() internal view returns (uint256 wei_) {
        for (uint256 i = 0; i < stake.seatCount(); ++i) {
            wei_ += stake.seatOf(i).stakeWei;
        }
    }

    function nextOfClaim(uint256 taskId, uint256 claimId) internal {
        Stage stage = stageOf(claimId);
        if (stage < Stage.Disclosing && _showsDecoy[claimId] && !decoys.isOpen(claimId) && random(24) == 0) {
            // a stuck audit
            notBefore(decoys.sealedUntil(claimId) - market.specOf(taskId).discloseSeconds);
            attempt(21, abi.encodeCall(this.openOne, (claimId)));
        } else if (stage == Stage.Drawing) {
            mine();
            attemptOn(address(audit), 3, abi.encodeCall(audit.draw, (claimId)));
        } else if (stage == Stage.Sealing) {
            attempt(4, abi.encodeCall(this.sealOne, (claimId)));
        } else if (stage == Stage.Disclosing) {
            bool ready = decoys.isOpen(claimId);
            if (!ready) ready = attempt(_showsDecoy[claimId] ? 20 : 19, abi.encodeCall(this.openOne, (claimId)));
            if (ready) attempt(5, abi.encodeCall(this.discloseOne, (claimId)));
        } else if (stage == Stage.Revealing) {
            attempt(6, abi.encodeCall(this.revealOne, (claimId)));
        } else {
            if (random(4) != 0) passWindow(claimId);
            if (!attempt(7, abi.encodeCall(this.settle, (taskId)))) attemptOn(address(audit), 8, abi.encodeCall(audit.sweep, (claimId)));
        }
    }

    function disturb(uint256 taskId) internal {
        uint256 claimId = market.taskOf(taskId).openClaim;
        uint256 dice = random(12);
        // who comes late finds something to do
        if ((dice == 3 || dice == 4) && claimId != 0 && random(2) == 0) notBefore(deadlineOf(claimId) + 1);
        if (dice == 0) attempt(9, abi.encodeCall(this.cancel, (taskId)));
        else if (dice == 1) attemptOn(address(market), 10, abi.encodeCall(market.expire, (taskId)));
        else if (dice == 2 && random(2) == 0 && claimId == 0) notBefore(uint256(market.taskOf(taskId).deadline) + 1);
        else if (dice == 2) attemptOn(address(market), 11, abi.encodeCall(market.missDeadline, (taskId)));
        else if (dice == 3) attemptOn(address(audit), 12, abi.encodeCall(audit.redraw, (claimId)));
        else if (dice == 4) attemptOn(address(audit), 13, abi.encodeCall(audit.lapse, (claimId)));
        else if (dice == 5) attemptOn(address(audit), 8, abi.encodeCall(audit.sweep, (claimId)));
        else if (dice == 6) attempt(14, abi.encodeCall(this.contest, (claimId)));
        else if (dice == 7) attempt(15, abi.encodeCall(this.judge, (1 + random(market.claimCount() + 1), random(2) == 0)));
        else if (dice == 8) attempt(16, abi.encodeCall(this.seats, (random(3))));
        else if (dice == 9) attempt(17, abi.encodeCall(this.money, ()));
        else if (dice == 10) vm.warp(block.timestamp + random(200));
        else if (random(20) == 0) vm.warp(block.timestamp + random(15 days));
    }

    function live(uint256 seed, uint256 deeds) internal {
        _random = seed;
        this.submitSomething();
        for (uint256 i = 0; i < deeds; ++i) {
            // more than one deed must never be refused: the market takes one more task
            if (random(25) == 0) this.submitSomething();
            uint256 taskId = 1 + random(market.taskCount());
            if (random(5) < 3) nextOf(taskId);
            else disturb(taskId);
            assertConserved();
        }
    }

    /// Nobody acts any more but whoever happens by: clocks run out, and calls that anybody may make end everything. No solver, submitter or verifier
    /// has to be there for the money to come out; then each takes home what is its own, and only the pool and the burnt are left.
    function goHome() internal {
        uint256 start = block.timestamp;
        for (uint256 claimId = 1; claimId <= market.claimCount(); ++claimId) {
            while (_challengers[claimId].length > 0) this.judge(claimId, false);
        }
        for (uint256 taskId = 1; taskId <= market.taskCount(); ++taskId) {
            uint256 tries = 0;
            for (TaskStatus s = market.taskOf(taskId).status; s == TaskStatus.Offered || s == TaskStatus.Running; s = market.taskOf(taskId).status) {
                assertTrue(++tries < 40, "a task does not end");
                endStep(taskId);
            }
            assertEq(stake.escrowOf(taskId), 0, "escrow of an ended task");
        }
        assertLe(block.timestamp - start, LONGEST_END * market.taskCount(), "within bounded time");
        for (uint256 i = 0; i < people.length; ++i) {
            assertEq(stake.lockedOf(people[i]), 0, "locked for ever");
        }
        assertConserved();
        for (uint256 i = 0; i < stake.seatCount(); ++i) {
            uint256[] memory one = new uint256[](1);
            one[0] = i;
            address owner = stake.seatOf(i).owner;
            if (owner == address(0)) continue;
            vm.startPrank(owner);
            if (stake.seatOf(i).activeUntil == 0) stake.leaveSeats(one);
            notBefore(stake.seatOf(i).activeUntil + stake.UNBONDING_SECONDS());
            stake.withdrawSeats(one);
            vm.stopPrank();
        }
        for (uint256 i = 0; i < people.length; ++i) {
            uint256 freeWei = stake.freeOf(people[i]);
            vm.prank(people[i]);
            stake.withdraw(freeWei);
        }
        assertEq(token.balanceOf(address(stake)), stake.poolWei() + stake.burntWei(), "all else is home");
    }

    function notBefore(uint256 time) internal {
        if (block.timestamp < time) vm.warp(time);
    }

    /// One step towards a task's end by the calls that are open to anybody once time has passed.
    function endStep(uint256 taskId) internal {
        Task memory task = market.taskOf(taskId);
        if (task.status == TaskStatus.Offered) {
            notBefore(uint256(task.deadline) + 1);
            market.expire(taskId);
        } else if (task.openClaim == 0) {
            notBefore(uint256(task.deadline) + 1);
            market.missDeadline(taskId);
        } else {
            Stage stage = stageOf(task.openClaim);
            vm.warp(block.timestamp + 200);
            mine();
            if (stage == Stage.Drawing) audit.draw(task.openClaim);
            else if (stage == Stage.Sealing) audit.redraw(task.openClaim);
            else if (stage == Stage.Disclosing) audit.lapse(task.openClaim);
            else if (audit.passed(task.openClaim)) this.settle(taskId);
            else audit.sweep(task.openClaim);
        }
    }

    /// forge-config: default.fuzz.runs = 48
    function testFuzz_any_life_conserves_and_ends(uint256 seed) public {
        live(seed, 80);
        goHome();
    }

    /// The first kind of deed that never succeeded, or KINDS.
    function _missing() internal view returns (uint256 kind) {
        while (kind < KINDS && _done[kind] > 0) ++kind;
    }

    function test_a_long_life_does_every_deed_and_conserves() public {
        // some deeds are rare: one life after the other on the same ledger, until each was done
        for (uint256 seed = 0; seed < 2 || (seed < 10 && _missing() < KINDS); ++seed) {
            live(0xb17100 + seed, 800);
        }
        string[KINDS] memory names = [
            "confirm", "handOn", "claim", "draw", "seal", "disclose", "reveal", "settle", "sweep", "cancel", "expire", "missDeadline", "redraw",
            "lapse", "contest", "judge", "seats", "money", "seal a slice", "open the truth", "open a decoy", "open a decoy while stuck"
        ];
        for (uint256 kind = 0; kind < KINDS; ++kind) {
            assertTrue(_done[kind] > 0, names[kind]);
        }
        goHome();
    }
}
