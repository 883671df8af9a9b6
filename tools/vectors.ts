// Checks that every golden file is what its writer writes; `--write` rewrites them all. Golden vectors move only when asked.

import { spawnSync } from 'node:child_process'

const WRITERS = ['vectors-f32', 'vectors-ops', 'vectors-merkle', 'vectors-scalar', 'fuzz-twins', 'ulp']
const write = process.argv.includes('--write')

for (const writer of WRITERS) {
  const args = [
    `tools/${writer}.ts`,
    ...(['ulp', 'fuzz-twins'].includes(writer) ? [write ? '--vectors' : '--check'] : write ? [] : ['--check']),
  ]
  const { status } = spawnSync(process.execPath, args, { stdio: 'inherit' })
  if (status !== 0) {
    console.error(`tools/${writer}.ts: the golden file and its writer differ.\nIf that is meant, run: node tools/vectors.ts --write`)
    process.exit(1)
  }
}
