// Computes what an exported graph gives for given inputs, and the gradient of Σ output·cotangent for every parameter and float input.
//   npm run gradcheck -- DIR OUT [--training | --eval] [--json]
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { wasm } from '@bitloom/engine'
import { type Checked, gradcheck } from '@bitloom/model/reference/gradcheck'
import { writeSafetensors } from '@bitloom/model/safetensors'

const USAGE = `usage: npm run gradcheck -- DIR OUT [--training | --eval] [--json]

DIR holds
  model.onnx                an exported graph (or the only .onnx file)
  its inputs, any of        inputs.safetensors, inputs.npz, inputs.json: tensors under the names of the graph's inputs
                            NAME.npy, NAME.safetensors, NAME.json; input_0.pb, input_0.npy, ... in the graph's order
                            (also inside folders such as test_data_set_0)
  cotangents, if any        cotangent.npy (.pb, .json, .safetensors), or tensors called cotangent, cotangent/OUTPUT,
                            or cotangents.safetensors by output; without any, ones
  init.safetensors, if any  values of parameters in place of the model's
  case.json or manifest.json, if any   inputs and cotangents: { NAME: "file" | "file:key" | { file, key } },
                            onnx: "file", training: true | false, data: { file: { dtype, shape } } for raw arrays
OUT gets
  outputs.safetensors       by output name
  gradients.safetensors     by parameter or input name
  summary.json              where each tensor came from, norms, notes
  --training / --eval       whether batch norm and dropout train; by default what the graph was exported for`

const MAX_DEPTH = 4

/** Every file below a folder, as paths with "/". */
function filesBelow(folder: string, depth = 0): string[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const path = join(folder, name)
      if (!statSync(path).isDirectory()) return [path]
      return depth < MAX_DEPTH ? filesBelow(path, depth + 1) : []
    })
}

/** Checks the graph in `folder` and writes its results into `out`. */
export function runGradcheck(folder: string, out: string, training?: boolean): Checked {
  const files = filesBelow(folder).map((f) => relative(folder, f).split(sep).join('/'))
  const read = (name: string): Uint8Array | undefined => {
    const path = join(folder, name)
    return existsSync(path) && statSync(path).isFile() ? new Uint8Array(readFileSync(path)) : undefined
  }
  const checked = gradcheck(files, read, wasm.compile, training)
  mkdirSync(out, { recursive: true })
  writeFileSync(join(out, 'outputs.safetensors'), writeSafetensors(checked.outputs))
  writeFileSync(join(out, 'gradients.safetensors'), writeSafetensors(checked.gradients))
  writeFileSync(join(out, 'summary.json'), `${JSON.stringify(checked.summary, null, 1)}\n`)
  return checked
}

if (import.meta.main) {
  const options = process.argv.slice(2)
  const folders = options.filter((o) => !o.startsWith('--'))
  if (options.includes('--help') || folders.length !== 2) {
    console.error(USAGE)
    process.exit(options.includes('--help') ? 0 : 2)
  }
  try {
    const training = options.includes('--training') ? true : options.includes('--eval') ? false : undefined
    const { summary } = runGradcheck(folders[0], folders[1], training)
    for (const note of summary.notes) console.error(`note: ${note}`)
    if (options.includes('--json')) console.log(JSON.stringify(summary))
    else {
      for (const [name, { shape, from }] of Object.entries(summary.inputs)) console.log(`input     ${name} [${shape}] from ${from}`)
      for (const [name, from] of Object.entries(summary.cotangents)) console.log(`cotangent ${name} from ${from}`)
      for (const [name, { shape, norm }] of Object.entries(summary.gradients))
        console.log(`gradient  ${name} [${shape}] norm ${norm.toPrecision(6)}`)
      console.log(`Σ output·cotangent = ${summary.value}`)
    }
  } catch (error) {
    // a system's own error (no such folder, no right to write) says enough without a stack
    if (!(error instanceof Error) || (!/^(model|engine|graph)\./.test(error.name) && !('syscall' in error))) throw error
    console.error(error.message)
    process.exit(1)
  }
}
