// What checkpoints cost the training of the character transformer, one every fifty steps on a real disk: the bar is one per cent.
// Run: node bench/checkpoints.ts [--segments N] [--json FILE]
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { stateRoot } from '@bitloom/dispute'
import { wasm } from '@bitloom/engine'
import { toHex } from '@bitloom/graph'
import { openCheckpoints } from '@bitloom/node/checkpoints'
import { openMeter } from '@bitloom/node/meter'
import { openBlobStore } from '@bitloom/node/network/blobs'
import { openStore } from '@bitloom/node/store'
import { openLane } from '@bitloom/node/training/lane'
import { runSegment } from '@bitloom/node/training/segment'
import { engineStepper, type Stepper } from '@bitloom/node/training/stepper'
import { jobOf } from './peers/ours.ts'
import { taskOf } from './tasks.ts'

const STEPS = 50
const { values } = parseArgs({ options: { segments: { type: 'string', default: '4' }, json: { type: 'string' } } })
const segments = Number(values.segments)

const dir = mkdtempSync(join(tmpdir(), 'bitloom-checkpoint-bench-'))
const store = openStore(join(dir, 'node.sqlite'))
const meter = openMeter()
const checkpoints = openCheckpoints(store, openBlobStore({ dir: join(dir, 'blobs') }), meter)
try {
  const job = jobOf(taskOf('chargpt'))
  const plain = engineStepper(wasm, job.graph)
  plain.load(job.state, job.data)
  /** CPU time of this thread in ms: what others on a busy machine cannot add to. */
  const cpuMs = (): number => {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1000
  }
  let [stepping, steppingCpu] = [0, 0]
  const stepper: Stepper = {
    ...plain,
    step: () => {
      const [start, cpu] = [performance.now(), cpuMs()]
      plain.step()
      stepping += performance.now() - start
      steppingCpu += cpuMs() - cpu
    },
  }

  type Spent = { readonly beside: number; readonly steps: number; readonly cpuBeside: number; readonly cpuSteps: number }
  /** Milliseconds that a run of segments takes beside its steps, and those of the steps. */
  const run = async (save: (segment: number) => Promise<unknown>, end: () => Promise<unknown>): Promise<Spent> => {
    ;[stepping, steppingCpu] = [0, 0]
    const [began, cpu] = [performance.now(), cpuMs()]
    for (let segment = 0; segment < segments; segment++) {
      await runSegment(stepper, STEPS, { meter, kind: 'train' })
      await save(segment)
    }
    await end()
    return { beside: performance.now() - began - stepping, steps: stepping, cpuBeside: cpuMs() - cpu - steppingCpu, cpuSteps: steppingCpu }
  }
  const nothing = async (): Promise<void> => undefined
  await runSegment(stepper, STEPS, { meter, kind: 'train' })
  // the hashing thread is started once in a node's life
  if ((await checkpoints.save(stepper.state())) !== toHex(stateRoot(stepper.state()))) throw new Error('the root is not the state’s')

  const without = await run(nothing, nothing)
  const waiting = await run(() => checkpoints.save(stepper.state()), nothing)
  const lane = openLane()
  const beside = await run(() => lane.begin(() => checkpoints.save(stepper.state())), lane.done)
  const row = (name: string, { beside, steps, cpuBeside, cpuSteps }: Spent) => ({
    checkpoints: name,
    'ms a segment beside its steps': Number((beside / segments).toFixed(1)),
    'ms a segment’s steps': Number((steps / segments).toFixed(0)),
    'share of training': Number(((beside - without.beside) / steps).toFixed(4)),
    'this thread’s CPU ms beside': Number((cpuBeside / segments).toFixed(1)),
    'share of its CPU': Number(((cpuBeside - without.cpuBeside) / cpuSteps).toFixed(4)),
  })
  const rows = [row('none', without), row('waited for', waiting), row('beside training', beside)]
  console.table(rows)
  const state = stepper.state()
  const result = {
    megabytes: state.reduce((n, t) => n + t.byteLength, 0) / 1e6,
    tensors: state.length,
    segments,
    loadAverage: loadavg()[0],
    rows,
    readings: meter.readings(),
  }
  console.log(JSON.stringify(result))
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`)
} finally {
  await checkpoints.close()
  store.close()
  rmSync(dir, { recursive: true, force: true })
}
