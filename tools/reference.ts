// Trains a reference case from nothing but its own files and writes what its compare.mjs reads.
//   npm run reference -- CASE_DIR RUN_DIR [--steps N] [--threads N] [--json]
//
// CASE_DIR holds case.json, model.onnx, init.safetensors, batches.i32 and the data files that case.json describes (docs/models.md). RUN_DIR gets losses.json,
// grad1.safetensors, w1, w10, w50 and w200.safetensors (trained tensors, frozen ones and buffers), eval.json and run.json (what was run, and notes).
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { stopThreads, wasmWith } from '@bitloom/engine'
import { graphId, toHex } from '@bitloom/graph'
import { CaseError } from '@bitloom/model/reference/case'
import { evaluateCase, firstGradient, KEPT, prepareCase, type Tensors, trainCase } from '@bitloom/model/reference/run'
import { writeSafetensors } from '@bitloom/model/safetensors'

const USAGE = `usage: npm run reference -- CASE_DIR RUN_DIR [--steps N] [--threads N] [--json]

Trains the case in CASE_DIR (case.json, model.onnx, init.safetensors, batches.i32 and its data) and
writes losses.json, grad1.safetensors, w1/w10/w50/w200.safetensors and eval.json into RUN_DIR.
  --steps N     no more than N updates
  --threads N   threads of the engine, 1 by default; the bits are the same
  --json        a summary as JSON on stdout`

export type Summary = {
  readonly case: string
  readonly graph: string
  readonly steps: number
  readonly seconds: number
  readonly notes: readonly string[]
  readonly loss: number
  readonly eval?: Record<string, number>
}

export type RunOptions = {
  /** No more updates than this. */
  readonly limit?: number
  readonly threads?: number
  readonly talk?: (text: string) => void
}

/** Runs a case folder into a run folder. */
export function runReference(caseFolder: string, runFolder: string, options: RunOptions = {}): Summary {
  const { limit, threads = 1, talk = () => {} } = options
  const { compile } = wasmWith({ threads })
  const read = (name: string): Uint8Array | undefined => {
    const path = join(caseFolder, name)
    return existsSync(path) && statSync(path).isFile() ? new Uint8Array(readFileSync(path)) : undefined
  }
  const began = performance.now()
  const p = prepareCase(read, limit)
  const updates = p.job.steps / p.case.accumulate
  talk(
    `${p.case.title}: ${updates} updates of ${p.case.batch} records, ${p.weights.parameters.filter((x) => !x.frozen).length} trained tensors\n`,
  )
  for (const note of p.notes) talk(`note: ${note}\n`)
  mkdirSync(runFolder, { recursive: true })
  const save = (name: string, tensors: Tensors): void => writeFileSync(join(runFolder, `${name}.safetensors`), writeSafetensors(tensors))
  save('grad1', firstGradient(p, compile))
  let last: Tensors = {}
  const bar = barOf(updates, talk)
  const losses = trainCase(
    p,
    compile,
    (update, tensors) => {
      last = tensors
      if ((KEPT as readonly number[]).includes(update)) save(`w${update}`, tensors)
    },
    bar,
  )
  talk('\n')
  writeFileSync(join(runFolder, 'losses.json'), `${JSON.stringify(losses)}\n`)
  const measured = evaluateCase(p, last, compile, read)
  if (measured) writeFileSync(join(runFolder, 'eval.json'), `${JSON.stringify(measured)}\n`)
  const summary: Summary = {
    case: p.case.name,
    graph: toHex(graphId(p.job.graph)),
    steps: updates,
    seconds: (performance.now() - began) / 1000,
    notes: p.notes,
    loss: losses[losses.length - 1],
    ...(measured ? { eval: measured } : {}),
  }
  writeFileSync(join(runFolder, 'run.json'), `${JSON.stringify(summary, null, 1)}\n`)
  return summary
}

/** A progress bar that says the loss and the time left. */
function barOf(updates: number, talk: (text: string) => void): (update: number, loss: number) => void {
  const began = performance.now()
  let drawn = 0
  return (update, loss) => {
    const now = performance.now()
    if (update < updates && now - drawn < 200) return
    drawn = now
    const done = Math.round((24 * update) / updates)
    const left = ((now - began) / update / 1000) * (updates - update)
    talk(`\r${'█'.repeat(done)}${'·'.repeat(24 - done)} ${update}/${updates}  loss ${loss.toPrecision(6)}  ${left.toFixed(0)} s left   `)
  }
}

/** The command line; undefined where it is no good. */
function argumentsOf(given: readonly string[]) {
  const { values, positionals } = parseArgs({
    args: [...given],
    allowPositionals: true,
    options: { steps: { type: 'string' }, threads: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean' } },
  })
  const whole = (text: string): number => (/^[1-9]\d*$/.test(text) ? Number(text) : fail(`"${text}" is no whole number of at least 1`))
  return {
    folders: positionals,
    json: values.json ?? false,
    help: values.help ?? false,
    ...(values.steps === undefined ? {} : { limit: whole(values.steps) }),
    ...(values.threads === undefined ? {} : { threads: whole(values.threads) }),
  }
}

const fail = (message: string): never => {
  throw new TypeError(message)
}

function parsed(): ReturnType<typeof argumentsOf> {
  try {
    return argumentsOf(process.argv.slice(2))
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`)
    process.exit(2)
  }
}

if (import.meta.main) {
  const { folders, json, help, ...options } = parsed()
  if (help || folders.length !== 2) {
    console.error(USAGE)
    process.exit(help ? 0 : 2)
  }
  try {
    const summary = runReference(folders[0], folders[1], { ...options, talk: (text) => process.stderr.write(text) })
    const { eval: measured, seconds, loss, steps } = summary
    console.log(
      json
        ? JSON.stringify(summary)
        : `${steps} updates in ${seconds.toFixed(1)} s, loss ${loss}${measured ? `, held out ${JSON.stringify(measured)}` : ''}`,
    )
  } catch (error) {
    // a system's own error (a folder where a file should be, no right to write) says enough without a stack
    if (
      !(error instanceof Error) ||
      (!(error instanceof CaseError) && !/^(model|engine|graph)\./.test(error.name) && !('syscall' in error))
    )
      throw error
    console.error(`\n${error.message}`)
    process.exitCode = 1
  } finally {
    stopThreads()
  }
}
