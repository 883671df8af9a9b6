// What a submitter takes home: weights as safetensors and ONNX, the curves as csv, svg and for TensorBoard, how to make it again; each written whole or not at all.

import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Backend } from '@bitloom/engine'
import { type Data, fromBytes, interpret, makeGraph } from '@bitloom/graph'
import type { Schedule } from '@bitloom/model'
import { curveCsv, curveSvg } from '@bitloom/model/curve'
import { writeSafetensors } from '@bitloom/model/safetensors'
import { broadcastTo, divu, full, range } from '@bitloom/model/tensor'
import { type Scalar, writeEvents } from '@bitloom/model/tensorboard'
import { writeFileAtomic } from '@bitloom/node/store'
import type { Hex } from 'viem'
import { type Judged, machineOf, type Prepared, type Ready, tensorIn } from './recipes.ts'

export type Artefacts = {
  readonly paths: readonly string[] /** SHA-256 of each file, by name. */
  readonly sha256: Readonly<Record<string, Hex>>
}

/** One file for a run, as TensorBoard looks for them. */
export const EVENTS_FILE = 'events.out.tfevents.0.bitloom'

/** Writes model.safetensors, model.onnx where the recipe has one, the curves, recipe.json and the recipe's own files into `directory`. */
export function writeArtefacts(
  directory: string,
  ready: Ready,
  state: readonly Data[],
  root: Hex,
  backend: Backend,
  judged?: Judged,
): Artefacts {
  mkdirSync(directory, { recursive: true })
  const { recipe, prepared } = ready
  const { job } = prepared
  const metadata = { 'bitloom.state': root, 'bitloom.recipe': recipe.name }
  const tensor = tensorIn(job, state)
  const tensors = Object.fromEntries(
    job.parameters.map((name) => [
      name,
      { dtype: 'F32' as const, shape: job.graph.slots.find((slot) => slot.name === name)!.shape, data: tensor(name) },
    ]),
  )
  const loss = state[job.lossSlot] as Float32Array
  const files: Record<string, Uint8Array | string> = {
    'model.safetensors': writeSafetensors(tensors, metadata),
    ...(prepared.onnx ? { 'model.onnx': prepared.onnx(tensor, metadata) } : {}),
    'loss.csv': curveCsv(loss),
    'loss.svg': curveSvg(loss, { title: `${job.name}: training loss` }),
    [EVENTS_FILE]: writeEvents(scalarsOf(prepared, loss, judged)),
    'recipe.json': recipeFile(ready),
    ...prepared.files?.(tensor, machineOf(backend)),
  }
  const hashes: Record<string, Hex> = {}
  for (const [name, content] of Object.entries(files)) {
    writeFileAtomic(join(directory, name), content)
    hashes[name] = `0x${createHash('sha256').update(content).digest('hex')}`
  }
  return { paths: Object.keys(files).map((name) => join(directory, name)), sha256: hashes }
}

/** What `recipe.json` holds: everything that `bitloom verify --rerun` needs to make the same job. */
export type RecipeFile = {
  readonly recipe: string
  /** Where it came from, if from a file. */
  readonly file?: string
  readonly seed: number
  readonly settings: Readonly<Record<string, number | string | boolean>>
  readonly cut: Ready['cut']
}

const recipeFile = ({ recipe, seed, settings, cut }: Ready): string =>
  `${JSON.stringify({ recipe: recipe.name, ...(recipe.file ? { file: recipe.file } : {}), seed, settings, cut }, null, 1)}\n`

function scalarsOf({ job, schedule, passes = 1 }: Prepared, loss: Float32Array, judged: Judged | undefined): Scalar[] {
  const rates = ratesOf(schedule, job.steps, passes)
  const scalars: Scalar[] = []
  loss.forEach((value, i) => {
    scalars.push({ tag: 'loss', step: i + 1, value }, { tag: 'lr', step: i + 1, value: rates[i]! })
  })
  for (const [name, value] of Object.entries(judged?.metrics ?? {})) scalars.push({ tag: `held-out/${name}`, step: job.steps, value })
  return scalars
}

/** The learning rate of every step, as the graph computes it. */
export function ratesOf(schedule: Schedule, steps: number, passes = 1): Float32Array {
  const rates = broadcastTo(schedule(divu(range(steps), passes)), [steps])
  const graph = makeGraph([{ name: 'lr', kind: 'state', dtype: 'f32', shape: [steps] }], [rates], full([1], 0, 'i32'))
  return interpret(graph, [fromBytes('f32', new Uint8Array(4 * steps))]).next[0] as Float32Array
}
