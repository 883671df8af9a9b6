// What an ONNX model is given at run time, every axis with a size.

import { checkShape, type Shape } from '@bitloom/graph'
import { OnnxError, type OnnxModel } from './decode.ts'
import { kindOf } from './value.ts'

type Port = { readonly name: string; readonly dtype: 'f32' | 'i32'; readonly shape: Shape }
type Options = {
  readonly dims?: Readonly<Record<string, number>>
  readonly inputs?: Readonly<Record<string, Shape>>
  readonly values?: Readonly<Record<string, unknown>>
}

/**
 * The inputs with their sizes.
 * @throws {OnnxError} an axis has no size, a binding names nothing or contradicts the file, an element type that is not read
 */
export function inputsOf(model: OnnxModel, options: Options): Port[] {
  const names = model.inputs.map((v) => v.name)
  for (const name of Object.keys({ ...options.inputs, ...options.values }))
    if (!names.includes(name)) throw new OnnxError(`there is no input "${name}"; the inputs are ${names.join(', ')}`)
  const bound = new Map(Object.entries(options.dims ?? {}))
  const symbols = new Set(model.inputs.flatMap((v) => (v.shape ?? []).filter((d) => typeof d === 'string' && d !== '')))
  for (const name of bound.keys())
    if (!symbols.has(name))
      throw new OnnxError(`there is no axis "${name}"; the axes without a size are ${[...symbols].join(', ') || 'none'}`)
  for (const v of model.inputs) {
    const whole = options.inputs?.[v.name]
    if (!whole || !v.shape) continue
    if (whole.length !== v.shape.length) throw new OnnxError(`input "${v.name}" has ${v.shape.length} axes [${v.shape}], not [${whole}]`)
    v.shape.forEach((d, axis) => {
      const size = typeof d === 'string' ? (bound.get(d) ?? whole[axis]) : d
      if (size !== whole[axis])
        throw new OnnxError(`input "${v.name}": axis ${axis} is ${d}${typeof d === 'string' ? ` = ${size}` : ''}, not ${whole[axis]}`)
      if (typeof d === 'string' && d !== '') bound.set(d, size)
    })
  }
  const open = new Set<string>()
  const ports = model.inputs
    .filter((v) => !(options.values && v.name in options.values))
    .map((v): Port => {
      const kind = kindOf(v.element)
      if (!kind) throw new OnnxError(`input "${v.name}" has elements of type ${v.element}; numbers and truth values are read`)
      const whole = options.inputs?.[v.name]
      if (!v.shape && !whole) open.add(`the whole shape of "${v.name}"`)
      const shape =
        whole ??
        (v.shape ?? []).map((d, axis) => {
          const size = typeof d === 'string' ? bound.get(d) : d
          if (size === undefined) open.add(d === '' ? `axis ${axis} of "${v.name}"` : `${d} (axis ${axis} of "${v.name}")`)
          return size ?? 1
        })
      return { name: v.name, dtype: kind === 'f32' || kind === 'f64' ? 'f32' : 'i32', shape }
    })
  if (open.size > 0)
    throw new OnnxError(`sizes are left open: ${[...open].join(', ')}\nA Bitloom graph is static: bind each, for instance batch=64.`)
  for (const { name, shape } of ports) {
    try {
      checkShape(shape)
    } catch (cause) {
      throw new OnnxError(`input "${name}": ${(cause as Error).message}`, { cause })
    }
  }
  return ports
}

/** What is worth knowing about how inputs are taken. */
export function inputNotes(model: OnnxModel): string[] {
  const wide = model.inputs.filter((v) => kindOf(v.element) === 'f64').map((v) => v.name)
  return wide.length > 0 ? [`inputs of float64 are taken and computed with as float32: ${wide.join(', ')}`] : []
}
