// onnxruntime as a peer, for matrix products only: node bench/peers/onnx.ts web|node THREADS.
import { encodeModel } from '@bitloom/model/onnx/encode'
import { matrix } from '../tasks.ts'
import { load, serve } from '../wire.ts'

const [kind, threads] = [process.argv[2]!, Number(process.argv[3])]
const module = await load(`onnxruntime-${kind}`)
const ort = module.default ?? module
if (kind === 'web') ort.env.wasm.numThreads = threads

serve({
  about: async () => ({ version: ort.env.versions, threads }),
  product: async (m, k, n) => {
    const model = encodeModel({
      name: 'product',
      nodes: [{ op: 'MatMul', inputs: ['a', 'b'], outputs: ['c'] }],
      initializers: [],
      inputs: [
        { name: 'a', dtype: 'f32', shape: [m, k] },
        { name: 'b', dtype: 'f32', shape: [k, n] },
      ],
      outputs: [{ name: 'c', dtype: 'f32', shape: [m, n] }],
    })
    const session = await ort.InferenceSession.create(model, { intraOpNumThreads: threads, interOpNumThreads: 1 })
    const feeds = {
      a: new ort.Tensor('float32', matrix('a', m * k), [m, k]),
      b: new ort.Tensor('float32', matrix('b', k * n), [k, n]),
    }
    return { run: () => session.run(feeds), end: () => session.release() }
  },
})
