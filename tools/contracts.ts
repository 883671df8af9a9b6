// Builds, checks and tests the contracts, from npm packages alone.
//   node tools/contracts.ts build   compile src/ and write packages/contracts/src/abi/NAME.ts and src/index.ts (nothing to do: 0.1 s)
//   node tools/contracts.ts check   exit 1 when what is committed differs from a fresh build, or a contract is over the size limit
//   node tools/contracts.ts test    forge test (more arguments go to forge: --match-contract F32Test, -vvv …)
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Compiled, compile, contractsFolder, contractsPath, readSource, SolidityError, solidityFiles } from './solidity.ts'

/** Most bytes of deployed code that an EVM chain accepts (EIP-170). */
const CODE_LIMIT = 24_576
const NOTICE = '// Written by `node tools/contracts.ts build` from the Solidity beside it; do not edit.'
/** Files by name relative to packages/contracts. */
type Files = Record<string, string>

const moduleOf = (c: Compiled): string =>
  [
    NOTICE,
    `// ${c.name} of ${c.file}: ${(c.deployedBytecode.length - 2) / 2} of ${CODE_LIMIT} bytes deployed.`,
    `export const ${c.name} = {`,
    '  abi: [',
    ...c.abi.map((entry) => `    ${JSON.stringify(entry)},`),
    '  ],',
    `  bytecode: '${c.bytecode}',`,
    `  deployedBytes: ${(c.deployedBytecode.length - 2) / 2},`,
    '} as const',
    '',
  ].join('\n')

/** A contract is shipped; a library only if it has functions to call from outside. */
const isShipped = (c: Compiled): boolean => c.kind === 'contract' || (c.kind === 'library' && c.abi.some((entry) => isFunction(entry)))
const isFunction = (entry: unknown): boolean => (entry as { type?: string }).type === 'function'

const generate = (): Files => {
  const contracts = compile(solidityFiles('src'))
    .filter(isShipped)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  const files: Files = {}
  for (const c of contracts) {
    const bytes = (c.deployedBytecode.length - 2) / 2
    if (bytes > CODE_LIMIT)
      throw new SolidityError(`${c.name}: ${bytes} bytes deployed, ${bytes - CODE_LIMIT} over the limit of ${CODE_LIMIT}`)
    const path = `src/abi/${c.name}.ts`
    if (files[path] !== undefined) throw new SolidityError(`two contracts are called ${c.name}: rename one`)
    files[path] = moduleOf(c)
  }
  const lines = contracts.map((c) => `export { ${c.name} } from './abi/${c.name}.ts'`)
  files['src/index.ts'] = `${[NOTICE, ...lines, ...(lines.length === 0 ? ['export {}'] : [])].join('\n')}\n`
  return files
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Everything that the result depends on. */
const inputHash = (): string => {
  const version = readFileSync(new URL('../node_modules/solc/package.json', import.meta.url), 'utf8')
  const tools = ['contracts.ts', 'solidity.ts'].map((name) => readFileSync(new URL(name, import.meta.url), 'utf8'))
  return sha256(JSON.stringify([version, tools, readSource('foundry.toml'), solidityFiles('src').map((name) => [name, readSource(name)])]))
}

/** The generated files for the sources as they are; remembered in cache/, which only saves time. */
const generated = (): Files => {
  const key = inputHash()
  const memory = new URL('cache/abi.json', contractsFolder)
  if (existsSync(memory)) {
    const { key: remembered, files } = JSON.parse(readFileSync(memory, 'utf8')) as { key: string; files: Files }
    if (remembered === key) return files
  }
  const files = generate()
  mkdirSync(new URL('cache/', contractsFolder), { recursive: true })
  writeFileSync(memory, JSON.stringify({ key, files }))
  return files
}

/** Generated files on disk that no contract stands behind any more. */
const leftovers = (files: Files): string[] => {
  const folder = new URL('src/abi/', contractsFolder)
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .map((name) => `src/abi/${name}`)
    .filter((name) => files[name] === undefined)
}

const onDisk = (name: string): string | undefined => (existsSync(new URL(name, contractsFolder)) ? readSource(name) : undefined)

const build = (): void => {
  const files = generated()
  mkdirSync(new URL('src/abi/', contractsFolder), { recursive: true })
  const changed = Object.entries(files).filter(([name, text]) => onDisk(name) !== text)
  for (const [name, text] of changed) writeFileSync(new URL(name, contractsFolder), text)
  const gone = leftovers(files)
  for (const name of gone) rmSync(new URL(name, contractsFolder))
  for (const name of [...changed.map(([n]) => n), ...gone]) console.log(`packages/contracts/${name}`)
  console.error(`${Object.keys(files).length - 1} contracts; ${changed.length} files written, ${gone.length} removed`)
}

const check = (): void => {
  const files = generated()
  const stale = [...Object.keys(files).filter((name) => onDisk(name) !== files[name]), ...leftovers(files)]
  for (const name of stale) console.error(`packages/contracts/${name} is not what the sources give`)
  if (stale.length > 0) {
    console.error('run: node tools/contracts.ts build')
    process.exitCode = 1
  } else console.error(`${Object.keys(files).length - 1} contracts match their sources`)
}

/** The platform's own binary: npm's `forge` wrapper drops the exit status, so that failing tests would look like passing ones. */
const forgeBinary = (): string => {
  const name = `@foundry-rs/forge-${process.platform}-${process.arch === 'x64' ? 'amd64' : process.arch}`
  const here = createRequire(import.meta.url)
  try {
    return createRequire(here.resolve('@foundry-rs/forge/package.json')).resolve(
      `${name}/bin/forge${process.platform === 'win32' ? '.exe' : ''}`,
    )
  } catch (cause) {
    throw new SolidityError(`the package ${name} is not installed\n  run: npm install, without --omit=optional`, { cause })
  }
}

const test = (args: readonly string[]): void => {
  const { status, error } = spawnSync(forgeBinary(), ['test', ...args], { cwd: contractsPath('.'), stdio: 'inherit' })
  if (error) throw new SolidityError('forge did not start\n  run: npm install', { cause: error })
  process.exitCode = status ?? 1
}

const [verb, ...args] = process.argv.slice(2)
try {
  if (verb === 'build') build()
  else if (verb === 'check') check()
  else if (verb === 'test') test(args)
  else {
    console.error('usage: node tools/contracts.ts build | check | test [forge arguments]')
    process.exitCode = 2
  }
} catch (error) {
  if (!(error instanceof SolidityError)) throw error
  console.error(error.message)
  process.exitCode = 1
}
