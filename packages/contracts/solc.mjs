#!/usr/bin/env node
// A `solc` executable for forge out of npm's WebAssembly solc, so that nothing is downloaded: --version, and --standard-json on stdin.
// Sources arrive inside the JSON, so path options (--base-path, --include-path, --allow-paths and what follows them) have nothing to do.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const solc = createRequire(import.meta.url)('solc')
const args = process.argv.slice(2)

if (args.includes('--version')) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}`)
} else if (args.includes('--standard-json')) {
  const input = readFileSync(0, 'utf8')
  process.stdout.write(solc.compile(input))
} else {
  console.error(`solc.mjs: cannot do ${JSON.stringify(args)}; it knows --version and --standard-json`)
  process.exitCode = 1
}
