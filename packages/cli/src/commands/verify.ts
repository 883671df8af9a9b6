// `bitloom verify`: a receipt and its weights, checked offline; with --rerun, segments of the run are computed again here.

import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { stateRoot } from '@bitloom/dispute'
import { wasm } from '@bitloom/engine'
import { graphId, toHex } from '@bitloom/graph'
import { readSafetensors } from '@bitloom/model/safetensors'
import { type Check, checkReceipt, engineStepper, type Receipt, trainLocal } from '@bitloom/node'
import type { RecipeFile } from '../artefacts.ts'
import { type Call, type Command, EXIT, RefusedError, UsageError } from '../command.ts'
import { type Choice, choiceOf, makeReady, RECIPE_NAMES, recipeOf } from '../recipes.ts'
import { bar, bold, dim, green, openScreen, red, table } from '../render.ts'

export const command: Command = {
  name: 'verify',
  summary: 'check a receipt and the weights that came with it, offline',
  usage: 'receipt.json [model.safetensors] [--rerun]',
  options: {
    rerun: { type: 'boolean', help: 'train it all again here and compare the final root, by the recipe.json beside the receipt' },
    seed: { type: 'string', value: 'N', help: 'the seed of the run, for --rerun without a recipe.json', default: '1' },
    json: { type: 'boolean', help: 'for machines' },
  },
  run: verify,
}

/** No receipt of a task within the protocol's limits is longer. */
const MAX_RECEIPT_BYTES = 2 ** 28

async function verify(call: Call): Promise<number> {
  const [receiptPath, weightsPath] = call.args
  if (receiptPath === undefined) throw new UsageError('Say which receipt: bitloom verify receipt.json model.safetensors')
  const receipt = readJson(receiptPath)
  const files: Record<string, Uint8Array> = {}
  let weights: Parameters<typeof checkReceipt>[1]
  if (weightsPath !== undefined) {
    const bytes = readFile(weightsPath)
    files[basename(weightsPath)] = bytes
    weights = readSafetensors(bytes)
  }
  // files that lie beside the receipt and are named in it are checked too
  const named = typeof receipt === 'object' && receipt !== null ? Object.keys((receipt as Receipt).files ?? {}) : []
  for (const name of named.slice(0, 32)) {
    const path = join(dirname(receiptPath), basename(name))
    if (!(name in files) && existsSync(path)) files[name] = readFile(path)
  }
  const checks: Check[] = checkReceipt(receipt, weights, files)
  if (call.flag('rerun') && checks.every((c) => c.ok)) checks.push(await rerun(call, receipt as Receipt, dirname(receiptPath)))
  const ok = checks.length > 0 && checks.every((c) => c.ok)
  if (call.flag('json')) process.stdout.write(`${JSON.stringify({ ok, checks })}\n`)
  else {
    process.stdout.write(
      `${table(
        ['', '', ''],
        checks.map((c) => [c.ok ? green('✓') : red('✗'), bold(c.what), dim(c.detail)]),
      )}\n`,
    )
    process.stdout.write(
      ok
        ? `${green('The receipt holds.')}${weightsPath === undefined ? dim(' Give model.safetensors too to check the weights.') : ''}\n`
        : `${red('The receipt does not hold.')}\n`,
    )
  }
  return ok ? EXIT.ok : EXIT.refused
}

function readFile(path: string): Uint8Array {
  if (!existsSync(path)) throw new RefusedError(`There is no file ${path}.`)
  return new Uint8Array(readFileSync(path))
}

function readJson(path: string): unknown {
  if (!existsSync(path)) throw new RefusedError(`There is no file ${path}.`)
  if (statSync(path).size > MAX_RECEIPT_BYTES) throw new RefusedError(`${path} is larger than any receipt (${MAX_RECEIPT_BYTES} bytes).`)
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new RefusedError(`${path} is not JSON: ${(error as Error).message}.\nFetch the receipt again, or ask whoever gave it to you.`)
  }
}

/** Runs the recipe again from its seed; the spec's initial state and graph say whether it is the same job. */
async function rerun(call: Call, receipt: Receipt, directory: string): Promise<Check> {
  const seed = call.number('seed', { min: 0, max: 2 ** 53, whole: true })!
  for (const choice of await candidates(directory, seed, receipt.slices.length)) {
    const { job } = (await makeReady(choice)).prepared
    if (toHex(graphId(job.graph)) !== receipt.spec.graphId || toHex(stateRoot(job.state)) !== receipt.spec.initialState) continue
    const screen = openScreen()
    const run = await trainLocal(job, engineStepper(wasm, job.graph), (done) =>
      screen.status(` ${bar(done / job.steps)} computed again: step ${done}/${job.steps}`),
    )
    screen.done()
    return { what: 'rerun', ok: run.root === receipt.final.stateRoot, detail: `${job.steps} steps computed again here end in ${run.root}` }
  }
  return {
    what: 'rerun',
    ok: false,
    detail: `no recipe with seed ${seed} makes this graph and initial state; put the run's recipe.json beside the receipt, or give its --seed`,
  }
}

/** What the run may have been: what recipe.json says, or each recipe with its own settings. */
async function candidates(directory: string, seed: number, slices: number): Promise<Choice[]> {
  const path = join(directory, 'recipe.json')
  if (existsSync(path)) {
    const file = readJson(path) as RecipeFile
    const recipe = await recipeOf(file.file ?? file.recipe)
    return [{ ...choiceOf(recipe, file.settings, file.seed), settings: file.settings, cut: file.cut }]
  }
  const recipes = await Promise.all(RECIPE_NAMES.map(recipeOf))
  return recipes.filter((r) => r.alone).map((r) => choiceOf(r, {}, seed, { slices }))
}
