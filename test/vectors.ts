// Loads vectors/ops.json, the conformance suite of every op: each case as a graph with slots to run, and the bits that must come out.
// Written by tools/vectors-ops.ts from the interpreter; read by whoever claims to compute the same.
//
// Layout: { "cases": [{ name, op, attrs, operands: [tensor…], result: tensor }] }, a tensor being { dtype, shape, data }, and data the base64 of
// its little-endian bytes. Operands hold no NaN but 0x7fc00000.
import { readFileSync } from 'node:fs'
import { type OpCase, type OpVector, vectorOf } from './opcases.ts'

export * from './opcases.ts'

/** Every case of vectors/ops.json. */
export function loadOpVectors(): OpVector[] {
  const { cases } = JSON.parse(readFileSync(new URL('../vectors/ops.json', import.meta.url), 'utf8')) as { cases: OpCase[] }
  return cases.map(vectorOf)
}
