// Products: MatMul, Gemm, Einsum.

import type { Expr } from '@bitloom/graph'
import { add, broadcastTo, cast, eq, iota, matmul, mul, permute, reshape, sum, transpose, unsqueeze, where } from '../../tensor.ts'
import { OnnxError } from '../error.ts'
import type { OpImporter, OpTable } from '../op.ts'

/** A product of integers, which no fold of the graph does, is a sum of products. */
function product(a: Expr, b: Expr): Expr {
  if (a.dtype === 'f32' && b.dtype === 'f32') return matmul(a, b)
  if (a.dtype !== b.dtype) return matmul(cast(a, 'f32'), cast(b, 'f32'))
  const [left, right] = [a.shape.length === 1 ? unsqueeze(a, 0) : a, b.shape.length === 1 ? unsqueeze(b, 1) : b]
  const all = sum(mul(unsqueeze(left, -1), unsqueeze(right, -3)), -2)
  const shape = [...all.shape]
  if (b.shape.length === 1) shape.pop()
  if (a.shape.length === 1) shape.splice(b.shape.length === 1 ? shape.length - 1 : shape.length - 2, 1)
  return reshape(all, shape)
}

const gemm: OpImporter = (node) => {
  const [a, b] = [node.expr(0), node.expr(1)]
  if (a.shape.length !== 2 || b.shape.length !== 2) throw new OnnxError(`[${a.shape}] x [${b.shape}]: both must have two axes`)
  const y = matmul(node.int('transA', 0) === 1 ? transpose(a) : a, node.int('transB', 0) === 1 ? transpose(b) : b)
  const [alpha, beta] = [node.float('alpha', 1), node.float('beta', 1)]
  const scaled = alpha === 1 ? y : mul(y, alpha)
  const c = node.optional(2)
  if (!c || beta === 0) return scaled
  return add(scaled, broadcastTo(beta === 1 ? c : mul(c, beta), y.shape))
}

/** A tensor whose axes have names. */
type Labelled = { readonly e: Expr; readonly labels: string }

/** A label that one operand has twice becomes its diagonal. */
function diagonal({ e, labels }: Labelled): Labelled {
  for (let i = 0; i < labels.length; i++) {
    const j = labels.indexOf(labels[i], i + 1)
    if (j < 0) continue
    const onIt = eq(iota(e.shape, i), iota(e.shape, j))
    const zero = e.dtype === 'f32' ? where(onIt, e, 0) : mul(e, onIt)
    return diagonal({ e: sum(zero, j), labels: labels.slice(0, j) + labels.slice(j + 1) })
  }
  return { e, labels }
}

const without = (labels: string, gone: string): string => [...labels].filter((l) => !gone.includes(l)).join('')

/** Sums the labels away that nothing needs any more. */
function trimmed({ e, labels }: Labelled, needed: string): Labelled {
  const axes = [...labels].flatMap((l, i) => (needed.includes(l) ? [] : [i]))
  return axes.length === 0 ? { e, labels } : { e: sum(e, axes), labels: [...labels].filter((l) => needed.includes(l)).join('') }
}

const arranged = ({ e, labels }: Labelled, order: string): Expr =>
  permute(
    e,
    [...order].map((l) => labels.indexOf(l)),
  )

/** Two operands become one: what both have and the result keeps is a batch, what the result does not keep is summed. */
function contracted(a: Labelled, b: Labelled, needed: string): Labelled {
  const [left, right] = [trimmed(a, needed + b.labels), trimmed(b, needed + a.labels)]
  const both = [...left.labels].filter((l) => right.labels.includes(l))
  const batch = both.filter((l) => needed.includes(l)).join('')
  const inner = both.filter((l) => !needed.includes(l)).join('')
  const [m, n] = [without(left.labels, batch + inner), without(right.labels, batch + inner)]
  const sizes = new Map<string, number>()
  for (const { e, labels } of [left, right])
    [...labels].forEach((l, i) => {
      const known = sizes.get(l) ?? 1
      if (known !== 1 && e.shape[i] !== 1 && known !== e.shape[i]) throw new OnnxError(`label "${l}" has sizes ${known} and ${e.shape[i]}`)
      sizes.set(l, Math.max(known, e.shape[i]))
    })
  const size = (labels: string): number => [...labels].reduce((p, l) => p * sizes.get(l)!, 1)
  const full = (x: Labelled, order: string): Expr =>
    broadcastTo(
      arranged(x, order),
      [...order].map((l) => sizes.get(l)!),
    )
  const x = reshape(full(left, batch + m + inner), [size(batch), size(m), size(inner)])
  const y = reshape(full(right, batch + inner + n), [size(batch), size(inner), size(n)])
  const labels = batch + m + n
  const shape = [...labels].map((l) => sizes.get(l)!)
  if (inner === '' || x.dtype === 'i32') {
    const z = sum(mul(reshape(x, [size(batch), size(m), size(inner), 1]), reshape(y, [size(batch), 1, size(inner), size(n)])), 2)
    return { e: reshape(z, shape), labels }
  }
  const z = batch === '' ? unsqueeze(matmul(reshape(x, x.shape.slice(1)), reshape(y, y.shape.slice(1))), 0) : matmul(x, y)
  return { e: reshape(z, shape), labels }
}

/** Labels of the axes that an ellipsis stands for: capitals beyond the letters that people write. */
const ELLIPSIS = 'ΑΒΓΔΕΖ'

/** Einstein's summation (NumPy's rules: ellipses broadcast, without an arrow the labels that occur once, in order). */
const einsum: OpImporter = (node) => {
  const equation = node.string('equation').replace(/\s/g, '')
  const [left, right] = equation.split('->')
  const terms = left.split(',')
  const operands = node.inputs.map((_, i) => node.expr(i))
  if (terms.length !== operands.length || equation.split('->').length > 2 || !/^[A-Za-z,.]*(->[A-Za-z.]*)?$/.test(equation))
    throw new OnnxError(`equation "${equation.slice(0, 80)}" with ${operands.length} operands`)
  const expanded = terms.map((t, i) => {
    const named = t.replace('...', '').length
    const rest = operands[i].shape.length - named
    if (rest < 0 || rest > ELLIPSIS.length || (rest > 0 && !t.includes('...'))) throw new OnnxError(`"${t}" for [${operands[i].shape}]`)
    return t.replace('...', ELLIPSIS.slice(ELLIPSIS.length - rest))
  })
  const dots = [...ELLIPSIS].filter((l) => expanded.some((t) => t.includes(l))).join('')
  const letters = [...new Set(expanded.join(''))].filter((l) => !ELLIPSIS.includes(l)).sort()
  const implied = dots + letters.filter((l) => expanded.join('').split(l).length === 2).join('')
  const result = right === undefined ? implied : right.replace('...', dots)
  if ([...result].some((l, i) => !expanded.join('').includes(l) || result.indexOf(l) !== i))
    throw new OnnxError(`"${result}" cannot be the result of "${left}"`)
  let value = diagonal({ e: operands[0], labels: expanded[0] })
  for (let i = 1; i < operands.length; i++)
    value = contracted(value, diagonal({ e: operands[i], labels: expanded[i] }), result + expanded.slice(i + 1).join(''))
  const last = trimmed(value, result)
  return arranged(last, result)
}

export const linear: OpTable = {
  MatMul: (node) => product(node.expr(0), node.expr(1)),
  Gemm: gemm,
  Einsum: einsum,
}
