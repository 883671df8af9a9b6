// `bitloom recipes`: what can be trained by name, and `bitloom recipes new`, which writes a recipe to start one's own from.

import { existsSync, writeFileSync } from 'node:fs'
import { costOf } from '@bitloom/graph'
import { type Call, type Command, RefusedError, UsageError } from '../command.ts'
import { print, printJson } from '../output.ts'
import { flagsOf, RECIPE_NAMES, readyByName, recipeOf } from '../recipes.ts'
import { big, bold, dim, table } from '../render.ts'

export const command: Command = {
  name: 'recipes',
  summary: 'what can be trained by name; new NAME writes a recipe of your own to start from',
  usage: '[RECIPE | new NAME]',
  options: { json: { type: 'boolean', help: 'for machines' } },
  run: async (call) => {
    const [verb, name, ...more] = call.args
    if (verb === 'new') return writeNew(name, more)
    if (name !== undefined) throw new UsageError(`"${name}" is one word too many.\nSee: bitloom recipes --help`)
    return verb === undefined ? list(call) : show(verb)
  },
}

async function list(call: Call): Promise<undefined> {
  const recipes = await Promise.all(RECIPE_NAMES.map(recipeOf))
  if (call.flag('json'))
    printJson({ recipes: recipes.map(({ name, title, alone, cut, options }) => ({ name, title, alone, cut, options })) })
  else
    print(
      [
        table(
          ['recipe', '', 'what it trains'],
          recipes.map((r) => [bold(r.name), r.alone ? '' : dim('--data'), r.title]),
        ),
        '',
        dim('bitloom train NAME --local        here, alone            bitloom train NAME        on the network'),
        dim('bitloom recipes NAME              its options            bitloom recipes new mine  a recipe of your own'),
        dim('bitloom train model.onnx --data … a model exported from PyTorch'),
      ].join('\n'),
    )
}

/** A recipe's options, and what a step of it costs where that needs no data of the user's. */
async function show(name: string): Promise<undefined> {
  const recipe = await recipeOf(name)
  const lines = [`${bold(recipe.name)}  ${recipe.title}`, '']
  for (const [option, o] of Object.entries(flagsOf(recipe)))
    lines.push(`  ${`--${option}${o.type === 'string' ? ` ${o.value}` : ''}`.padEnd(26)} ${o.help}`)
  if (recipe.alone) {
    const { prepared } = await readyByName(name, { seed: 1 })
    const cost = costOf(prepared.job.graph)
    lines.push(
      '',
      ...prepared.about,
      `${prepared.job.steps} steps (${prepared.epochs.toFixed(1)} epochs) of ${big(cost.operations)} operations; state ${big(cost.stateBytes, 'B')}`,
    )
  }
  print(lines.join('\n'))
}

async function writeNew(name: string | undefined, more: readonly string[]): Promise<undefined> {
  if (name === undefined || more.length > 0 || !/^[a-z][a-z0-9-]{0,62}$/.test(name))
    throw new UsageError('Say one name, of small letters, digits and dashes: bitloom recipes new my-recipe')
  const path = `${name}.ts`
  if (existsSync(path)) throw new RefusedError(`${path} is there already; nothing was written.`)
  writeFileSync(path, starter(name))
  print(`${path}\nTry it: bitloom train ./${path} --local --steps 200`)
}

const starter = (name: string): string => `// ${name}: a recipe of mine. Train it with: bitloom train ./${name}.ts --local
//
// Everything a recipe is written with arrives in the argument, so this file runs wherever it lies. The type is for an editor and vanishes when it runs.

import type { Toolbox } from '@bitloom/model/recipes/toolbox'

export default (b: Toolbox) =>
  b.recipe({
    name: '${name}',
    title: 'two spirals told apart by an MLP',

    // each becomes a flag: --hidden 64
    options: {
      hidden: b.count(32, 'width of both hidden layers'),
      batch: b.count(32, 'examples a step'),
      ...b.rateOptions(1e-2, 'cosine', 20),
    },

    // how a run is cut into what is claimed and paid: 20 steps a checkpoint, 10 checkpoints a slice, 5 slices, so 1,000 steps
    cut: { stepsPerCheckpoint: 20, checkpointsPerSlice: 10, slices: 5 },
    // it needs no file of the user's; otherwise read one: b.readTable('my.csv', { target: 'price', ... }), b.readData(...), b.readLabelled(...)
    alone: true,

    prepare: (s, run) => {
      // data: tensors whose first axis is the example
      const count = 1000
      const x = new Float32Array(2 * count)
      const y = new Int32Array(count)
      for (let i = 0; i < count; i++) {
        const turn = (i / count) * 2 * Math.PI
        const side = i % 2
        x[2 * i] = (turn / 6) * Math.cos(turn + side * Math.PI)
        x[2 * i + 1] = (turn / 6) * Math.sin(turn + side * Math.PI)
        y[i] = side
      }
      const all = {
        tensors: [
          { name: 'x', dtype: 'f32' as const, shape: [count, 2], data: x },
          { name: 'y', dtype: 'i32' as const, shape: [count], data: y },
        ],
        count,
        notes: [],
      }
      // a fifth is held back, drawn the same way everywhere
      const { train, held } = b.splitDataset(all, { validation: 0.2 })

      return {
        ...b.prepare({
          name: '${name}',
          // what trains: names, shapes, first values
          parameters: b.mlpParameters([2, s.hidden, s.hidden, 2]),
          // from a batch to the model's output and what it should have been
          forward: (c) => ({ output: b.mlp(c.parameter, c.batch('x'), 3, b.relu), target: c.batch('y') }),
          loss: b.lossByName('cross_entropy'),
          optimizer: b.optimizerByName('adamw', { weight_decay: 0.01 }),
          schedule: b.rateOf(s, s.steps),
          batch: s.batch,
          steps: s.steps,
          train,
          held: { ...held, what: 'held-out points' },
          run,
        }),
        about: [\`\${train.count} points to train on\`],
      }
    },
  })
`
