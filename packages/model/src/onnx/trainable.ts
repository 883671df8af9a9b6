// Which of a file's tensors train: float initializers, copies of them that the exporter merged because they were equal, and weights written as Constant nodes.

import { sizeOf } from '@bitloom/graph'
import { halfToNumber } from '../safetensors.ts'
import type { OnnxModel, OnnxNode, OnnxTensor } from './decode.ts'
import { ELEMENT } from './schema.ts'

/** What a file keeps, told apart by what it is for. */
export type Weights = {
  /** Float tensors that are parameters, by the name that training knows them by. */
  readonly parameters: ReadonlyMap<string, OnnxTensor>
  /** Everything else that is stored: shapes, index tables, factors of formulas. */
  readonly constants: ReadonlyMap<string, OnnxTensor>
  /** Nodes without those whose output has become a parameter or a constant. */
  readonly nodes: readonly OnnxNode[]
  readonly warnings: readonly string[]
}

const FLOATS: readonly number[] = [ELEMENT.f32, ELEMENT.f16, ELEMENT.bf16, ELEMENT.f64]
/** What the exporters call a tensor that has no name in the model: PyTorch's two, and that of node outputs. */
const GENERATED =
  /^onnx::(\w+?)_\d+$|^(?:val|t|const|constant|scalar_tensor_default|lift_fresh_copy|full|arange|_to_copy)(?:_?\d+)?$|(?:^|\/)Constant(?:_\d+)?_output_\d+$/i
/** Inputs at which an operator takes what can only be a weight, where the file gives it as a constant. */
const WEIGHT_INPUTS: Readonly<Record<string, readonly number[]>> = {
  MatMul: [0, 1],
  Gemm: [1, 2],
  Conv: [1, 2],
  ConvTranspose: [1, 2],
  LSTM: [1, 2, 3, 7],
  GRU: [1, 2, 3],
  RNN: [1, 2, 3],
}
/** Operators that hand a weight on in another form. */
const HANDS_ON = new Set(['Transpose', 'Reshape', 'Unsqueeze', 'Squeeze', 'Cast', 'Identity', 'Flatten'])

const EXPORT_LINE = 'torch.onnx.export(model, …, training=TrainingMode.TRAINING, do_constant_folding=False, dynamo=False)'

/** Sorts what the file keeps into parameters and constants. */
export function weightsOf(model: OnnxModel): Weights {
  const parameters = new Map<string, OnnxTensor>()
  const constants = new Map<string, OnnxTensor>()
  const warnings: string[] = []
  const unnamed: string[] = []
  for (const t of model.initializers.values()) {
    const generated = GENERATED.test(t.name)
    if (!FLOATS.includes(t.element) || sizeOf(t.shape) === 0 || (generated && (sizeOf(t.shape) === 1 || isBufferLike(t))))
      constants.set(t.name, t)
    else {
      parameters.set(t.name, t)
      if (generated) unnamed.push(t.name)
    }
  }
  const carriers = weightCarriers(model.nodes)
  const taken = new Set(model.nodes.flatMap((n) => n.outputs))
  // a file without float initializers keeps all of its weights so, norms and biases too
  const wholeFile = parameters.size === 0 && model.nodes.some((n) => n.op === 'Constant' && carriers.has(n.outputs[0]))
  const nodes: OnnxNode[] = []
  const found: string[] = []
  for (const node of model.nodes) {
    const [input, output] = [node.inputs[0], node.outputs[0]]
    const original = node.op === 'Identity' && node.domain === '' ? parameters.get(input) : undefined
    if (original && output && !model.outputs.some((o) => o.name === output)) {
      // PyTorch outside of training mode writes equal tensors once; the copies are parameters with a life of their own, tied ones are one initializer read twice
      parameters.set(output, { ...original, name: output })
      continue
    }
    const value = node.op === 'Constant' ? node.attributes.value : undefined
    if (isTensor(value) && FLOATS.includes(value.element) && sizeOf(value.shape) > 1 && (wholeFile || carriers.has(output))) {
      const name = value.name && ![parameters, constants, taken].some((names) => names.has(value.name)) ? value.name : output
      parameters.set(name, { ...value, name })
      found.push(name)
      if (name !== output) nodes.push({ ...node, op: 'Identity', inputs: [name], attributes: {} })
      continue
    }
    nodes.push(node)
  }
  if (found.length > 0) warnings.push(`${found.length} weights are Constant nodes of the file and are trained: ${listed(found)}`)
  if (unnamed.length > 0) warnings.push(renamed(unnamed, model))
  if (model.opset < 7 || model.opset > 22)
    warnings.push(`the file is of opset ${model.opset}; 7 to 21 are what is tested\nExport with opset 17 if the model misbehaves.`)
  const inferring = model.nodes.filter((n) => n.op === 'BatchNormalization' && n.domain === '' && infers(n))
  if (inferring.length > 0)
    warnings.push(
      `${inferring.length} batch norms are exported for inference: they use their running statistics and do not update them\nTo train them as PyTorch does export with ${EXPORT_LINE}`,
    )
  return { parameters, constants, nodes, warnings }
}

