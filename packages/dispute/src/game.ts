// What a game between a challenger and a solver is made of: its state, its moves, and what can come of it. Twin: the declarations of dispute/GameState.sol,
// Claims.sol and Grounds.sol.

import type { Opening } from './commit.ts'
import type { ArbiterErrorName } from './leaf.ts'
import type { Operand } from './witness.ts'

/** The levels of docs/protocol.md §4, in the contract's numbering. */
export const LEVELS = [
  'steps', // solver: bisect, challenger: pick
  'open', // solver: open
  'trace', // solver: descend, challenger: pick; at its root enterState, proveProbe; at its bottom showExpr, proveInput, provePadding
  'state', // solver: descend, challenger: pick; at its bottom proveState, provePadding
  'tensor', // solver: descend, challenger: pick; at its bottom provePadding
  'chunk', // solver: showChunk, challenger: pickElement, proveElement, proveTail
  'fold', // solver: bisectFold, challenger: pick; of one term proveTerm
  'over',
] as const
export type Level = (typeof LEVELS)[number]

export const SIDES = ['solver', 'challenger'] as const
export type Side = (typeof SIDES)[number]

/** Why a game ended, in the contract's numbering. */
export const GROUNDS = ['none', 'scalar', 'input', 'state', 'probe', 'padding', 'tail', 'clock'] as const
export type Ground = (typeof GROUNDS)[number]

/** The numbers of a spec that a game needs. */
export type Terms = {
  readonly graphId: Uint8Array
  readonly dataRoot: Uint8Array
  readonly exprs: number
  readonly stateSlots: number
  readonly dataSlots: number
  /** The probe's expr. */
  readonly probe: number
  readonly stepsPerCheckpoint: number
  /** Thinking time of each side. */
  readonly clockSeconds: number
}

/** What a game is about beside that: a claim on a chain, and who quarrels. */
export type Case = {
  readonly claimId: number
  readonly segment: number
  /** The claim's root when the game was opened. */
  readonly root: Uint8Array
  /** Addresses, 20 bytes. */
  readonly solver: Uint8Array
  readonly challenger: Uint8Array
}

/** Everything that is known of a game: what the bytes of game-state.ts say, and nothing else. Numbers and hashes that live at another level are 0. */
export type Game = Omit<Terms, 'stepsPerCheckpoint' | 'clockSeconds'> &
  Case & {
    readonly level: Level
    readonly toMove: Side
    /** The first answer is not given, and waits until the claim is opened (forced errors). */
    readonly fresh: boolean
    /** Unix seconds of the last move. */
    readonly movedAt: number
    /** Seconds that each side has left. */
    readonly solverClock: number
    readonly challengerClock: number
    /** Steps, open, fold: the interval. */
    readonly from: number
    readonly to: number
    /** Steps, open: its refused end, a moment; with the solver to move its accepted start, too. */
    readonly hi: Uint8Array
    readonly lo: Uint8Array
    /** Steps (challenger to move): the items root over innerHash(start, end) of each part. */
    readonly list: Uint8Array
    /** Trace, state, tensor: the refused node, the levels below it, its index at its height, and the items of the whole tree. */
    readonly node: Uint8Array
    readonly depth: number
    readonly index: number
    readonly count: number
    /** Tensor, chunk: the expr's dtype's code, its elements and the terms behind each. A chunk's number is `index`, its leaf or words' root `node`. */
    readonly dtype: number
    readonly size: number
    readonly terms: number
    /** Fold: the element, and the accumulators at `from`, at each cut that was shown, and at `to`. */
    readonly element: number
    readonly words: readonly number[]
    /** From `open` on, in the papers: the step within the segment, its moments, the root of its trace. */
    readonly step: number
    readonly start: Uint8Array
    readonly end: Uint8Array
    readonly trace: Uint8Array
    /** From `showExpr` on, in the papers: the expr and the hash of its leaf. */
    readonly expr: number
    readonly leaf: Uint8Array
  }

/** A 32-byte item with its siblings. */
export type Item = { readonly value: Uint8Array; readonly proof: readonly Uint8Array[] }

/** Something that the solver has revealed, by its index: the value (of steps: both ends of the part; of a fold nothing), then its siblings. */
export type Pick = { readonly index: number; readonly path: readonly Uint8Array[] }

