// How a dispute stands after each of its moves, read from the log's `Moved` events: for whoever tells one.

import { type Level, type Stand, unpackPapers, unpackState } from '@bitloom/dispute'
import { fromHex } from '@bitloom/graph'
import type { ChainEvent } from '@bitloom/sdk'

/** How a game stands after a move; `expr` from `showExpr` on. */
export type Place = Pick<Stand, 'toMove' | 'from' | 'to' | 'depth' | 'index' | 'size' | 'terms' | 'element'> & {
  readonly level: Level
  readonly expr?: number
  /** Accumulators of a fold that are on the table. */
  readonly words: number
}

/** A `Moved` event read; `before`: the place before the move. */
export function placeOf({ args }: ChainEvent, before?: Place): Place {
  const papers = args.papers === '0x' ? undefined : unpackPapers(fromHex(args.papers as string))
  const expr = papers?.leaf.some((b) => b !== 0) ? { expr: papers.expr } : before?.expr === undefined ? {} : { expr: before.expr }
  if (args.state === '0x') return { ...(before ?? NOWHERE), ...expr, level: 'over' }
  const stand = unpackState(fromHex(args.state as string))
  // what was said of the expr once stays known
  const types = stand.size > 0 ? {} : { size: before?.size ?? 0, terms: before?.terms ?? 0 }
  return { ...stand, words: stand.words.length, ...types, ...expr }
}

const NOWHERE = { toMove: 'solver', from: 0, to: 0, depth: 0, index: 0, size: 0, terms: 0, element: 0, words: 0 } as const
