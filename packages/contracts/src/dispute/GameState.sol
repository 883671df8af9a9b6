// SPDX-License-Identifier: Apache-2.0
// A game as bytes: the contract keeps one hash of them, every move brings them along, every log shows the new ones (docs/protocol.md §4).
// Twin: dispute/game-state.ts, byte for byte. Bytes that hash to what was kept were written here, so nothing is checked again when they are read.
//
// Twin order: pack unpack packPapers unpackPapers
pragma solidity ^0.8.28;

enum Level {
    Steps, // solver: bisect, challenger: pick
    Open, // solver: open
    Trace, // solver: descend, challenger: pick; at its root enterState, proveProbe; at its bottom showExpr, proveInput, provePadding
    State, // solver: descend, challenger: pick; at its bottom proveState, provePadding
    Tensor, // solver: descend, challenger: pick; at its bottom provePadding
    Chunk, // solver: showChunk, challenger: pickElement, proveElement, proveTail
    Fold, // solver: bisectFold, challenger: pick; of one term proveTerm
    Over
}

enum Side {
    Solver,
    Challenger
}

/// Where a game stands. Only what lives at its level is in the bytes; the rest is 0.
struct Game {
    Level level;
    Side toMove;
    bool fresh; // the first answer is not given, and waits until the claim is opened (forced errors)
    uint64 movedAt; // unix seconds of the last move
    uint32 solverClock; // seconds left
    uint32 challengerClock;
    address solver;
    address challenger;
    bytes32 papers; // hash of the packed papers
    uint32 from; // steps, open, fold: the interval
    uint32 to;
    bytes32 lo; // steps (solver to move), open: the accepted start, a moment
    bytes32 hi; // steps, open: the refused end
    bytes32 list; // steps (challenger to move): the items root over innerHash(start, end) of each part
    uint32 count; // trace, state, tensor: items of the tree
    uint8 depth; // levels below the refused node
    uint32 index; // its index at its height; chunk: the chunk's number
    bytes32 node; // the refused node; chunk (challenger to move): the items root over the chunk's 32 words of 32 bytes
    uint8 dtype; // tensor, chunk: of the expr
    uint64 size; // its elements
    uint32 terms; // of the fold behind each
    uint32 element; // fold
    bytes words; // fold: the accumulators before the first and after the last term, and what was shown between them; four bytes each
}

/// What a game is about: what only some moves ask for, and bring along for that.
struct Papers {
    uint64 claimId;
    uint32 segment;
    uint32 exprs;
    uint32 stateSlots;
    uint32 dataSlots;
    uint32 probe;
    bytes32 root; // the claim's when the game was opened
    bytes32 graphId;
    bytes32 dataRoot;
    // from `open` on: else 0
    uint32 step; // within the segment
    bytes32 start; // its moments
    bytes32 end;
    bytes32 trace;
    // from `showExpr` on: else 0
    uint32 expr;
    bytes32 leaf; // hash of the expr's leaf
}

