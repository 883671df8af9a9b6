// The watchdog of the embedded chain: restarts it from its saved state when it dies or stalls, and shortens its history when that grows.

import { setTimeout as sleep } from 'node:timers/promises'
import { type Chain, type ChainOptions, PortTakenError, rpc, startChain } from './chain.ts'

const CHECK_EVERY_MS = 2_000
const ANSWER_TIMEOUT_MS = 5_000
/** This many checks in a row without an answer, or without a new block beyond the block time, are a stall. */
const STALLED_CHECKS = 3
/** A chain that needs more than this many restarts within ten minutes is given up. */
const MAX_RESTARTS = 5
const RESTART_WINDOW_MS = 600_000
const PORT_ATTEMPTS = 5
/** Blocks since the last start after which the chain is restarted to drop its old empty blocks: 5.5 hours at one a second, 40 MB of JSON. */
export const SHORTEN_AFTER_BLOCKS = 20_000

export type ChainEvent =
  | { readonly kind: 'restarted'; readonly reason: string; readonly lostBlocks: number }
  | { readonly kind: 'shortened'; readonly blocks: number }
  | { readonly kind: 'failed'; readonly reason: string }

export interface SuperviseOptions extends ChainOptions {
  readonly onEvent?: (event: ChainEvent) => void
  readonly checkEveryMs?: number
  readonly answerTimeoutMs?: number
  readonly shortenAfterBlocks?: number
}

/** A chain under watch: the same address through all restarts. */
export interface SupervisedChain {
  readonly rpcUrl: string
  readonly port: number
  readonly mnemonic: string
  /** Process id of the present incarnation. */
  pid(): number
  /** Settles with the reason when the chain is given up, or with 'stopped'. */
  readonly ended: Promise<string>
  save(): Promise<void>
  stop(): Promise<void>
}

/** Starts the embedded chain and watches it. Throws as `startChain` does when the first start fails; later troubles are events. */
export async function superviseChain(options: SuperviseOptions): Promise<SupervisedChain> {
  const { onEvent = () => undefined, checkEveryMs = CHECK_EVERY_MS, shortenAfterBlocks = SHORTEN_AFTER_BLOCKS } = options
  let chain = await startChain(options)
  const { rpcUrl, port, mnemonic } = chain
  const stopping = new AbortController()
  const restarts: number[] = []

  const restart = async (): Promise<void> => {
    await chain.stop()
    // The same port: whoever talks to the chain only sees a pause. A passing connection may hold it for a moment.
    for (let attempt = 1; ; attempt++) {
      try {
        chain = await startChain({ ...options, port, mnemonic })
        return
      } catch (error) {
        if (!(error instanceof PortTakenError) || attempt === PORT_ATTEMPTS) throw error
        await sleep(1000)
      }
    }
  }
  const watch = async (): Promise<string> => {
    let born = await blockNumber(rpcUrl).catch(() => 0)
    for (;;) {
      const seen = await untilTrouble(chain, options, checkEveryMs, born + shortenAfterBlocks, stopping.signal)
      if (seen.trouble === 'stopped') return 'stopped'
      const shorten = seen.trouble === 'long'
      if (!shorten) {
        const now = performance.now()
        while (restarts.length > 0 && now - restarts[0] > RESTART_WINDOW_MS) restarts.shift()
        if (restarts.push(now) > MAX_RESTARTS) {
          const reason = `restarted ${MAX_RESTARTS} times within ${RESTART_WINDOW_MS / 60_000} minutes; last: ${seen.trouble}`
          onEvent({ kind: 'failed', reason })
          return reason
        }
        await chain.kill()
      }
      try {
        await restart()
      } catch (error) {
        const reason = `${seen.trouble}, and no new start: ${(error as Error).message}`
        onEvent({ kind: 'failed', reason })
        return reason
      }
      born = await blockNumber(rpcUrl).catch(() => seen.block)
      onEvent(
        shorten
          ? { kind: 'shortened', blocks: seen.block }
          : { kind: 'restarted', reason: seen.trouble, lostBlocks: Math.max(0, seen.block - born) },
      )
    }
  }
  const ended = watch()
  const stop = async (): Promise<void> => {
    stopping.abort()
    await ended
    await chain.stop()
  }
  return { rpcUrl, port, mnemonic, pid: () => chain.pid, ended, save: () => chain.save(), stop }
}

/** Watches until something is wrong ('stopped' and 'long' are the harmless ones); `block` is the last block seen. */
async function untilTrouble(
  chain: Chain,
  options: SuperviseOptions,
  everyMs: number,
  shortenAt: number,
  signal: AbortSignal,
): Promise<{ readonly trouble: string; readonly block: number }> {
  const blockTimeMs = (options.blockTimeSeconds ?? 1) * 1000
  let exit: string | undefined
  void chain.exited.then((how) => (exit = how))
  let block = 0
  let silent = 0
  let still = 0
  // Checks are counted, not seconds: a computer that slept must not find its chain stalled.
  const patience = STALLED_CHECKS + Math.ceil((3 * blockTimeMs) / everyMs)
  for (;;) {
    await Promise.race([sleep(everyMs, undefined, { signal, ref: false }).catch(() => undefined), chain.exited])
    if (signal.aborted) return { trouble: 'stopped', block }
    if (exit !== undefined) return { trouble: exit, block }
    try {
      const now = await blockNumber(chain.rpcUrl, options.answerTimeoutMs)
      still = now > block ? 0 : still + 1
      block = now
      silent = 0
    } catch {
      silent++ // counted: a single late answer is no stall
    }
    if (silent >= STALLED_CHECKS) return { trouble: `no answer in ${silent} checks`, block }
    if (still >= patience) return { trouble: `no new block in ${still} checks`, block }
    if (block >= shortenAt) return { trouble: 'long', block }
  }
}

const blockNumber = async (url: string, timeoutMs = ANSWER_TIMEOUT_MS): Promise<number> =>
  Number(await rpc<string>(url, 'eth_blockNumber', [], timeoutMs))
