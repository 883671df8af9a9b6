// Compiles Solidity with npm's WebAssembly solc under the settings in packages/contracts/foundry.toml: what forge tests is what is shipped.
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { posix } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where the contracts live. */
export const contractsFolder = new URL('../packages/contracts/', import.meta.url)

/** One compiled contract; code as 0x hex, empty (0x) for what cannot be deployed. */
export type Compiled = { name: string; file: string; kind: string; abi: unknown[]; bytecode: string; deployedBytecode: string }

type Ast = { nodes: { nodeType: string; name?: string; contractKind?: string; abstract?: boolean }[] }
type Code = { object: string; linkReferences: object }
type Output = {
  errors?: { severity: string; formattedMessage: string }[]
  sources?: Record<string, { ast: Ast }>
  contracts?: Record<string, Record<string, { abi: unknown[]; evm: { bytecode: Code; deployedBytecode: Code } }>>
}

/** Names of the Solidity files below a folder of packages/contracts, sorted, relative to packages/contracts. */
export const solidityFiles = (folder: string): string[] =>
  readdirSync(new URL(`${folder}/`, contractsFolder), { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .filter((name) => name.endsWith('.sol'))
    .sort()

/** The text of a file of packages/contracts. */
export const readSource = (name: string): string => readFileSync(new URL(name, contractsFolder), 'utf8')

/** Compiler settings out of foundry.toml's default profile, so that they are written once. */
export const compilerSettings = () => {
  const toml = readSource('foundry.toml')
  const value = (key: string): string => {
    const found = new RegExp(`^${key} *= *"?([^"\\n]+?)"? *$`, 'm').exec(toml)
    if (!found) throw new SolidityError(`foundry.toml has no ${key}`)
    return found[1]
  }
  return {
    optimizer: { enabled: value('optimizer') === 'true', runs: Number(value('optimizer_runs')) },
    evmVersion: value('evm_version'),
    viaIR: value('via_ir') === 'true',
    metadata: { bytecodeHash: value('bytecode_hash'), appendCBOR: value('cbor_metadata') === 'true' },
  }
}

/**
 * Every concrete contract and library with code of its own that the files declare (not of what they import).
 * Files are named relative to packages/contracts; warnings go to stderr; throws SolidityError with the compiler's words.
 */
export const compile = (files: readonly string[]): Compiled[] => {
  const solc = createRequire(import.meta.url)('solc') as { compile: (input: string) => string }
  const sources: Record<string, { content: string }> = {}
  // Imports are followed here, so the compiler sees the same names as in forge, whatever the working directory.
  const load = (name: string): void => {
    if (sources[name]) return
    const content = readSource(name)
    sources[name] = { content }
    for (const [, path] of content.matchAll(/^\s*(?:import|\}\s*from)\b[^'";]*(?:\{[^}]*\}\s*from\s*)?["']([^"']+)["']/gm)) {
      load(path.startsWith('.') ? posix.join(posix.dirname(name), path) : path)
    }
  }
  files.forEach(load)
  const input = {
    language: 'Solidity',
    sources: Object.fromEntries(Object.entries(sources).sort(([a], [b]) => (a < b ? -1 : 1))),
    settings: {
      ...compilerSettings(),
      outputSelection: {
        '*': { '*': ['abi', 'evm.bytecode.object', 'evm.bytecode.linkReferences', 'evm.deployedBytecode.object'], '': ['ast'] },
      },
    },
  }
  const output: Output = JSON.parse(solc.compile(JSON.stringify(input)))
  const errors = (output.errors ?? []).filter((e) => e.severity === 'error')
  if (errors.length > 0) throw new SolidityError(errors.map((e) => e.formattedMessage).join('\n'))
  for (const warning of output.errors ?? []) if (warning.severity === 'warning') console.error(warning.formattedMessage)
  return files.flatMap((file) =>
    output
      .sources![file].ast.nodes.filter(
        (node) => node.nodeType === 'ContractDefinition' && node.contractKind !== 'interface' && !node.abstract,
      )
      .map((node) => {
        const { abi, evm } = output.contracts![file][node.name!]
        const { object } = evm.bytecode
        if (Object.keys(evm.bytecode.linkReferences).length > 0) {
          throw new SolidityError(`${file}: ${node.name} needs a linked library\n  make the library's functions internal`)
        }
        const code = { bytecode: `0x${object}`, deployedBytecode: `0x${evm.deployedBytecode.object}` }
        return { name: node.name!, file, kind: node.contractKind!, abi, ...code }
      }),
  )
}

/** The compiler's complaint, or settings that cannot be read. */
export class SolidityError extends Error {
  override name = 'SolidityError'
}

/** A path that a child process can use for a file of packages/contracts. */
export const contractsPath = (name: string): string => fileURLToPath(new URL(name, contractsFolder))
