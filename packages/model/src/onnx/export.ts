// A trained multilayer perceptron as an ONNX file, so that any runtime can use what the network trained.

import type { Shape } from '@bitloom/graph'
import { OnnxError } from './decode.ts'
import { encodeModel, type NodeToWrite, type TensorToWrite } from './encode.ts'

export type Activation = 'relu' | 'tanh' | 'sigmoid' | 'silu' | 'none'

/** One affine layer; the file's initializers are `${name}.weight` and `${name}.bias`, as in PyTorch and in our safetensors. */
export type MlpLayer = {
  readonly name?: string
  readonly weight: { readonly shape: Shape; readonly data: Float32Array }
  readonly bias?: { readonly shape: Shape; readonly data: Float32Array }
}

export type MlpExport = {
  readonly layers: readonly MlpLayer[]
  /** Between layers; the last layer's output is left as it is. */
  readonly activation: Activation
  /** 'out,in' (PyTorch's; default) or 'in,out'. */
  readonly weightLayout?: 'out,in' | 'in,out'
  readonly inputName?: string
  readonly outputName?: string
  /** Element type of the input: 'u8' is cast to f32 first. Default 'f32'. */
  readonly inputDtype?: 'f32' | 'u8'
  /** The input is divided by this, in f32: 255 for pixels. Default: no division. */
  readonly inputDivisor?: number
  /** What the model is called in the file. */
  readonly modelName?: string
  /** Strings that travel with the file: the task's id, the checkpoint's root. */
  readonly metadata?: Readonly<Record<string, string>>
}

/**
 * The ONNX file of an MLP: [batch, in] to [batch, out], any batch size.
 * @throws {OnnxError} no layers, or layers whose sizes do not meet
 */
export function exportMlp(mlp: MlpExport): Uint8Array {
  const { layers, activation, weightLayout = 'out,in', inputName = 'x', outputName = 'logits', inputDtype = 'f32', inputDivisor } = mlp
  const transposed = weightLayout === 'out,in'
  const nodes: NodeToWrite[] = []
  const initializers: TensorToWrite[] = []
  let value = inputName
  const apply = (op: string, inputs: readonly string[], output: string, ints: NodeToWrite['ints'] = {}): void => {
    nodes.push({ op, inputs, outputs: [output], ints })
    value = output
  }
  if (inputDtype === 'u8') apply('Cast', [value], `${inputName}/f32`, { to: 1 })
  if (inputDivisor !== undefined) {
    initializers.push({ name: `${inputName}/divisor`, shape: [], data: Float32Array.of(inputDivisor) })
    apply('Div', [value, `${inputName}/divisor`], `${inputName}/scaled`)
  }
  const width = sizesOf(layers, transposed)
  layers.forEach((layer, i) => {
    const name = layer.name ?? `fc${i + 1}`
    const last = i === layers.length - 1
    initializers.push({ name: `${name}.weight`, ...layer.weight })
    if (layer.bias) initializers.push({ name: `${name}.bias`, ...layer.bias })
    const operands = [value, `${name}.weight`, ...(layer.bias ? [`${name}.bias`] : [])]
    apply('Gemm', operands, last ? outputName : `${name}/out`, transposed ? { transB: 1 } : {})
    if (last || activation === 'none') return
    const before = value
    if (activation === 'silu') {
      apply('Sigmoid', [before], `${name}/sigmoid`)
      apply('Mul', [before, value], `${name}/active`)
    } else apply({ relu: 'Relu', tanh: 'Tanh', sigmoid: 'Sigmoid' }[activation], [before], `${name}/active`)
  })
  return encodeModel({
    name: mlp.modelName ?? 'mlp',
    nodes,
    initializers,
    inputs: [{ name: inputName, dtype: inputDtype, shape: ['batch', width.first] }],
    outputs: [{ name: outputName, dtype: 'f32', shape: ['batch', width.last] }],
    ...(mlp.metadata ? { metadata: mlp.metadata } : {}),
  })
}

/** The widths of the input and the output, once every layer is known to take what the one before it gives. */
function sizesOf(layers: readonly MlpLayer[], transposed: boolean): { first: number; last: number } {
  let first: number | undefined
  let before: number | undefined
  layers.forEach(({ weight, bias }, i) => {
    if (weight.shape.length !== 2) throw new OnnxError(`layer ${i}: a weight of shape [${weight.shape}] has no two axes`)
    const [rows, columns] = weight.shape as [number, number]
    const [takes, gives] = transposed ? [columns, rows] : [rows, columns]
    if (before !== undefined && takes !== before)
      throw new OnnxError(`layer ${i} takes ${takes} values, but layer ${i - 1} gives ${before}`)
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== gives))
      throw new OnnxError(`layer ${i}: a bias of shape [${bias.shape}] for ${gives} outputs`)
    first ??= takes
    before = gives
  })
  if (first === undefined || before === undefined) throw new OnnxError('a model without layers')
  return { first, last: before }
}
