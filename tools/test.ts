// Runs everything that `npm test` promises, in order, and stops at the first failure: types, lint, unit and end-to-end tests, contracts.

import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'

const only = process.argv.slice(2)

/** Runs a command with our output; ends the process with its status where it fails. */
function run(title: string, command: string, ...args: string[]): void {
  if (only.length > 0 && !only.some((word) => title.includes(word))) return
  const started = performance.now()
  console.error(`\n== ${title}`)
  const { status } = spawnSync(command, args, { stdio: 'inherit' })
  if (status !== 0) {
    console.error(`== ${title} failed (${command} ${args.join(' ')})`)
    process.exit(status ?? 1)
  }
  console.error(`== ${title}: ${((performance.now() - started) / 1000).toFixed(1)} s`)
}

/** A file that takes longer than this hangs: better a failure that names it than a run without an end. */
const HANGS = '--test-timeout=900000'

const files = (...patterns: string[]): string[] => patterns.flatMap((pattern) => globSync(pattern).sort())

run('types', 'tsc', '-p', 'tsconfig.json')
run('lint', 'biome', 'check', '.')
run('vectors are what their writers write', 'node', 'tools/vectors.ts')
run('contracts are what the artefacts say', 'node', 'tools/contracts.ts', 'check')
run('contracts: forge', 'node', 'tools/contracts.ts', 'test')
run('fuzz: arithmetic twins', 'node', 'tools/fuzz-f32.ts', '200000', '1')
run(
  'unit, conformance, fuzz',
  'node',
  '--test',
  HANGS,
  '--test-reporter=spec',
  ...files('packages/*/src/**/*.test.ts', 'test/{conformance,fuzz,browser}/*.test.ts'),
)
for (const example of files('examples/*.ts')) run(`example ${example}`, 'node', example)
run('end to end', 'node', '--test', HANGS, '--test-concurrency=2', '--test-reporter=spec', ...files('test/{e2e,chaos,depth}/*.test.ts'))
