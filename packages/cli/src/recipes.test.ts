// Recipes on the command line: flags become settings, any number of steps is cut, files of one's own are recipes, and mistakes are answered in a sentence.

import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readSafetensors } from '@bitloom/model/safetensors'
import { readEvents } from '@bitloom/model/tensorboard'
import { EVENTS_FILE, type RecipeFile } from './artefacts.ts'
import { parseCall, UsageError } from './command.ts'
import { choiceOf, chosen, cutOf, flagsOf, namesRecipe, recipeOf } from './recipes.ts'

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url))
const dir = mkdtempSync(join(tmpdir(), 'bitloom-cli-recipes-'))
after(() => rmSync(dir, { recursive: true, force: true }))
const bitloom = (...args: string[]): string =>
  execFileSync(process.execPath, [MAIN, ...args], { cwd: dir, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
const fails = (...args: string[]): { status: number | null; stderr: string } =>
  spawnSync(process.execPath, [MAIN, ...args], { cwd: dir, encoding: 'utf8' })

const own = { stepsPerCheckpoint: 20, checkpointsPerSlice: 10, slices: 10 }
const stepsIn = (c: typeof own): number => c.stepsPerCheckpoint * c.checkpointsPerSlice * c.slices

test('any number of steps is cut, exactly where it can be and a little above where it cannot', () => {
  assert.deepEqual(cutOf(own, {}), own)
  assert.deepEqual(cutOf(own, { slices: 3 }), { ...own, slices: 3 })
  assert.deepEqual(cutOf(own, { steps: 2000 }), own)
  assert.deepEqual(cutOf(own, { steps: 300 }), { stepsPerCheckpoint: 3, checkpointsPerSlice: 10, slices: 10 })
  for (let steps = 1; steps <= 3000; steps += steps < 40 ? 1 : 37) {
    const cut = cutOf(own, { steps })
    const most = Math.max(steps + 1, steps * 1.07)
    assert.ok(stepsIn(cut) >= steps && stepsIn(cut) <= most, `${steps} steps became ${stepsIn(cut)}`)
    const fixed = cutOf(own, { steps, slices: 1 })
    assert.equal(fixed.slices, 1)
  }
})

test('flags become settings, with the recipe’s defaults and bounds', async () => {
  const recipe = await recipeOf('mnist')
  const command = {
    name: 'train',
    summary: '',
    options: { ...flagsOf(recipe), slices: { type: 'string', help: '' }, seed: { type: 'string', help: '' } },
    run: async () => 0,
  } as const
  const settings = (...argv: string[]) => chosen(recipe, parseCall(command, argv))
  assert.deepEqual({ ...settings().settings, data: undefined }, { ...choiceOf(recipe, {}, 1).settings, data: undefined })
  assert.equal(settings('--hidden', '32', '--steps', '640').settings.hidden, 32)
  assert.equal(settings('--slices', '2').settings.steps, 640)
  for (const [argv, message] of [
    [['--hidden', '0'], /--hidden 0: give a whole number from 1/],
    [['--lr', 'fast'], /--lr fast: give a number from 0/],
    [['--model', 'rnn'], /--model rnn: choose one of mlp, cnn/],
    [['--depth', '3'], /Unknown option '--depth'/],
  ] as const)
    assert.throws(
      () => settings(...argv),
      (e) => e instanceof UsageError && message.test(e.message),
      argv.join(' '),
    )
  await assert.rejects(recipeOf('dreams'), /There is no recipe "dreams"\. Recipes: mnist, .*shakespeare/)
  assert.deepEqual(['mnist', 'model.onnx', './mine.ts', 'mist', '--local'].map(namesRecipe), [true, true, true, false, false])
})

test('a recipe of one’s own is written, trained, and says in recipe.json how to make it again', () => {
  bitloom('recipes', 'new', 'mine')
  const args = ['train', './mine.ts', '--local', '--steps', '60', '--hidden', '8', '--out', 'out']
  const text = bitloom(...args)
  assert.match(text, /^root 0x[0-9a-f]{64}\n/)
  const { recipe, file, settings, cut } = JSON.parse(readFileSync(join(dir, 'out/recipe.json'), 'utf8')) as RecipeFile
  assert.deepEqual([recipe, file, settings.hidden, settings.steps, stepsIn(cut)], ['mine', './mine.ts', 8, 60, 60])
  assert.deepEqual([...readSafetensors(new Uint8Array(readFileSync(join(dir, 'out/model.safetensors')))).keys()].sort(), [
    ...['fc1.bias', 'fc1.weight', 'fc2.bias', 'fc2.weight', 'fc3.bias', 'fc3.weight'],
  ])
  const scalars = readEvents(new Uint8Array(readFileSync(join(dir, 'out', EVENTS_FILE))))
  const losses = readFileSync(join(dir, 'out/loss.csv'), 'utf8').trim().split('\n').slice(1)
  assert.deepEqual(
    scalars.filter((s) => s.tag === 'loss').map((s) => `${s.step},${s.value}`),
    losses,
  )
  const rates = scalars.filter((s) => s.tag === 'lr').map((s) => s.value)
  assert.ok(rates.length === 60 && rates[0]! < rates[19]! && rates[19]! > rates[59]!, 'rises and falls')
  assert.deepEqual(
    scalars.filter((s) => s.tag.startsWith('held-out/')).map((s) => s.tag),
    ['held-out/loss', 'held-out/accuracy', 'held-out/perplexity'],
  )
  assert.equal(bitloom(...args), text, 'the same bits again')
})

test('mistakes are answered in a sentence with what to do', () => {
  writeFileSync(join(dir, 'empty.ts'), 'export default 7\n')
  writeFileSync(join(dir, 'bad.onnx'), 'no model')
  writeFileSync(join(dir, 'gap.csv'), 'a,y\n1,2\n,3\n4,5\n7,8\n')
  for (const [args, status, message] of [
    [
      ['train', './empty.ts', '--local'],
      2,
      /does not export a recipe as its default\.\nStart from one that does: bitloom recipes new empty/,
    ],
    [['train', 'gone.onnx', '--local'], 2, /There is no file gone\.onnx/],
    [['train', 'bad.onnx', '--local', '--data', 'gap.csv', '--target', 'y'], 1, /no protobuf message of an ONNX model|no graph|too few/],
    [
      ['train', 'tabular', '--local', '--data', 'gap.csv', '--target', 'y', '--task', 'regression', '--validation', '1'],
      1,
      /NaN in row 1, column "a"\nMend or drop it/,
    ],
    [['train', 'fashion-mnist', '--local'], 1, /needs its pictures: --data DIR/],
    [['recipes', 'new', '../evil'], 2, /Say one name, of small letters/],
  ] as const) {
    const got = fails(...args)
    assert.match(got.stderr, message, args.join(' '))
    assert.equal(got.status, status, args.join(' '))
    assert.ok(!got.stderr.includes('    at '), 'no stack')
  }
})
