// What to do about an operator that has no place in a static graph of float32 and int32: the nearest way out, by name.

const BRANCHES =
  'the graph is static; export by tracing (torch.onnx.export of a module, not of a scripted one), so that branches and loops are written out'
const SIZES = "the result's size depends on the data; replace it by a mask of fixed size in the model"
const QUANTIZED = 'export the float model; quantize after training'
const TEXT = 'prepare text before the model and give it numbers'
const LISTS =
  'lists of tensors have no place in a graph; in PyTorch take the parts of a split by name (a, b = x.split(…)), then it is exported as Split'
const SPECTRAL = 'compute the transform before the model, or write it as a product with a matrix of cosines'

const WAYS: Readonly<Record<string, string>> = {
  If: BRANCHES,
  Loop: BRANCHES,
  Scan: BRANCHES,
  NonZero: SIZES,
  Unique: SIZES,
  Compress: SIZES,
  NonMaxSuppression: SIZES,
  QuantizeLinear: QUANTIZED,
  DequantizeLinear: QUANTIZED,
  DynamicQuantizeLinear: QUANTIZED,
  QLinearConv: QUANTIZED,
  QLinearMatMul: QUANTIZED,
  ConvInteger: QUANTIZED,
  MatMulInteger: QUANTIZED,
  DFT: SPECTRAL,
  STFT: SPECTRAL,
  MelWeightMatrix: SPECTRAL,
  GridSample: 'sample before the model, or use Resize',
  RoiAlign: 'cut the regions out before the model',
  MaxRoiPool: 'cut the regions out before the model',
  DeformConv: 'use Conv',
  Det: 'write it out for the size at hand',
  Multinomial: 'draw outside of the model',
  RandomUniform: 'give the random numbers as an input',
  RandomNormal: 'give the random numbers as an input',
}

/** One line about what to do instead. */
export function nearestWayOut(op: string): string {
  if (Object.hasOwn(WAYS, op)) return WAYS[op]
  if (/Sequence|Optional/.test(op)) return LISTS
  if (/^(String|Regex|Tfidf|Image)/i.test(op)) return TEXT
  if (op.includes('.')) return 'export with standard operators only (torch.onnx.export without custom ones, opset 17)'
  return 'write it with other operators in the model (opset 17 of torch.onnx.export does so for most)'
}