/** The words of an `open`: what the step's two moments are hashes of. */
export type Opened = {
  readonly preState: Uint8Array
  readonly preChain: Uint8Array
  readonly postState: Uint8Array
  readonly postChain: Uint8Array
}

type Operands = { readonly leaf: Uint8Array; readonly operands: readonly Operand[] }

export type Move =
  // the solver's
  | { readonly kind: 'bisect'; readonly values: readonly Uint8Array[] }
  | { readonly kind: 'bisectFold'; readonly words: readonly number[] }
  /** The step itself, and the first round of its trace. */
  | { readonly kind: 'open'; readonly opened: Opened; readonly values: readonly Uint8Array[] }
  | { readonly kind: 'descend'; readonly values: readonly Uint8Array[] }
  | { readonly kind: 'showChunk'; readonly chunk: Uint8Array }
  // the challenger's
  | { readonly kind: 'pick'; readonly picked: Pick }
  /** Leaves the trace, which the challenger accepts, for the state that the step ended in. */
  | { readonly kind: 'enterState'; readonly postState: Uint8Array; readonly postCommit: Uint8Array }
  | { readonly kind: 'showExpr'; readonly picked: Pick; readonly leaf: Uint8Array; readonly proof: readonly Uint8Array[] }
  /** The first wrong element of the shown chunk, of a fold. The path is that of the word of 32 bytes that holds it. */
  | { readonly kind: 'pickElement'; readonly picked: Pick }
  // the challenger's last
  | { readonly kind: 'proveProbe'; readonly opened: Opened; readonly probe: Item }
  | { readonly kind: 'proveInput'; readonly picked: Pick; readonly source: Source }
  | { readonly kind: 'provePadding'; readonly picked: Pick }
  | { readonly kind: 'proveState'; readonly picked: Pick; readonly fed: Fed }
  /** `picked.index` counts the chunk's words of 32 bytes. */
  | { readonly kind: 'proveTail'; readonly picked: Pick }
  | ({ readonly kind: 'proveElement'; readonly picked: Pick } & Operands)
  | ({ readonly kind: 'proveTerm'; readonly index: number } & Operands)
  // anybody's
  | { readonly kind: 'timeout' }

/** What an `input` expr should have read: its leaf in the graph, and the slot under the state before the step, or under the data. */
export type Source = {
  readonly leaf: Uint8Array
  readonly proof: readonly Uint8Array[]
  readonly preState: Uint8Array
  /** Hash of the probe chain before the step. */
  readonly preCommit: Uint8Array
  readonly slot: Item
}

/** Which expr feeds a state slot, by the graph, and its tensor's root, by the trace. */
export type Fed = { readonly expr: number; readonly proof: readonly Uint8Array[]; readonly root: Item }

/** How a game ended. Numbers that the ground does not concern are 0; `state` names its slot in `element`. */
export type Verdict = {
  readonly convicted: boolean
  readonly ground: Ground
  readonly expr: number
  readonly element: number
  readonly term: number
  readonly claimed: number
  readonly computed: number
}

/** Why a move is refused: the names of the contract's custom errors. */
export const CLAIM_ERRORS = [
  ...(['StateDiffers', 'PapersDiffer'] as const), // not this game
  ...(['WrongMove', 'ClockRanOut', 'ClockRuns', 'StillSealed', 'AtBottom', 'NotAtBottom'] as const), // not now
  ...(['WrongCount', 'WrongIndex', 'ChunkLength'] as const), // not of this form
  ...(['RootDiffers', 'StartDiffers', 'EndDiffers', 'ChunkDiffers', 'LeafDiffers', 'NotProven'] as const), // hashes to something else
  ...(['IsInput', 'NotInput', 'NoFault'] as const), // proves nothing
] as const
export type ErrorName = (typeof CLAIM_ERRORS)[number] | ArbiterErrorName

/** What comes of a move: the game after it, or why it changes nothing. */
export type Outcome =
  | { readonly ok: true; readonly game: Game; readonly verdict?: Verdict }
  | { readonly ok: false; readonly error: ErrorName }

/** A challenge as its maker opens it: the disputed segment's ends under the claim's root; segment 0 starts from the claim's start state. */
export type Challenge = { readonly segment: number; readonly start: Opening; readonly end: Opening }
