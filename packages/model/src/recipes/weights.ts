// First weights from a safetensors file, in place of drawn ones, with every difference between file and model said at once.

import { readFileSync, statSync } from 'node:fs'
import { sizeOf } from '@bitloom/graph'
import type { Parameter } from '../nn.ts'
import { readSafetensors } from '../safetensors.ts'
import { RecipeError } from './recipe.ts'

const MAX_BYTES = 2 ** 31

export type Loaded = ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>

/** The float tensors of a file; `transformer.` before all names, as some files have it, is left out. */
export function readWeights(path: string): Loaded {
  const { size } = statSync(path, { throwIfNoEntry: false }) ?? { size: -1 }
  if (size < 0) throw new RecipeError(`there is no file ${path}`)
  if (size > MAX_BYTES) throw new RecipeError(`${path}: ${size} bytes, more than ${MAX_BYTES}`)
  const out = new Map<string, { shape: readonly number[]; data: Float32Array }>()
  for (const [name, t] of readSafetensors(new Uint8Array(readFileSync(path))))
    if (t.data instanceof Float32Array) out.set(name.replace(/^transformer\./, ''), { shape: t.shape, data: t.data })
  return out
}

/** The size of a file's tensor along an axis. @throws {RecipeError} it is not there */
export function sizeIn(weights: Loaded, path: string, name: string, axis: number): number {
  const size = weights.get(name)?.shape[axis]
  if (size === undefined) throw new RecipeError(`${path} has no tensor "${name}"; it has ${[...weights.keys()].slice(0, 8).join(', ')}, …`)
  return size
}

/**
 * The parameters as the file has them. A longer first axis in the file is cut where `cut` names the parameter (positions beyond the block).
 * @throws {RecipeError} tensors are missing or have another shape
 */
export function startingFrom(parameters: readonly Parameter[], weights: Loaded, path: string, cut: readonly string[] = []): Parameter[] {
  const wrong: string[] = []
  const out = parameters.map((p): Parameter => {
    const found = weights.get(p.name)
    const rows = found && cut.includes(p.name) && found.shape[0] >= p.shape[0] ? [p.shape[0], ...found.shape.slice(1)] : found?.shape
    if (!found || `${rows}` !== `${p.shape}`) wrong.push(`${p.name} [${p.shape}]${found ? `, which is [${found.shape}] there` : ''}`)
    return found ? { ...p, initial: found.data.slice(0, sizeOf(p.shape)) } : p
  })
  if (wrong.length > 0)
    throw new RecipeError(
      `${path} lacks ${wrong.length} of ${parameters.length} tensors: ${wrong.slice(0, 4).join('; ')}${wrong.length > 4 ? '; …' : ''}`,
    )
  return out
}
