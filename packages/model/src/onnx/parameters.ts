// A file's weights as the parameters of a training step: which are frozen and why, what they are called, and what people should know about them.

import type { Parameter } from '../nn.ts'
import type { OnnxTensor } from './decode.ts'
import { OnnxError } from './error.ts'
import { slotName } from './names.ts'
import { ELEMENT } from './schema.ts'
import { floatsOf, globs, isBufferLike, listed } from './trainable.ts'

type Roles = {
  /** Weights that a gradient reaches. */
  readonly reached: ReadonlySet<string>
  /** Running statistics. */
  readonly running: ReadonlySet<string>
  /** Every weight of the file, read by the model or not. */
  readonly all: readonly string[]
  readonly options: { readonly freeze?: readonly string[]; readonly trainOnly?: readonly string[] }
}

/**
 * The weights that a model reads as parameters; `original` holds the file's name of each.
 * @throws {OnnxError} a pattern that matches no weight
 */
export function parametersOf(
  weights: ReadonlyMap<string, OnnxTensor>,
  { reached, running, all, options }: Roles,
): { readonly parameters: Parameter[]; readonly original: ReadonlyMap<string, string>; readonly notes: string[] } {
  checkPatterns(options, all)
  const freeze = globs(options.freeze ?? [])
  const only = options.trainOnly && globs(options.trainOnly)
  const [endless, rounded, narrow, idle, buffers]: string[][] = [[], [], [], [], []]
  const parameters = [...weights].map(([name, t]): Parameter => {
    const floats = floatsOf(t)
    const finite = floats.data.every(Number.isFinite)
    const still = !reached.has(name) && !running.has(name)
    if (floats.rounded) rounded.push(name)
    if (t.element === ELEMENT.f16 || t.element === ELEMENT.bf16) narrow.push(name)
    if (!finite) endless.push(name)
    else if (still) idle.push(name)
    const frozen = running.has(name) || still || freeze(name) || (only !== undefined && !only(name)) || !finite
    if (!frozen && isBufferLike(t)) buffers.push(name)
    return { name: slotName(name), shape: t.shape, initial: floats.data, ...(frozen ? { frozen } : {}) }
  })
  const original = new Map([...weights.keys()].map((name) => [slotName(name), name]))
  const renamed = [...original].flatMap(([slot, name]) => (slot === name ? [] : [slot]))
  const unread = all.filter((name) => !weights.has(name))
  const said: readonly [readonly string[], string][] = [
    [renamed, 'parameters have names that no slot can have and are shortened'],
    [rounded, 'weights are stored as float64 and were rounded to float32'],
    [narrow, 'weights are stored as float16 or bfloat16 and train as float32'],
    [endless, 'tensors hold infinities or NaN and do not train'],
    [idle, 'tensors do not train, because no gradient reaches them (masks, comparisons)'],
    [buffers, 'tensors that train look like buffers, which a file does not tell from parameters; if they are, freeze them'],
    [unread, 'float tensors of the file are no weights: nothing reads them, or an operator needs their value beforehand'],
  ]
  const notes = said.flatMap(([names, what]) => (names.length > 0 ? [`${names.length} ${what}: ${listed(names)}`] : []))
  return { parameters, original, notes }
}

/** A pattern that matches nothing is a slip of the pen. */
function checkPatterns(options: Roles['options'], names: readonly string[]): void {
  for (const pattern of [...(options.freeze ?? []), ...(options.trainOnly ?? [])])
    if (!names.some(globs([pattern])))
      throw new OnnxError(`the pattern "${pattern}" matches no parameter\nThe parameters are ${listed(names, 20)}`)
}
