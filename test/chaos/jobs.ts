// The tasks of a chaos run: small models on real digits, and what each must come to, slice by slice, trained here alone.

import { stateRoot } from '@bitloom/dispute'
import { wasm } from '@bitloom/engine'
import { toHex } from '@bitloom/graph'
import { type Job, mnistJob } from '@bitloom/model'
import { readMnist } from '@bitloom/model/data/mnist'
import { engineStepper } from '@bitloom/node'
import { makeSpec, rootsOf, type Spec, type Windows } from '@bitloom/sdk'
import type { Hex } from 'viem'
import type { TaskPart } from './plan.ts'

const EXAMPLES = 256

/** A task's job. */
export function jobOf(task: TaskPart): Job {
  const { train } = readMnist()
  return mnistJob({
    images: train.images.subarray(0, EXAMPLES * 784),
    labels: train.labels.subarray(0, EXAMPLES),
    count: EXAMPLES,
    seed: [task.seed, 77],
    steps: task.steps * task.segments * task.slices,
    hidden: task.hidden,
    batch: 32,
    evaluate: (graph, slots) => wasm.evaluate(graph, slots).next,
  })
}

/** Every slice is audited whole, by two verifiers. */
export const specOf = (job: Job, task: TaskPart, windows: Windows): Spec =>
  makeSpec(job.graph, rootsOf(job.state), rootsOf(job.data), {
    stepsPerCheckpoint: task.steps,
    checkpointsPerSlice: task.segments,
    slices: task.slices,
    assurance: 'full',
    verifiers: 2,
    segments: 1,
    windows,
  })

/** The state root after each slice of an undisturbed run. */
export function honestRoots(job: Job, task: TaskPart): Hex[] {
  const stepper = engineStepper(wasm, job.graph)
  stepper.load(job.state, job.data)
  return Array.from({ length: task.slices }, () => {
    for (let step = 0; step < task.steps * task.segments; step++) stepper.step()
    return toHex(stateRoot(stepper.state()))
  })
}
