// Disputes on chain: reading games out of the log, keeping what was revealed in them, playing moves.

import { callOf, type Game, LEVELS, type Move, type Packed, packGame, type Reveal, stateHash, unpackGame } from '@bitloom/dispute'
import { fromHex, toHex } from '@bitloom/graph'
import { type Bitloom, type ChainEvent, chainTime, keptGame, readGame } from '@bitloom/sdk'
import type { Address, Hex, TransactionReceipt } from 'viem'
import type { GameView } from './roles/views.ts'
import type { Store } from './store.ts'

/** A game on chain and who plays it. `game`: how it stands; of a closed one, how it stood before its last move. */
export type Quarrel = {
  readonly gameId: bigint
  readonly claimId: bigint
  readonly solver: Address
  readonly challenger: Address
  readonly segment: number
  readonly closed: boolean
  /** Unix second from which a first answer is due (forced errors); 0 where there is nothing to wait for. */
  readonly sealedUntil: number
  /** Whether that is still to come. */
  readonly sealed: boolean
  readonly game: Game
}

/** Reads a game out of the log, from block `from` on where its challenge is known to be no earlier. */
export async function readQuarrel(bitloom: Bitloom, gameId: bigint, from?: bigint): Promise<Quarrel> {
  const { state, papers, ...q } = await readGame(bitloom, gameId, from)
  const game = unpackGame({ state: fromHex(state), papers: fromHex(papers) })
  return { gameId, ...q, game, ...(await sealOf(bitloom, q.claimId, q.closed ? undefined : game)) }
}

/** What a game waits for: asked of the chain only where its first answer is outstanding. */
async function sealOf(bitloom: Bitloom, claimId: bigint, game: Game | undefined): Promise<Pick<Quarrel, 'sealedUntil' | 'sealed'>> {
  if (!game?.fresh) return { sealedUntil: 0, sealed: false }
  const sealedUntil = Number(await bitloom.read('Decoys', 'sealedUntil', [claimId]))
  return { sealedUntil, sealed: (await chainTime(bitloom)) < sealedUntil }
}

/** Unix seconds at which the clock of whoever is to move runs out. */
const clockEnd = (game: Game, sealedUntil: number): number =>
  Math.max(game.movedAt, sealedUntil) + (game.toMove === 'solver' ? game.solverClock : game.challengerClock)

/** The game as the roles see it. */
export const viewOf = ({ game, closed, sealed, sealedUntil, ...q }: Quarrel): GameView => ({
  ...q,
  decided: closed || game.level === 'over',
  solverToMove: game.toMove === 'solver' && !sealed,
  deadline: clockEnd(game, sealedUntil),
})

/** Plays a move in the game as it stands now: one transaction. */
export async function play(bitloom: Bitloom, gameId: bigint, move: Move): Promise<TransactionReceipt> {
  const { state, papers } = await readGame(bitloom, gameId)
  return playIn(bitloom, gameId, { state: fromHex(state), papers: fromHex(papers) }, move)
}

/** Plays a move in a game that was read before. */
export function playIn(bitloom: Bitloom, gameId: bigint, packed: Packed, move: Move): Promise<TransactionReceipt> {
  const { functionName, args } = callOf(packed, move)
  return bitloom.send('Dispute', functionName, [gameId, ...args])
}

/** `block`: of the challenge; notes of older nodes lack it. */
type GameNote = { readonly gameId: string; readonly claimId: string; readonly block?: string }

/** The disputes of the network as the log tells them, on disk: which games there are, and what was revealed in those that this node plays as challenger. */
export type Court = {
  readonly onEvent: (event: ChainEvent) => void
  /** Forgets which games were opened and what was revealed from this block on: the chain has replaced it, and tells it anew. */
  readonly rewind: (block: bigint) => void
  /** Games about a claim, read from the chain; closed ones too. */
  readonly gamesAbout: (claimId: bigint) => Promise<Quarrel[]>
  readonly revealsIn: (gameId: bigint) => Reveal[]
}

/** The four words of an `open`, in the order of dispute/player's record. */
const wordsOf = (opened: unknown): Hex[] => {
  const { preState, preChain, postState, postChain } = opened as Record<'preState' | 'preChain' | 'postState' | 'postChain', Hex>
  return [preState, preChain, postState, postChain]
}

export function openCourt(bitloom: Bitloom, store: Store): Court {
  const reveals = (gameId: unknown): string => `reveals/${gameId}`
  const placeOf = (block: bigint): string => String(block).padStart(16, '0')
  const me = bitloom.account?.address.toLowerCase()
  /** Games as they were read last: the contract's hash says whether one has moved since, so the log is read once a move. */
  const read = new Map<bigint, Quarrel>()
  const quarrel = async ({ gameId, block }: GameNote): Promise<Quarrel> => {
    const id = BigInt(gameId)
    const last = read.get(id)
    const kept = last && (await keptGame(bitloom, id)).state
    if (last && (last.closed ? BigInt(kept!) === 0n : kept === toHex(stateHash(packGame(last.game)))))
      return last.game.fresh && !last.closed ? { ...last, ...(await sealOf(bitloom, last.claimId, last.game)) } : last
    const now = await readQuarrel(bitloom, id, block === undefined ? undefined : BigInt(block))
    read.set(id, now)
    return now
  }
  return {
    onEvent: ({ name, args, blockNumber, logIndex }) => {
      const { gameId } = args
      if (name === 'Challenged') {
        store.put('games', `${args.claimId}/${gameId}`, {
          gameId: String(gameId),
          claimId: String(args.claimId),
          block: String(blockNumber),
        } satisfies GameNote)
        if ((args.challenger as string).toLowerCase() === me) store.put('own-games', String(gameId), true)
      }
      if (name !== 'Revealed' && name !== 'ChunkShown' && name !== 'StepOpened') return
      // only a challenger needs what was revealed, and strangers may reveal as much as they pay gas for
      if (!store.has('own-games', String(gameId))) return
      const level = name === 'Revealed' ? LEVELS[Number(args.level)]! : name === 'ChunkShown' ? 'chunk' : 'open'
      const values = (name === 'Revealed' ? args.values : name === 'ChunkShown' ? [args.chunk] : wordsOf(args.opened)) as Hex[]
      // by its place in the log, so that reading a block twice changes nothing
      store.put(reveals(gameId), `${placeOf(blockNumber)}/${String(logIndex).padStart(6, '0')}`, { level, values })
    },
    rewind: (block) => {
      // a number may be another game's now, about another claim: those that still stand are told again
      for (const { key, value } of store.list<GameNote>('games'))
        if (value.block !== undefined && BigInt(value.block) >= block) store.delete('games', key)
      for (const { key: gameId } of store.list('own-games'))
        for (const { key } of store.list(reveals(gameId))) if (key >= placeOf(block)) store.delete(reveals(gameId), key)
    },
    gamesAbout: (claimId) => Promise.all(store.list<GameNote>('games', { prefix: `${claimId}/` }).map(({ value }) => quarrel(value))),
    revealsIn: (gameId) =>
      store
        .list<{ level: Reveal['level']; values: Hex[] }>(reveals(gameId))
        .map(({ value }) => ({ level: value.level, values: value.values.map(fromHex) })),
  }
}
