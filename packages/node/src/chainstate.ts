// The embedded chain's state on disk: which of the saved states is newest and whole, and how old empty blocks are dropped from it.

import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { writeFileAtomic } from './store.ts'

/** Empty blocks older than this many are dropped when a state is loaded. */
export const RECENT_BLOCKS = 300
/** Blocks with transactions are kept, newest first, until they hold this many transactions (about 1.5 KB of JSON each). */
export const KEPT_TRANSACTIONS = 50_000
/** A state that unpacks to more than this is refused as damaged; ten times what the limits above can produce. */
const MAX_STATE_BYTES = 1 << 30

/** The files of a chain's folder. `saved` is ours and always whole; `onExit` is anvil's and may be cut short; `toLoad` exists while it starts. */
export const stateFiles = (dir: string) => ({
  saved: join(dir, 'state.json.gz'),
  onExit: join(dir, 'exit.json'),
  toLoad: join(dir, 'load.json'),
})

interface SavedBlock {
  readonly header: { readonly number: string }
  readonly transactions: readonly unknown[]
}

/** The parts of anvil's state file that are read here; the rest is carried along unread. */
interface ChainState {
  readonly best_block_number: number
  readonly blocks: readonly SavedBlock[]
  readonly transactions: readonly { readonly block_number: number }[]
}

/**
 * Prepares a chain's folder for a start: picks the newest whole state, trims it, saves it as ours and writes the file to load.
 * Returns the path to load and its block, or undefined for a new chain. Throws ChainStateError when states exist and none is whole.
 */
export function prepareState(dir: string): { readonly path: string; readonly block: number } | undefined {
  const { saved, onExit, toLoad } = stateFiles(dir)
  const candidates: { readonly text: string; readonly state: ChainState }[] = []
  const problems: string[] = []
  for (const path of [onExit, saved]) {
    if (!existsSync(path)) continue
    try {
      const text =
        path === saved ? gunzipSync(readFileSync(path), { maxOutputLength: MAX_STATE_BYTES }).toString() : readFileSync(path, 'utf8')
      candidates.push({ text, state: parseState(text) })
    } catch (error) {
      problems.push(`${path}: ${(error as Error).message.slice(0, 200)}`)
    }
  }
  if (candidates.length === 0) {
    if (problems.length > 0 && existsSync(saved)) throw new ChainStateError(dir, problems)
    rmSync(onExit, { force: true })
    return undefined
  }
  // `onExit` comes first, so it wins a tie: it also holds what happened inside the last saved block's second.
  const newest = candidates.reduce((best, one) => (one.state.best_block_number > best.state.best_block_number ? one : best))
  const text = trimState(newest.text, newest.state)
  writeFileAtomic(saved, gzipSync(text, { level: 1 }))
  writeFileAtomic(toLoad, text)
  rmSync(onExit, { force: true })
  return { path: toLoad, block: newest.state.best_block_number }
}

/**
 * The text of a state without its old empty blocks; anvil accepts the gaps, and answers for logs and receipts of what is kept.
 * Measured on anvil 1.7.1: after any load of a state, the BLOCKHASH opcode returns a wrong word for blocks mined before it.
 */
export function trimState(text: string, state: ChainState = parseState(text)): string {
  // Numbers past 2^53 would be rounded by a round trip through JavaScript, so such a state (none was ever seen) stays as it is.
  if (state.blocks.length <= 2 * RECENT_BLOCKS || /[:[,]\s*\d{16,}/.test(text)) return text
  const keep = new Set<number>([0])
  let transactions = 0
  for (let i = state.blocks.length - 1; i >= 0; i--) {
    const block = state.blocks[i]
    const number = Number(block.header.number)
    if (number > state.best_block_number - RECENT_BLOCKS) keep.add(number)
    else if (block.transactions.length > 0 && (transactions += block.transactions.length) <= KEPT_TRANSACTIONS) keep.add(number)
  }
  return JSON.stringify({
    ...state,
    blocks: state.blocks.filter((block) => keep.has(Number(block.header.number))),
    transactions: state.transactions.filter((transaction) => keep.has(Number(transaction.block_number))),
  })
}

function parseState(text: string): ChainState {
  const state = JSON.parse(text) as Partial<ChainState> | null
  if (typeof state?.best_block_number !== 'number' || !Array.isArray(state.blocks) || !Array.isArray(state.transactions))
    throw new SyntaxError('not a chain state: best_block_number, blocks or transactions is missing')
  // A million rows are sorted faster than they are read, and the newest-first walk above relies on it.
  const blocks = [...state.blocks].sort((a, b) => Number(a.header.number) - Number(b.header.number))
  return { ...state, blocks } as ChainState
}

export class ChainStateError extends Error {
  constructor(dir: string, problems: readonly string[]) {
    super(`no saved state of the embedded chain in ${dir} can be read:\n${problems.join('\n')}\nMove the folder away to begin a new chain.`)
    this.name = 'ChainStateError'
  }
}