library GameState {
    uint256 private constant HEAD = 90;
    uint256 private constant OPENED = 224; // bytes of papers with a step
    uint256 private constant SHOWN = 260; // and with an expr

    function pack(Game memory g) internal pure returns (bytes memory out) {
        Level level = g.level;
        bytes memory words = g.words;
        out = room(HEAD + 72 + words.length);
        uint256 turn = uint256(g.toMove) | (g.fresh ? 2 : 0);
        uint256 clocks = uint256(g.movedAt) << 64 | uint256(g.solverClock) << 32 | g.challengerClock;
        put(out, 0, uint256(level) << 248 | turn << 240 | clocks << 112);
        put(out, 18, uint256(uint160(g.solver)) << 96);
        put(out, 38, uint256(uint160(g.challenger)) << 96);
        put(out, 58, uint256(g.papers));
        uint256 end;
        if (level <= Level.Open || level == Level.Fold) {
            put(out, HEAD, uint256(g.from) << 224 | uint256(g.to) << 192 | uint256(g.element) << 160);
            end = HEAD + 8;
            if (level == Level.Fold) {
                end += 4 + words.length;
                assembly ("memory-safe") {
                    mcopy(add(out, 134), add(words, 32), mload(words)) // 32 + HEAD + 12
                }
            } else {
                end = put(out, put(out, end, uint256(g.hi)), uint256(g.toMove == Side.Challenger ? g.list : g.lo));
            }
        } else {
            end = HEAD;
            if (level != Level.Chunk) {
                put(out, HEAD, uint256(g.count) << 224 | uint256(g.depth) << 216);
                end = HEAD + 5;
            }
            put(out, end, uint256(g.index) << 224);
            end = put(out, end + 4, uint256(g.node));
            if (level >= Level.Tensor) {
                put(out, end, uint256(g.dtype) << 248 | uint256(g.size) << 184 | uint256(g.terms) << 152);
                end += 13;
            }
        }
        cut(out, end);
    }

    /// Into a game of zeros.
    function unpack(bytes calldata s, Game memory g) internal pure {
        uint256 w = wordAt(s, 0);
        Level level = Level(w >> 248);
        g.level = level;
        g.toMove = Side(w >> 240 & 1);
        g.fresh = w >> 241 & 1 == 1;
        g.movedAt = uint64(w >> 176);
        g.solverClock = uint32(w >> 144);
        g.challengerClock = uint32(w >> 112);
        g.solver = address(uint160(wordAt(s, 18) >> 96));
        g.challenger = address(uint160(wordAt(s, 38) >> 96));
        g.papers = bytes32(wordAt(s, 58));
        w = wordAt(s, HEAD);
        if (level <= Level.Open) {
            g.from = uint32(w >> 224);
            g.to = uint32(w >> 192);
            g.hi = bytes32(wordAt(s, HEAD + 8));
            if (g.toMove == Side.Challenger) g.list = bytes32(wordAt(s, HEAD + 40));
            else g.lo = bytes32(wordAt(s, HEAD + 40));
        } else if (level <= Level.Tensor) {
            g.count = uint32(w >> 224);
            g.depth = uint8(w >> 216);
            g.index = uint32(w >> 184);
            g.node = bytes32(wordAt(s, HEAD + 9));
            if (level == Level.Tensor) unpackTypes(g, wordAt(s, HEAD + 41));
        } else if (level == Level.Chunk) {
            g.index = uint32(w >> 224);
            g.node = bytes32(wordAt(s, HEAD + 4));
            unpackTypes(g, wordAt(s, HEAD + 36));
        } else {
            g.from = uint32(w >> 224);
            g.to = uint32(w >> 192);
            g.element = uint32(w >> 160);
            g.words = s[HEAD + 12:];
        }
    }

    function unpackTypes(Game memory g, uint256 w) private pure {
        g.dtype = uint8(w >> 248);
        g.size = uint64(w >> 184);
        g.terms = uint32(w >> 152);
    }

    function packPapers(Papers memory p) internal pure returns (bytes memory out) {
        out = room(SHOWN);
        uint256 counts = uint256(p.exprs) << 96 | uint256(p.stateSlots) << 64 | uint256(p.dataSlots) << 32 | p.probe;
        put(out, 0, uint256(p.claimId) << 192 | uint256(p.segment) << 160 | counts << 32);
        uint256 end = put(out, put(out, put(out, 28, uint256(p.root)), uint256(p.graphId)), uint256(p.dataRoot));
        if (p.start != 0) {
            // moments and leaves are hashes, so never 0
            put(out, end, uint256(p.step) << 224);
            end = put(out, put(out, put(out, end + 4, uint256(p.start)), uint256(p.end)), uint256(p.trace));
            if (p.leaf != 0) {
                put(out, end, uint256(p.expr) << 224);
                end = put(out, end + 4, uint256(p.leaf));
            }
        }
        cut(out, end);
    }

    /// Into papers of zeros.
    function unpackPapers(bytes calldata s, Papers memory p) internal pure {
        uint256 w = wordAt(s, 0);
        p.claimId = uint64(w >> 192);
        p.segment = uint32(w >> 160);
        p.exprs = uint32(w >> 128);
        p.stateSlots = uint32(w >> 96);
        p.dataSlots = uint32(w >> 64);
        p.probe = uint32(w >> 32);
        p.root = bytes32(wordAt(s, 28));
        p.graphId = bytes32(wordAt(s, 60));
        p.dataRoot = bytes32(wordAt(s, 92));
        if (s.length < OPENED) return;
        p.step = uint32(wordAt(s, 124) >> 224);
        p.start = bytes32(wordAt(s, 128));
        p.end = bytes32(wordAt(s, 160));
        p.trace = bytes32(wordAt(s, 192));
        if (s.length < SHOWN) return;
        p.expr = uint32(wordAt(s, 224) >> 224);
        p.leaf = bytes32(wordAt(s, 228));
    }

    function wordAt(bytes calldata s, uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(s.offset, offset))
        }
    }

    /// Bytes to be written to with `put`, which may write up to 31 bytes too far.
    function room(uint256 length) private pure returns (bytes memory) {
        return new bytes(length + 31);
    }

    /// Writes a word, and gives the offset behind it.
    function put(bytes memory out, uint256 offset, uint256 word) private pure returns (uint256) {
        assembly ("memory-safe") {
            mstore(add(add(out, 32), offset), word)
        }
        return offset + 32;
    }

    /// Shortens bytes to what was written.
    function cut(bytes memory out, uint256 length) private pure {
        assembly ("memory-safe") {
            mstore(out, length)
        }
    }
}
