// Disputes on chain: reading games, keeping what was revealed in them, playing moves.

import { callOf, type Game, type GameWire, gameFromWire, LEVELS, type Move, type Reveal } from '@bitloom/dispute'
import { fromHex } from '@bitloom/graph'
import type { Bitloom, ChainEvent } from '@bitloom/sdk'
import type { Address, Hex, TransactionReceipt } from 'viem'
import type { GameView } from './roles/views.ts'
import type { Store } from './store.ts'

/** A game on chain and who plays it. */
export type Quarrel = {
  readonly gameId: bigint
  readonly claimId: bigint
  readonly solver: Address
  readonly challenger: Address
  readonly segment: number
  readonly closed: boolean
  readonly game: Game
}

/** Reads a game. */
export async function readQuarrel(bitloom: Bitloom, gameId: bigint): Promise<Quarrel> {
  const { game, ...q } = (await bitloom.read('Dispute', 'gameOf', [gameId])) as Omit<Quarrel, 'gameId' | 'game'> & { game: GameWire }
  return { gameId, ...q, game: gameFromWire(game) }
}

/** Unix seconds at which the clock of whoever is to move runs out. */
const clockEnd = (game: Game): number => game.movedAt + (game.toMove === 'solver' ? game.solverClock : game.challengerClock)

/** The game as the roles see it. */
export const viewOf = ({ game, closed, ...q }: Quarrel): GameView => ({
  ...q,
  decided: closed || game.level === 'over',
  solverToMove: game.toMove === 'solver',
  deadline: clockEnd(game),
})

/** Plays a move: one transaction. */
export function play(bitloom: Bitloom, gameId: bigint, move: Move): Promise<TransactionReceipt> {
  const { functionName, args } = callOf(move)
  return bitloom.send('Dispute', functionName, [gameId, ...args])
}

type GameNote = { readonly gameId: string; readonly claimId: string }

/** The disputes of the network as the log tells them, on disk: which games there are, and what was revealed in those that this node plays as challenger. */
export type Court = {
  readonly onEvent: (event: ChainEvent) => void
  /** Forgets what was revealed from this block on: the chain has replaced it, and tells it anew. */
  readonly rewind: (block: bigint) => void
  /** Games about a claim, read from the chain; closed ones too. */
  readonly gamesAbout: (claimId: bigint) => Promise<Quarrel[]>
  readonly revealsIn: (gameId: bigint) => Reveal[]
}

export function openCourt(bitloom: Bitloom, store: Store): Court {
  const reveals = (gameId: unknown): string => `reveals/${gameId}`
  const placeOf = (block: bigint): string => String(block).padStart(16, '0')
  const me = bitloom.account?.address.toLowerCase()
  return {
    onEvent: ({ name, args, blockNumber, logIndex }) => {
      const { gameId } = args
      if (name === 'Challenged') {
        store.put('games', `${args.claimId}/${gameId}`, { gameId: String(gameId), claimId: String(args.claimId) } satisfies GameNote)
        if ((args.challenger as string).toLowerCase() === me) store.put('own-games', String(gameId), true)
      }
      if (name !== 'Revealed' && name !== 'ChunkShown') return
      // only a challenger needs what was revealed, and strangers may reveal as much as they pay gas for
      if (!store.has('own-games', String(gameId))) return
      const level = name === 'Revealed' ? LEVELS[Number(args.level)]! : 'chunk'
      const values = (name === 'Revealed' ? args.values : [args.chunk]) as Hex[]
      // by its place in the log, so that reading a block twice changes nothing
      store.put(reveals(gameId), `${placeOf(blockNumber)}/${String(logIndex).padStart(6, '0')}`, { level, values })
    },
    rewind: (block) => {
      for (const { key: gameId } of store.list('own-games'))
        for (const { key } of store.list(reveals(gameId))) if (key >= placeOf(block)) store.delete(reveals(gameId), key)
    },
    gamesAbout: (claimId) =>
      Promise.all(store.list<GameNote>('games', { prefix: `${claimId}/` }).map(({ value }) => readQuarrel(bitloom, BigInt(value.gameId)))),
    revealsIn: (gameId) =>
      store
        .list<{ level: Reveal['level']; values: Hex[] }>(reveals(gameId))
        .map(({ value }) => ({ level: value.level, values: value.values.map(fromHex) })),
  }
}
