// Hashes groups with the processor's own instructions where it has them, there is a C compiler, and the result is the same; else in WebAssembly.

import { readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fastTensorRoot } from '@bitloom/engine'
import { sharedObjects } from '@bitloom/engine/native/cache'
import { findCompiler } from '@bitloom/engine/native/compiler'
import { CHUNK } from '@bitloom/graph/merkle'
import { sameBytes } from '@bitloom/graph/sha256'
import { GROUP_BYTES, HASH_BYTES } from './groups.ts'

export interface GroupHash {
  readonly name: 'native' | 'wasm'
  /** Why it is not native, where it is not. */
  readonly reason?: string
  /** The node over a group's bytes. */
  readonly hash: (group: Uint8Array) => Uint8Array
}

let chosen: GroupHash | undefined

/** The quicker way that this machine has, tried once a thread (a third of a second for the compiler the first time, then from its cache). */
export function groupHash(): GroupHash {
  chosen ??= choose()
  return chosen
}

function choose(): GroupHash {
  try {
    const native = load()
    const sample = new Uint8Array(GROUP_BYTES).map((_, i) => (i * 2654435761) >>> 13)
    if (!sameBytes(native(sample), fastTensorRoot(sample))) throw new Error('its hashes differ from those of WebAssembly')
    return { name: 'native', hash: (group) => (group.length === GROUP_BYTES ? native(group) : fastTensorRoot(group)) }
  } catch (error) {
    return { name: 'wasm', reason: (error as Error).message.split('\n')[0]!, hash: fastTensorRoot }
  }
}

type Koffi = typeof import('koffi')

/** @throws {Error} no compiler, no koffi, no such instructions */
function load(): (group: Uint8Array) => Uint8Array {
  const koffi = createRequire(import.meta.url)('koffi') as Koffi
  const text = readFileSync(new URL('./sha256.c', import.meta.url), 'utf8')
  const { path, temporary } = sharedObjects(findCompiler(), [text], '-O2')[0]!
  // held for as long as the thread lives: koffi unloads what nobody holds
  const library = koffi.load(path)
  if (temporary) rmSync(dirname(path), { recursive: true, force: true })
  const groupNode = library.func('void bl_group_node(const uint8_t *data, int32_t chunks, uint8_t *scratch)')
  const scratch = new Uint8Array((GROUP_BYTES / CHUNK) * HASH_BYTES)
  return (group) => {
    groupNode(group, GROUP_BYTES / CHUNK, scratch)
    return scratch.slice(0, HASH_BYTES)
  }
}
