// The WebAssembly that every JavaScript engine brings, with the few types we use: no library declares them for Node and browser alike without the DOM.

export interface Memory {
  readonly buffer: ArrayBuffer
}
interface Module {
  readonly __module: never
}
interface Instance {
  readonly exports: Readonly<Record<string, unknown>>
}

interface Api {
  readonly Memory: new (limits: { initial: number; maximum: number }) => Memory
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => Module
  readonly Instance: new (module: Module, imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>) => Instance
}
const api = (globalThis as unknown as { WebAssembly: Api }).WebAssembly

/** A memory of `bytes`, in whole pages, that never grows, so views of it stay valid. */
export const makeMemory = (bytes: number): Memory => {
  const pages = Math.ceil(bytes / 65536)
  return new api.Memory({ initial: pages, maximum: pages })
}

export type Code = Module

export const compileModule = (bytes: Uint8Array<ArrayBuffer>): Code => new api.Module(bytes)

/** A module's exported functions over `memory`, with whatever else it imports. */
export const instantiate = (
  code: Code,
  memory: Memory,
  imports: Readonly<Record<string, unknown>> = {},
): Readonly<Record<string, unknown>> => new api.Instance(code, { env: { ...imports, memory } }).exports
