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

const tests = (pattern: string): string[] => globSync(pattern).sort()

run('types', 'tsc', '-p', 'tsconfig.json')
run('lint', 'biome', 'check', '.')
run('contracts', 'node', 'tools/contracts.ts', 'check')
run('contracts: forge', 'node', 'tools/contracts.ts', 'test')
run('tests', 'node', '--test', '--test-reporter=spec', ...tests('packages/*/src/**/*.test.ts'), ...tests('test/**/*.test.ts'))
