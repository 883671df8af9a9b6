// An EVM to ask questions of: an anvil of its own on a free port, with contracts put in place, so that nothing is deployed, mined or fetched.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What a call gave: its return data, or its revert data. */
export type Answer = { readonly ok: boolean; readonly data: string }

export type Evm = {
  /** Puts deployed bytecode at an address. */
  readonly place: (address: string, code: string) => Promise<void>
  /** Calls a contract once for each calldata, in one request; nothing is written. */
  readonly calls: (address: string, calldata: readonly string[]) => Promise<Answer[]>
  readonly stop: () => Promise<void>
}

type Reply = { id: number; result?: string; error?: { message: string; data?: string } }

/**
 * Starts one.
 * @throws {Error} anvil does not start or answer within 10 s
 */
export const startEvm = async (): Promise<Evm> => {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  const program = new URL('../node_modules/.bin/anvil', import.meta.url).pathname
  const args = ['--port', String(port), '--silent', '--no-mining', '--gas-limit', '9000000000000000', '--prune-history', '--accounts', '1']
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const url = `http://127.0.0.1:${port}`
  const send = async (requests: readonly { method: string; params: unknown[] }[]): Promise<Reply[]> => {
    const body = JSON.stringify(requests.map((r, id) => ({ jsonrpc: '2.0', id, ...r })))
    const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    const replies = (await answer.json()) as Reply[]
    return replies.sort((a, b) => a.id - b.id)
  }
  const evm: Evm = {
    async place(address, code) {
      const [reply] = await send([{ method: 'anvil_setCode', params: [address, code] }])
      if (reply!.error) throw new Error(`anvil_setCode: ${reply!.error.message}`)
    },
    async calls(address, calldata) {
      const replies = await send(
        calldata.map((data) => ({ method: 'eth_call', params: [{ to: address, data, gas: '0x38d7ea4c68000' }, 'latest'] })),
      )
      return replies.map(({ result, error }) => {
        if (result !== undefined) return { ok: true, data: result }
        if (error?.data === undefined) throw new Error(`eth_call: ${error?.message}`)
        return { ok: false, data: error.data }
      })
    },
    async stop() {
      if (child.exitCode !== null || !child.kill('SIGTERM')) return
      await once(child, 'exit')
    },
  }
  for (let tries = 0; tries < 100; tries++) {
    if (child.exitCode !== null) throw new Error(`anvil exited with ${child.exitCode} before it answered`)
    try {
      await send([{ method: 'eth_chainId', params: [] }])
      return evm
    } catch (error) {
      // Refused until it listens; anything else it says is news.
      if (!(error instanceof TypeError)) throw error
      await sleep(100)
    }
  }
  await evm.stop()
  throw new Error(`anvil did not answer on ${url} within 10 s`)
}
