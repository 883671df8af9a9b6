// One task's or claim's trouble must not hold up the others.

import { RpcDownError } from '@bitloom/sdk'
import type { Log } from '../services.ts'

/** Runs one item of a tick; what goes wrong in it is logged and tried again at the next tick. A chain that is down is everybody's trouble and is thrown on. */
export async function apart(log: Log, about: Readonly<Record<string, unknown>>, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (error instanceof RpcDownError) throw error
    log('item-failed', { ...about, error: error instanceof Error ? error.message.replaceAll('\n', ' ').slice(0, 600) : String(error) })
  }
}
