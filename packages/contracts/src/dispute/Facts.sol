// SPDX-License-Identifier: Apache-2.0
// The last moves of a dispute that no arithmetic decides, apart from the court only because a contract must not be larger than 24,576 bytes. Stateless;
// the court makes one for itself, checks that state and papers are those of game number `gameId` and who sent them, and passes the whole call on.
pragma solidity ^0.8.28;

import {Item, Opened, Pick, Verdict} from "./Claims.sol";
import {Game, GameState, Papers} from "./GameState.sol";
import {Fed, Grounds, Source} from "./Grounds.sol";

contract Facts {
    function proveProbe(uint256, bytes calldata state, bytes calldata papers, Opened calldata opened, Item calldata probe)
        external
        view
        returns (Verdict memory)
    {
        Game memory g;
        Papers memory p;
        read(state, papers, g, p);
        return Grounds.proveProbe(g, p, opened, probe);
    }

    function proveInput(uint256, bytes calldata state, bytes calldata papers, Pick calldata picked, Source calldata source)
        external
        view
        returns (Verdict memory)
    {
        Game memory g;
        Papers memory p;
        read(state, papers, g, p);
        return Grounds.proveInput(g, p, picked, source);
    }

    function provePadding(uint256, bytes calldata state, bytes calldata papers, Pick calldata picked)
        external
        view
        returns (Verdict memory)
    {
        Game memory g;
        Papers memory p;
        read(state, papers, g, p);
        return Grounds.provePadding(g, p, picked);
    }

    function proveState(uint256, bytes calldata state, bytes calldata papers, Pick calldata picked, Fed calldata fed)
        external
        view
        returns (Verdict memory)
    {
        Game memory g;
        Papers memory p;
        read(state, papers, g, p);
        return Grounds.proveState(g, p, picked, fed);
    }

    function proveTail(uint256, bytes calldata state, bytes calldata papers, Pick calldata picked) external view returns (Verdict memory) {
        Game memory g;
        Papers memory p;
        read(state, papers, g, p);
        return Grounds.proveTail(g, p, picked);
    }

    function read(bytes calldata state, bytes calldata papers, Game memory g, Papers memory p) private pure {
        GameState.unpack(state, g);
        GameState.unpackPapers(papers, p);
    }
}
