// Recipes on the command line: found by name or by file, their options as flags, how a run of any length is cut, and what makes one ready to train.

import { existsSync, statSync } from 'node:fs'
import { basename, extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Backend, type Program, wasm } from '@bitloom/engine'
import { type Data, fromBytes, type Graph, sha256, toBytes } from '@bitloom/graph'
import type { Job } from '@bitloom/model'
import { RECIPES as LISTED } from '@bitloom/model/recipes/index'
import type { Cut, Machine, Prepared, Recipe, RecipeOption, Settings } from '@bitloom/model/recipes/recipe'
import { type Call, type Option, UsageError } from './command.ts'

export type { Cut, Prepared, Recipe } from '@bitloom/model/recipes/recipe'

/** A recipe with its options decided. */
export type Choice = { readonly recipe: Recipe; readonly settings: Settings; readonly cut: Cut; readonly seed: number }
/** And its job made. */
export type Ready = Choice & { readonly prepared: Prepared }

/** Names of the recipes that come with us. */
export const RECIPE_NAMES: readonly string[] = Object.keys(LISTED)

/** A 64-bit task seed from a small number a person types. */
export function seedWords(seed: number): [number, number] {
  const digest = new DataView(sha256(new TextEncoder().encode(`bitloom seed ${seed}`)).buffer.slice(0))
  return [digest.getInt32(0), digest.getInt32(4)]
}

const FILES = new Set(['.ts', '.mts', '.js', '.mjs', '.onnx'])

/** Whether a word of the command line names a recipe: one of ours, or a file that is one. */
export const namesRecipe = (word: string): boolean => Object.hasOwn(LISTED, word) || FILES.has(extname(word))

/**
 * The recipe of that name, of a recipe file, or for an ONNX model.
 * @throws {UsageError} there is none
 */
export async function recipeOf(name: string | undefined): Promise<Recipe> {
  if (name !== undefined && Object.hasOwn(LISTED, name)) return LISTED[name]!()
  if (name !== undefined && FILES.has(extname(name))) return recipeOfFile(name)
  throw new UsageError(
    `${name === undefined ? 'Say what to train' : `There is no recipe "${name}"`}. Recipes: ${RECIPE_NAMES.join(', ')}; or a model.onnx, or a recipe.ts of your own`,
  )
}

async function recipeOfFile(path: string): Promise<Recipe> {
  if (!existsSync(path) || !statSync(path).isFile()) throw new UsageError(`There is no file ${path}.`)
  if (extname(path) === '.onnx') return (await import('@bitloom/model/recipes/onnx')).onnxRecipe(path)
  const loaded = (await import(pathToFileURL(resolve(path)).href)) as { readonly default?: unknown }
  const made = typeof loaded.default === 'function' ? loaded.default(await import('@bitloom/model/recipes/toolbox')) : loaded.default
  if (!isRecipe(made))
    throw new UsageError(
      `${path} does not export a recipe as its default.\nStart from one that does: bitloom recipes new ${basename(path, extname(path))}`,
    )
  return { ...made, file: path }
}

function isRecipe(x: unknown): x is Recipe {
  const r = x as Partial<Recipe> | null
  return (
    typeof r === 'object' &&
    r !== null &&
    typeof r.name === 'string' &&
    typeof r.prepare === 'function' &&
    typeof r.options === 'object' &&
    typeof r.cut === 'object'
  )
}

/** A recipe's options as flags. */
export function flagsOf(recipe: Recipe): Record<string, Option> {
  const flags: Record<string, Option> = {
    steps: { type: 'string', value: 'N', help: `training steps (${stepsIn(recipe.cut)})` },
  }
  for (const [name, o] of Object.entries(recipe.options)) {
    const shown = o.choices ? `${o.help}: ${o.choices.join(', ')}` : o.help
    flags[name] =
      o.kind === 'flag'
        ? { type: 'boolean', help: o.help }
        : { type: 'string', value: o.value ?? 'VALUE', help: o.default === undefined ? shown : `${shown} (${o.default})` }
  }
  return flags
}

const stepsIn = (cut: Cut): number => cut.stepsPerCheckpoint * cut.checkpointsPerSlice * cut.slices

/** What the flags of a call say about a recipe. @throws {UsageError} one is out of bounds */
export function chosen(recipe: Recipe, call: Call): Choice {
  const slices = call.number('slices', { min: 1, max: 10_000, whole: true })
  const steps = call.number('steps', { min: 1, max: 2 ** 31, whole: true })
  const values = Object.entries(recipe.options).map(([name, o]) => [name, settingOf(name, o, call)] as const)
  return choiceOf(recipe, Object.fromEntries(values), call.number('seed', { min: 0, max: 2 ** 53, whole: true }) ?? 1, {
    ...(steps === undefined ? {} : { steps }),
    ...(slices === undefined ? {} : { slices }),
  })
}

