// The one error of everything that has to do with ONNX files.

/** An ONNX file, or what should become one, is not what it should be. */
export class OnnxError extends Error {
  override name = 'model.OnnxError'
}
