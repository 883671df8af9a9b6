// Our backends by name and thread count, whichever of them this checkout and this machine have.
import * as engine from '@bitloom/engine'
import { load } from '../wire.ts'

/** @throws where there is no such backend; the message is what the table says instead of a figure. */
export const backendOf = async (
  name: 'wasm' | 'native',
  threads: number,
): Promise<{ readonly backend: engine.Backend; readonly reason: string }> => {
  const choose = await load('@bitloom/engine/choose').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ERR_MODULE_NOT_FOUND') return undefined
    throw error
  })
  if (choose) return choose.chooseBackend({ backend: name, threads })
  if (name === 'wasm' && threads === 1) return { backend: engine.wasm, reason: 'the only one here' }
  throw new Error(`this checkout has no ${name} backend of ${threads} threads`)
}
