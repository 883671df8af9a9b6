// Which tensors of an imported file are which parameters of a case: by name, and where the export lost a name, by value.

import { type Expr, type Shape, sizeOf } from '@bitloom/graph'
import type { Lookup, Parameter } from '../nn.ts'
import type { LoadedTensor } from '../safetensors.ts'
import { transpose } from '../tensor.ts'
import { CaseError } from './case.ts'

export type Weights = {
  /** By the case's names, `frozen` all that do not train. */
  readonly parameters: readonly Parameter[]
  /** The imported model's lookup out of the case's. */
  readonly lookup: (read: Lookup) => Lookup
  readonly notes: readonly string[]
}

type Named = { readonly trainable: readonly string[] | undefined; readonly frozen: readonly string[]; readonly buffers: readonly string[] }
type Place = { readonly name: string; readonly turned: boolean }

/** A name for a slot that no case will use. */
const place = (name: string, turned = false): Place => ({ name, turned })

/**
 * Matches the tensors of an import with those of a case and gives them their initial values.
 * @param initial the weights before step 1; where a name is missing, the file's own value counts
 * @throws {CaseError} a trainable name is in the case and nowhere in the model, or a shape differs
 */
export function weightsOfCase(named: Named, imported: readonly Parameter[], initial: ReadonlyMap<string, LoadedTensor>): Weights {
  const notes: string[] = []
  const known = new Set([...(named.trainable ?? []), ...named.frozen, ...named.buffers])
  const places = new Map<string, Place>()
  const shapes = new Map<string, { shape: Shape; own: Float32Array; frozen: boolean }>()
  const own = (p: Parameter): Float32Array => p.initial as Float32Array
  for (const p of imported)
    if (known.has(p.name) || named.trainable === undefined) {
      places.set(p.name, place(p.name))
      shapes.set(p.name, { shape: p.shape, own: own(p), frozen: p.frozen ?? false })
    }
  // names that folding constants replaced: the value, or its transpose, tells
  for (const p of imported) {
    if (places.has(p.name)) continue
    const found = [...initial].find(
      ([name, t]) => known.has(name) && t.data instanceof Float32Array && isDistinct(t.data) && (same(t, p) || sameTurned(t, p)),
    )
    if (found) {
      const [name, t] = found
      const turned = !same(t, p)
      places.set(p.name, place(name, turned))
      if (!shapes.has(name)) shapes.set(name, { shape: t.shape, own: t.data as Float32Array, frozen: false })
      notes.push(`"${p.name}" of the model holds ${turned ? 'the transpose of ' : ''}"${name}" and is trained as that`)
    } else {
      places.set(p.name, place(p.name))
      shapes.set(p.name, { shape: p.shape, own: own(p), frozen: true })
    }
  }
  // tensors of one value look alike, so folded ones are told by their order: the file's and the case's are both the model's own
  const lost = [...known].filter((name) => !shapes.has(name) && initial.has(name))
  for (const [name, p] of inOrder(lost, imported, places, initial)) {
    const t = initial.get(name)!
    const turned = `${t.shape}` !== `${p.shape}`
    shapes.delete(p.name)
    places.set(p.name, place(name, turned))
    shapes.set(name, { shape: t.shape, own: t.data as Float32Array, frozen: false })
    notes.push(
      `"${p.name}" of the model is taken for ${turned ? 'the transpose of ' : ''}"${name}": the order of tensors that hold one value`,
    )
  }
  const missing = (named.trainable ?? []).filter((name) => !shapes.has(name))
  if (missing.length > 0)
    throw new CaseError(
      `case.json: "trainable" names ${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ` and ${missing.length - 5} more` : ''}, which the model does not have\nIts float tensors are ${imported.map((p) => p.name).join(', ')}.`,
    )
  const trainable = new Set(named.trainable ?? [...shapes].filter(([, s]) => !s.frozen).map(([name]) => name))
  const parameters = [...shapes].map(([name, { shape, own: value }]): Parameter => {
    const given = initial.get(name)
    if (given && (sizeOf(given.shape) !== sizeOf(shape) || !(given.data instanceof Float32Array)))
      throw new CaseError(`init.safetensors: "${name}" is ${given.stored} [${given.shape}], the model's is float32 [${shape}]`)
    return { name, shape, initial: given ? (given.data as Float32Array) : value, ...(trainable.has(name) ? {} : { frozen: true }) }
  })
  // the case's order is PyTorch's: gradients of a global norm are added up in it
  const rank = new Map((named.trainable ?? []).map((name, i) => [name, i]))
  parameters.sort((a, b) => (rank.get(a.name) ?? rank.size) - (rank.get(b.name) ?? rank.size))
  const lookup =
    (read: Lookup): Lookup =>
    (name): Expr => {
      const at = places.get(name)
      if (!at) return read(name)
      const e = read(at.name)
      return at.turned ? transpose(e) : e
    }
  return { parameters, lookup, notes }
}

/** Names without a tensor and unnamed tensors of one value, shape by shape; only where there are as many of these as of those. */
function inOrder(
  names: readonly string[],
  imported: readonly Parameter[],
  places: ReadonlyMap<string, Place>,
  initial: ReadonlyMap<string, LoadedTensor>,
): [string, Parameter][] {
  const kind = (shape: Shape, x: Float32Array): string => `${shape} of ${x[0]}`
  const uniform = (x: unknown): x is Float32Array => x instanceof Float32Array && x.length > 0 && x.every((v) => v === x[0])
  const groups = new Map<string, string[]>()
  for (const name of names) {
    const { shape, data } = initial.get(name)!
    if (uniform(data)) groups.set(kind(shape, data), [...(groups.get(kind(shape, data)) ?? []), name])
  }
  const free = imported.filter((p) => places.get(p.name)?.name === p.name && !initial.has(p.name) && uniform(p.initial))
  return [...groups].flatMap(([key, group]): [string, Parameter][] => {
    const fits = free.filter((p) =>
      [p.shape, ...(p.shape.length === 2 ? [[...p.shape].reverse()] : [])].some((s) => kind(s, p.initial as Float32Array) === key),
    )
    return fits.length === group.length ? group.map((name, i) => [name, fits[i]]) : []
  })
}

/** Whether values say which tensor it is: zeros and ones look alike everywhere. */
const isDistinct = (x: Float32Array): boolean => x.length > 8 && x.some((v) => v !== x[0])

const same = (t: LoadedTensor, p: Parameter): boolean =>
  `${t.shape}` === `${p.shape}` && (t.data as Float32Array).every((x, i) => x === (p.initial as Float32Array)[i])

function sameTurned(t: LoadedTensor, p: Parameter): boolean {
  if (t.shape.length !== 2 || p.shape.length !== 2 || t.shape[0] !== p.shape[1] || t.shape[1] !== p.shape[0]) return false
  const [rows, columns] = t.shape
  const value = p.initial as Float32Array
  return (t.data as Float32Array).every((x, i) => x === value[(i % columns) * rows + Math.floor(i / columns)])
}
