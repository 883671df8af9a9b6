// Games and moves as the contract's ABI says them: hex and numbers, ready for any EVM library. Twin of nothing; it only translates.

import { fromHex, toHex } from '@bitloom/graph'
import { type Game, GROUNDS, type Item, LEVELS, type Move, SIDES, type Verdict } from './game.ts'

type Hex = `0x${string}`

/** `Game` of Claims.sol as a decoded ABI value: enums and small integers are numbers, 64-bit ones are bigints. */
export type GameWire = { readonly [K in keyof Game]: Game[K] extends Uint8Array ? Hex : K extends 'movedAt' | 'size' ? bigint : number }

const FIELDS_OF_BYTES = [
  ...(['graphId', 'dataRoot', 'lo', 'hi', 'list', 'node', 'preState', 'preChain', 'postState', 'postChain', 'trace', 'leaf'] as const),
]

/** A game out of `Dispute.gameOf(id).game`. */
export function gameFromWire(wire: GameWire): Game {
  const bytes = Object.fromEntries(FIELDS_OF_BYTES.map((name) => [name, fromHex(wire[name])])) as Pick<
    Game,
    (typeof FIELDS_OF_BYTES)[number]
  >
  const { movedAt, size, level, toMove } = wire
  return {
    ...(wire as unknown as Game),
    ...bytes,
    movedAt: Number(movedAt),
    size: Number(size),
    level: LEVELS[level]!,
    toMove: SIDES[toMove]!,
  }
}

/** A verdict out of the event `Decided`. */
export const verdictFromWire = (wire: Omit<Verdict, 'ground'> & { readonly ground: number }): Verdict => ({
  ...wire,
  ground: GROUNDS[wire.ground]!,
})

const hexes = (values: readonly Uint8Array[]): Hex[] => values.map(toHex)
const item = ({ value, proof }: Item): unknown => ({ value: toHex(value), proof: hexes(proof) })

/** The call of `Dispute` that plays a move: name and arguments after the game's id. */
export function callOf(move: Move): { readonly functionName: Move['kind']; readonly args: readonly unknown[] } {
  const call = (...args: readonly unknown[]) => ({ functionName: move.kind, args })
  switch (move.kind) {
    case 'bisect':
    case 'descend':
      return call(hexes(move.values))
    case 'pick':
      return call(move.index, move.items.map(item))
    case 'open':
      return call(...hexes([move.preState, move.preChain, move.postState, move.postChain, move.trace]))
    case 'enter':
      return call(LEVELS.indexOf(move.level))
    case 'proveProbe':
      return call(item(move.probe))
    case 'showExpr':
      return call(toHex(move.leaf), hexes(move.proof))
    case 'proveInput':
      return call(toHex(move.leaf), hexes(move.proof), item(move.slot))
    case 'proveState':
      return call(move.expr, hexes(move.proof), item(move.fed))
    case 'showChunk':
      return call(toHex(move.chunk))
    case 'pickElement':
      return call(move.index, toHex(move.chunk))
    case 'proveScalar':
      return call(
        toHex(move.leaf),
        move.operands.map((o) => ({
          root: toHex(o.root),
          traceProof: hexes(o.traceProof),
          chunk: toHex(o.chunk),
          chunkProof: hexes(o.chunkProof),
        })),
      )
    case 'timeout':
      return call()
  }
}

/** Whether a game in the ABI's form is the very same as ours: what holds the twins together. Names the first field that differs. */
export function firstDifferenceOf(game: Game, wire: GameWire): keyof Game | undefined {
  const theirs = gameFromWire(wire)
  return (Object.keys(game) as (keyof Game)[]).find((name) => {
    const [a, b] = [game[name], theirs[name]]
    return a instanceof Uint8Array ? toHex(a) !== toHex(b as Uint8Array) : a !== b
  })
}
