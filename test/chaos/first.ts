// What stands for hardware in a chaos run (the wire, the chain's door) goes before what runs on it, as hardware does.

import { constants, setPriority } from 'node:os'

/** Gives this process precedence, where it may have it. */
export function first(): void {
  try {
    setPriority(constants.priority.PRIORITY_HIGH)
  } catch (error) {
    // only root may; without it a busy computer makes the wire a little slower than it is told to be
    if ((error as { info?: { code?: string } }).info?.code !== 'EACCES') throw error
  }
}
