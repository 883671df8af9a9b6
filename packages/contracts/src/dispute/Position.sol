// SPDX-License-Identifier: Apache-2.0
// Where in a quarrel we are: an interval of a sequence, or a node of a tree, and how one round narrows either. Twin: dispute/position.ts.
//
// The widths are those at which a whole game costs least, calldata floor and storage included (docs/protocol.md §4): rounds are as few as these
// widths allow, and equally wide.
//
// Twin order: partsOf cutAt · takeOf childAt
pragma solidity ^0.8.28;

library Position {
    /// Most parts that one `bisect` cuts a run of steps into: 32 bytes are shown for each.
    uint256 internal constant STEPS = 64;
    /// Most parts that one `bisectFold` cuts a fold into: 4 bytes are shown for each.
    uint256 internal constant TERMS = 256;

    /// Parts that one round cuts `count` (1 …) into: the fewest with which no more rounds are needed than with `most`.
    function partsOf(uint256 count, uint256 most) internal pure returns (uint256) {
        if (count <= most) return count;
        unchecked {
            // Cannot wrap: count is below 2^33, so no power here reaches 2^41.
            uint256 rounds = 1;
            for (uint256 reach = most; reach < count; reach *= most) {
                ++rounds;
            }
            uint256 low = 1; // too few
            while (most - low > 1) {
                uint256 middle = (low + most) / 2;
                uint256 reach = middle;
                for (uint256 k = 1; k < rounds; ++k) {
                    reach *= middle;
                }
                if (reach < count) low = middle;
                else most = middle;
            }
            return most;
        }
    }

    /// Where part i of `parts` of the interval from … to begins; the one after the last "begins" at `to`. Numbers below 2^33.
    function cutAt(uint256 from, uint256 to, uint256 parts, uint256 i) internal pure returns (uint256) {
        return from + i * (to - from) / parts;
    }

    /// Levels that one round takes from a node of this depth: up to 6 at once, else in as few rounds as 5 levels each and one more allow.
    function takeOf(uint256 depth) internal pure returns (uint256) {
        if (depth <= 6) return depth;
        uint256 rounds = (depth + 3) / 5;
        return (depth + rounds - 1) / rounds;
    }

    /// The index, at its own height, of descendant i of node `index`, `take` levels below.
    function childAt(uint256 index, uint256 take, uint256 i) internal pure returns (uint256) {
        return (index << take) + i;
    }
}
