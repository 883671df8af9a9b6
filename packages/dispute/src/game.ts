// What a game between a challenger and a solver is made of: its state, its moves, and what can come of it. Twin: the declarations of dispute/Claims.sol.

import type { Opening } from './commit.ts'
import type { ArbiterErrorName } from './leaf.ts'
import type { Operand } from './witness.ts'

/** The levels of docs/protocol.md §4, in the contract's numbering. */
export const LEVELS = [
  'steps', // solver: bisect, challenger: pick
  'open', // solver: open
  'enter', // challenger: enter, or proveProbe
  'trace', // solver: descend, challenger: pick
  'expr', // challenger: showExpr, or proveInput
  'state', // solver: descend, challenger: pick
  'slot', // challenger: proveState
  'tensor', // solver: descend, challenger: pick
  'chunk', // solver: showChunk
  'element', // challenger: pickElement
  'fold', // solver: bisect, challenger: pick
  'scalar', // challenger: proveScalar
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

/** Everything that the contract holds of a game; fields that no move has set yet are 0. */
export type Game = Omit<Terms, 'stepsPerCheckpoint' | 'clockSeconds'> & {
  /** Unix seconds of the last move. */
  readonly movedAt: number
  /** Seconds that each side has left. */
  readonly solverClock: number
  readonly challengerClock: number
  readonly level: Level
  readonly toMove: Side
  /** Steps, fold: the interval, its accepted start and its refused end (moments, or words in the last four bytes). */
  readonly from: number
  readonly to: number
  readonly lo: Uint8Array
  readonly hi: Uint8Array
  /** Steps, fold: the items root over start, revealed values and end, while the challenger is to pick. */
  readonly list: Uint8Array
  /** Trace, state, tensor: the refused node, the levels below it, and its index at its height. */
  readonly node: Uint8Array
  readonly depth: number
  readonly index: number
  /** The training step within the segment. */
  readonly step: number
  readonly preState: Uint8Array
  readonly preChain: Uint8Array
  readonly postState: Uint8Array
  readonly postChain: Uint8Array
  readonly trace: Uint8Array
  /** The expr, the hash of its leaf, its dtype's code, its elements and the terms behind each. */
  readonly expr: number
  readonly leaf: Uint8Array
  readonly dtype: number
  readonly size: number
  readonly terms: number
  readonly element: number
}

/** A 32-byte item with its siblings. */
export type Item = { readonly value: Uint8Array; readonly proof: readonly Uint8Array[] }

export type Move =
  | { readonly kind: 'bisect'; readonly values: readonly Uint8Array[] }
  /** In an interval: the items at `index` and `index + 1` under the list's root. In a tree: the item at `index` under the node. */
  | { readonly kind: 'pick'; readonly index: number; readonly items: readonly Item[] }
  | {
      readonly kind: 'open'
      readonly preState: Uint8Array
      readonly preChain: Uint8Array
      readonly postState: Uint8Array
      readonly postChain: Uint8Array
      readonly trace: Uint8Array
    }
  | { readonly kind: 'enter'; readonly level: 'trace' | 'state' }
  | { readonly kind: 'proveProbe'; readonly probe: Item }
  | { readonly kind: 'descend'; readonly values: readonly Uint8Array[] }
  | { readonly kind: 'showExpr'; readonly leaf: Uint8Array; readonly proof: readonly Uint8Array[] }
  | { readonly kind: 'proveInput'; readonly leaf: Uint8Array; readonly proof: readonly Uint8Array[]; readonly slot: Item }
  | { readonly kind: 'proveState'; readonly expr: number; readonly proof: readonly Uint8Array[]; readonly fed: Item }
  | { readonly kind: 'showChunk'; readonly chunk: Uint8Array }
  | { readonly kind: 'pickElement'; readonly index: number; readonly chunk: Uint8Array }
  | { readonly kind: 'proveScalar'; readonly leaf: Uint8Array; readonly operands: readonly Operand[] }
  | { readonly kind: 'timeout' }

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
  ...(['WrongMove', 'ClockRanOut', 'ClockRuns'] as const), // not now
  ...(['WrongCount', 'WrongIndex', 'WrongWord', 'ChunkLength'] as const), // not of this form
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
