// SPDX-License-Identifier: Apache-2.0
// Where in a quarrel we are: an interval of a sequence, or a node of a tree, and how one round narrows either. Twin: dispute/position.ts.
//
// Twin order: partsOf cutAt valuesOf · takeOf childAt
pragma solidity ^0.8.28;

library Position {
    /// Children that one round reveals at most.
    uint256 internal constant ARITY = 32;
    /// Levels of a tree that one `descend` reveals: 2^5 = ARITY nodes.
    uint256 internal constant TAKE = 5;

    /// Parts that one `bisect` cuts `count` (1 …) steps into.
    function partsOf(uint256 count) internal pure returns (uint256) {
        return count < ARITY ? count : ARITY;
    }

    /// Where part i of the interval from … to begins; part `partsOf` "begins" at `to`. Numbers below 2^32.
    function cutAt(uint256 from, uint256 to, uint256 i) internal pure returns (uint256) {
        return from + i * (to - from) / partsOf(to - from);
    }

    /// Values that one `bisect` reveals: the moments or accumulators between the parts.
    function valuesOf(uint256 count) internal pure returns (uint256) {
        return partsOf(count) - 1;
    }

    /// Levels that one `descend` takes from a node of this depth.
    function takeOf(uint256 depth) internal pure returns (uint256) {
        return depth < TAKE ? depth : TAKE;
    }

    /// The index, at its own height, of descendant i of node `index`, `take` levels below.
    function childAt(uint256 index, uint256 take, uint256 i) internal pure returns (uint256) {
        return (index << take) + i;
    }
}