function settingOf(name: string, o: RecipeOption, call: Call): Settings[string] {
  if (o.kind === 'flag') return call.flag(name)
  if (o.kind === 'number') {
    const bounds = {
      ...(o.min === undefined ? {} : { min: o.min }),
      ...(o.max === undefined ? {} : { max: o.max }),
      whole: o.whole ?? false,
    }
    return call.number(name, bounds) ?? o.default
  }
  const text = call.text(name) ?? o.default
  if (text !== undefined && o.choices && !o.choices.includes(text as string))
    throw new UsageError(`--${name} ${text}: choose one of ${o.choices.join(', ')}`)
  return text
}

/** A recipe with given settings; a length that fits no cut is rounded up to one that does. */
export function choiceOf(
  recipe: Recipe,
  values: Settings,
  seed: number,
  length: { readonly steps?: number; readonly slices?: number } = {},
): Choice {
  const cut = cutOf(recipe.cut, length)
  const defaults = Object.fromEntries(Object.entries(recipe.options).map(([name, o]) => [name, o.default]))
  return { recipe, settings: { ...defaults, ...values, steps: stepsIn(cut) }, cut, seed }
}

const MOST_A_SIDE = 16
/** A hundredth more steps than asked for is worth about as much as half as many slices. */
const EXCESS = 50

/**
 * The cut of a run: the recipe's own, with more or fewer slices, or one for a given number of steps: as few beyond it, and as near the recipe's own, as can be.
 */
export function cutOf(own: Cut, { steps, slices }: { readonly steps?: number; readonly slices?: number }): Cut {
  if (steps === undefined) return { ...own, slices: slices ?? own.slices }
  let best: { cut: Cut; badness: number } | undefined
  const sides = (fixed: number | undefined): number[] =>
    fixed === undefined ? Array.from({ length: MOST_A_SIDE }, (_, i) => i + 1) : [fixed]
  for (const s of sides(slices))
    for (const c of sides(undefined)) {
      const cut = { stepsPerCheckpoint: Math.ceil(steps / (s * c)), checkpointsPerSlice: c, slices: s }
      const away = Math.abs(Math.log2(c / own.checkpointsPerSlice)) + Math.abs(Math.log2(s / (slices ?? own.slices)))
      const badness = EXCESS * (stepsIn(cut) / steps - 1) + away
      if (!best || badness < best.badness) best = { cut, badness }
    }
  return best!.cut
}

/** What recipes compute with: a graph that is evaluated again is compiled and kept. */
export function machineOf(backend: Backend): Machine {
  const seen = new Map<Graph, Program | undefined>()
  return {
    evaluate: (graph, slots) => {
      if (!seen.has(graph)) {
        seen.set(graph, undefined)
        return backend.evaluate(graph, slots).next
      }
      const program = seen.get(graph) ?? backend.compile(graph)
      seen.set(graph, program)
      slots.forEach((data, slot) => {
        program.write(slot, toBytes(data))
      })
      program.step()
      return graph.next.map((_, s) => fromBytes(graph.slots[s]!.dtype, program.read(s).slice()))
    },
  }
}

/** Makes the job. */
export async function makeReady(choice: Choice, backend: Backend = wasm): Promise<Ready> {
  return { ...choice, prepared: await choice.recipe.prepare(choice.settings, { ...machineOf(backend), seed: seedWords(choice.seed) }) }
}

/** A recipe with its own settings, ready. */
export const readyByName = async (name: string, { seed, slices }: { readonly seed: number; readonly slices?: number }): Promise<Ready> =>
  makeReady(choiceOf(await recipeOf(name), {}, seed, slices === undefined ? {} : { slices }))

/** A trained tensor by its slot's name. */
export const tensorIn =
  (job: Job, state: readonly Data[]) =>
  (name: string): Float32Array =>
    state[job.graph.slots.findIndex((s) => s.name === name)] as Float32Array

export type Judged = { readonly metrics: Readonly<Record<string, number>>; readonly examples: number; readonly what: string }

/** Measures a trained state on the held-out examples; undefined where none are held back. */
export function judge({ job, judge: held }: Prepared, state: readonly Data[], backend: Backend = wasm): Judged | undefined {
  if (!held) return undefined
  const tensor = tensorIn(job, state)
  const program = backend.compile(held.job.graph)
  try {
    const slots = [...held.job.stateFor(held.job.parameters.map(tensor)), ...held.job.data]
    slots.forEach((data, slot) => {
      program.write(slot, toBytes(data))
    })
    for (let step = 0; step < held.job.steps; step++) program.step()
    const after = held.job.graph.next.map((_, s) => fromBytes(held.job.graph.slots[s]!.dtype, program.read(s).slice()))
    return { metrics: held.job.read(after) as Record<string, number>, examples: held.examples, what: held.what }
  } finally {
    program.close()
  }
}
