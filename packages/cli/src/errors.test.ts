// Every class of error in the source has its line in the operations page: whoever sees one finds what to do.

import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const ROOT = join(import.meta.dirname, '../../..')
const DECLARED = /class (\w+) extends (?:\w*Error|RangeError)\b/g

test('the table of errors names every class of error there is, and none that is gone', () => {
  const declared = new Set<string>()
  for (const file of globSync('packages/*/src/**/*.ts', { cwd: ROOT }))
    if (!file.endsWith('.test.ts')) for (const [, name] of readFileSync(join(ROOT, file), 'utf8').matchAll(DECLARED)) declared.add(name!)
  assert.ok(declared.size > 50, `${declared.size} found`)
  const page = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8')
  const table = page.slice(page.indexOf('### Errors by class'), page.indexOf('### What a contract refuses'))
  const named = new Set([...table.matchAll(/`([A-Z]\w+)`/g)].map(([, name]) => name!))
  assert.deepEqual(
    [...declared].filter((name) => !named.has(name)),
    [],
    'not in the table of docs/operations.md',
  )
  assert.deepEqual(
    [...named].filter((name) => !declared.has(name)),
    [],
    'in the table, and nowhere in the source',
  )
})