/** Whether a batch norm's file form is that of inference: no training mode, or before opset 14 a single output. */
const infers = (n: OnnxNode): boolean => (n.opset >= 14 ? n.attributes.training_mode !== 1 : n.outputs.filter((o) => o !== '').length === 1)

/** Tensors that modules register as buffers: masks and tables by their usual names, or because they hold two values only. */
export function isBufferLike(t: OnnxTensor): boolean {
  if (/(^|[._/])(\w*mask|inv_freq|tril|triu|mean|std|pe|freqs?_?\w*|relative_coords\w*)$/i.test(t.name)) return true
  if (t.shape.length < 2 || !(t.data instanceof Float32Array)) return false
  const [first] = t.data
  const second = t.data.find((x) => x !== first)
  return second !== undefined && t.data.every((x) => x === first || x === second)
}

const isTensor = (a: unknown): a is OnnxTensor => typeof a === 'object' && a !== null && 'data' in a && 'element' in a

/** Names whose value arrives where an operator takes a weight. */
function weightCarriers(nodes: readonly OnnxNode[]): Set<string> {
  const carriers = new Set<string>()
  for (const node of nodes) for (const i of WEIGHT_INPUTS[node.op] ?? []) if (node.inputs[i]) carriers.add(node.inputs[i])
  for (let i = nodes.length - 1; i >= 0; i--)
    if (HANDS_ON.has(nodes[i].op) && nodes[i].outputs.some((o) => carriers.has(o)) && nodes[i].inputs[0]) carriers.add(nodes[i].inputs[0])
  return carriers
}

/** Why weights have no names, and what to do about it. */
function renamed(names: readonly string[], model: OnnxModel): string {
  const ofConv = new Set(model.nodes.flatMap((node) => (node.op.startsWith('Conv') ? node.inputs : [])))
  const merged = names.some((n) => ofConv.has(n)) && !model.nodes.some((n) => n.op === 'BatchNormalization')
  return [
    `${names.length} weights lost their names in the export (${listed(names)}): constant folding computed them from the model's own`,
    merged
      ? 'Convolutions and the batch norms after them were probably merged into one: training then differs from the model in PyTorch'
      : 'They train as they are stored, but weights that were tied in the model no longer are, and their names in the result are these',
    `Export with ${EXPORT_LINE}`,
  ].join('\n')
}

/** A list that stays readable. */
export const listed = (names: readonly string[], most = 5): string =>
  names.length <= most ? names.join(', ') : `${names.slice(0, most).join(', ')} and ${names.length - most} more`

/** A parameter's elements as f32, and whether converting lost anything that training could tell. */
export function floatsOf(t: OnnxTensor): { readonly data: Float32Array; readonly rounded: boolean } {
  if (t.data instanceof Float32Array) return { data: t.data, rounded: false }
  if (t.element === ELEMENT.f16) return { data: Float32Array.from(t.data as Uint16Array, halfToNumber), rounded: false }
  const data = Float32Array.from(t.data as Float64Array)
  return { data, rounded: data.some((x, i) => x !== (t.data as Float64Array)[i]) }
}

/** A matcher of names: * stands for any run of characters, ? for one. */
export function globs(patterns: readonly string[]): (name: string) => boolean {
  const expressions = patterns.map(
    (p) =>
      new RegExp(
        `^${p
          .replace(/[.+^${}()|[\]\\]/g, '\\$&')
          .replace(/\*+/g, '.*')
          .replace(/\?/g, '.')}$`,
        's',
      ),
  )
  return (name) => expressions.some((e) => e.test(name))
}
