// What a submitter takes home: weights as safetensors and ONNX, the loss curve as csv and svg, written whole or not at all.

import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Data } from '@bitloom/graph'
import type { Job } from '@bitloom/model'
import { curveCsv, curveSvg } from '@bitloom/model/curve'
import { writeSafetensors } from '@bitloom/model/safetensors'
import { writeFileAtomic } from '@bitloom/node/store'
import type { Hex } from 'viem'
import type { Recipe } from './recipes.ts'

export type Artefacts = {
  readonly paths: readonly string[] /** SHA-256 of each file, by name. */
  readonly sha256: Readonly<Record<string, Hex>>
}

/** Writes model.safetensors, model.onnx, loss.csv and loss.svg into `directory`. */
export function writeArtefacts(directory: string, recipe: Recipe, job: Job, state: readonly Data[], root: Hex): Artefacts {
  mkdirSync(directory, { recursive: true })
  const metadata = { 'bitloom.state': root, 'bitloom.recipe': job.name }
  const tensors = Object.fromEntries(
    job.parameters.map((name) => {
      const s = job.graph.slots.findIndex((slot) => slot.name === name)
      return [name, { dtype: 'F32' as const, shape: job.graph.slots[s]!.shape, data: state[s]! }]
    }),
  )
  const loss = state[job.lossSlot] as Float32Array
  const files: Record<string, Uint8Array | string> = {
    'model.safetensors': writeSafetensors(tensors, metadata),
    'model.onnx': recipe.onnx(job, state, metadata),
    'loss.csv': curveCsv(loss),
    'loss.svg': curveSvg(loss, { title: `${job.name}: training loss` }),
  }
  const hashes: Record<string, Hex> = {}
  for (const [name, content] of Object.entries(files)) {
    writeFileAtomic(join(directory, name), content)
    hashes[name] = `0x${createHash('sha256').update(content).digest('hex')}`
  }
  return { paths: Object.keys(files).map((name) => join(directory, name)), sha256: hashes }
}
