// Moves and verdicts as the contract's ABI says them: hex and numbers, ready for any EVM library. Twin of nothing; it only translates.

import { fromHex, toHex } from '@bitloom/graph'
import { GROUNDS, type Item, type Move, type Opened, type Pick, type Verdict } from './game.ts'
import type { Packed } from './game-state.ts'

type Hex = `0x${string}`

/** A verdict out of the event `Decided`. */
export const verdictFromWire = (wire: Omit<Verdict, 'ground'> & { readonly ground: number }): Verdict => ({
  ...wire,
  ground: GROUNDS[wire.ground]!,
})

const hexes = (values: readonly Uint8Array[]): Hex[] => values.map(toHex)
const item = ({ value, proof }: Item): unknown => ({ value: toHex(value), proof: hexes(proof) })
const pick = ({ index, path }: Pick): unknown => ({ index, path: hexes(path) })
const opened = (o: Opened): unknown => ({
  ...{ preState: toHex(o.preState), preChain: toHex(o.preChain), postState: toHex(o.postState), postChain: toHex(o.postChain) },
})

/** Four bytes each. */
const wordsHex = (words: readonly number[]): Hex => `0x${words.map((w) => (w >>> 0).toString(16).padStart(8, '0')).join('')}`

/** Moves that bring the game's papers besides its state. */
const WITHOUT_PAPERS: readonly Move['kind'][] = ['bisect', 'bisectFold', 'descend', 'showChunk', 'pick', 'pickElement']

/** The call of `Dispute` that plays a move in a game as it stands (`packGame`): name, and arguments after the game's id. */
export function callOf({ state, papers }: Packed, move: Move): { readonly functionName: Move['kind']; readonly args: readonly unknown[] } {
  const brought = WITHOUT_PAPERS.includes(move.kind) ? [toHex(state)] : [toHex(state), toHex(papers)]
  return { functionName: move.kind, args: [...brought, ...argsOf(move)] }
}

function argsOf(move: Move): readonly unknown[] {
  switch (move.kind) {
    case 'bisect':
    case 'descend':
      return [hexes(move.values)]
    case 'bisectFold':
      return [wordsHex(move.words)]
    case 'open':
      return [opened(move.opened), hexes(move.values)]
    case 'showChunk':
      return [toHex(move.chunk)]
    case 'pick':
    case 'pickElement':
    case 'provePadding':
    case 'proveTail':
      return [pick(move.picked)]
    case 'enterState':
      return [toHex(move.postState), toHex(move.postCommit)]
    case 'showExpr':
      return [pick(move.picked), toHex(move.leaf), hexes(move.proof)]
    case 'proveProbe':
      return [opened(move.opened), item(move.probe)]
    case 'proveInput': {
      const { leaf, proof, preState, preCommit, slot } = move.source
      return [
        pick(move.picked),
        { leaf: toHex(leaf), proof: hexes(proof), preState: toHex(preState), preCommit: toHex(preCommit), slot: item(slot) },
      ]
    }
    case 'proveState': {
      const { expr, proof, root } = move.fed
      return [pick(move.picked), { expr, proof: hexes(proof), root: item(root) }]
    }
    case 'proveElement':
      return [pick(move.picked), toHex(move.leaf), move.operands.map(operand)]
    case 'proveTerm':
      return [move.index, toHex(move.leaf), move.operands.map(operand)]
    case 'timeout':
      return []
  }
}

const operand = (o: Extract<Move, { kind: 'proveTerm' }>['operands'][number]): unknown => ({
  root: toHex(o.root),
  traceProof: hexes(o.traceProof),
  chunk: toHex(o.chunk),
  chunkProof: hexes(o.chunkProof),
})

/** Of the call that decided by arithmetic: its leaf, the accumulator before the step, and the chunks that it read from. */
export type DecidingCall = {
  readonly state: Uint8Array
  readonly papers: Uint8Array
  readonly index: number
  readonly leaf: Uint8Array
  readonly operands: unknown
}

/** Reads a `proveElement` or `proveTerm` back from a call's name and arguments; undefined where it is another call. */
export function decidingCall(functionName: string, args: readonly unknown[]): DecidingCall | undefined {
  if (functionName !== 'proveElement' && functionName !== 'proveTerm') return undefined
  const [, state, papers, picked, leaf, operands] = args as readonly [bigint, Hex, Hex, number | { readonly index: number }, Hex, unknown]
  const index = typeof picked === 'number' ? picked : picked.index
  return { state: fromHex(state), papers: fromHex(papers), index, leaf: fromHex(leaf), operands }
}
