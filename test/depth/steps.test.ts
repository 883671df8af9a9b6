// Scalar steps of real training graphs, proved from the witnesses that a dispute would carry: `judge` gives the interpreter's bits, and so does the Arbiter in an EVM.
//   BITLOOM_STEPS=20 node --test test/depth/steps.test.ts   twenty exprs of every op (default two)

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { decodeLeaf, identity, judge, leafOf, recordTrace, scalarStep, terms, traceProof, traceRoot, witness } from '@bitloom/dispute'
import { elementOf } from '@bitloom/dispute/knowledge'
import { reader } from '@bitloom/dispute/witness'
import { encodeExpr, interpret, OP_NAMES, sizeOf } from '@bitloom/graph'
import { type Evm, startEvm } from '../../tools/evm.ts'
import { encodeStep, type Question } from '../../tools/scalar-questions.ts'
import { compile } from '../../tools/solidity.ts'
import { dice } from '../e2e/dispute-games.ts'
import { MODELS, type Model } from './models.ts'
import { spread } from './places.ts'

const each = Number(process.env.BITLOOM_STEPS ?? 2)
const ADDRESS = '0x0000000000000000000000000000000000a4b17f'

let evm: Evm
before(async () => {
  evm = await startEvm()
  await evm.place(ADDRESS, compile(['src/arbiter/Arbiter.sol'])[0]!.deployedBytecode)
})
after(() => evm?.stop())

type Asked = { readonly what: string; readonly question: Question; readonly word: number }

/** Steps of every op of a model's last step: first, last and any element; of a fold the first, the last and any term. */
function steps(model: Model): Asked[] {
  const { graph, slots } = model
  const roll = dice(`${model.name} steps`)
  // The law itself computes the trace here, once; `games.test.ts` has the engine's.
  const trace = recordTrace(graph, slots, interpret, new Set(graph.exprs.keys()))
  const source = { tensor: trace.tensor, traceProof: (at: number) => traceProof(trace, at) }
  const asked: Asked[] = []
  for (const op of OP_NAMES) {
    const all = graph.exprs.flatMap((e, at) => (e.op === op && op !== 'input' ? [at] : []))
    for (const at of spread(all, each, roll)) {
      const e = graph.exprs[at]!
      const leaf = encodeExpr(graph, e)
      assert.deepEqual(decodeLeaf(leaf), leafOf(graph, at))
      const known = leafOf(graph, at)
      const [size, count] = [sizeOf(e.shape), terms(known)]
      const read = reader(known, (k) => trace.tensor(known.positions[k]!))
      for (const element of new Set([0, size - 1, roll(size)])) {
        const wanted = new Set([0, count - 1, roll(count)])
        let acc = identity(known)
        for (let term = 0; term < count; term++) {
          const before = acc
          acc = scalarStep(known, element, term, acc, read)
          if (!wanted.has(term)) continue
          const operands = witness(graph, at, element, term, before, source)
          const question = { leaf, element, term, acc: before, trace: traceRoot(trace), exprs: graph.exprs.length, operands }
          asked.push({ what: `${model.name}: ${op} ${at}[${element}] term ${term}`, question, word: acc })
        }
        assert.equal(acc, elementOf(graph, at, element, trace.tensor(at)), `${op} ${at}[${element}] folds to the interpreter's bits`)
      }
    }
  }
  return asked
}

for (const [name, model] of Object.entries(MODELS))
  test(`${name}: scalar steps of every op, from their witnesses`, async () => {
    const asked = steps(await model())
    for (const { what, question: q, word } of asked) {
      const judged = judge(q.leaf, q.element, q.term, q.acc, q.trace, q.exprs, q.operands)
      assert.deepEqual(judged, { ok: true, word }, what)
    }
    for (let i = 0; i < asked.length; i += 32) {
      const batch = asked.slice(i, i + 32)
      const answers = await evm.calls(
        ADDRESS,
        batch.map((a) => encodeStep(a.question)),
      )
      batch.forEach((a, k) => {
        assert.deepEqual([answers[k]!.ok, Number(answers[k]!.data)], [true, a.word], `${a.what} on the Arbiter`)
      })
    }
    const ops = new Set(asked.map((a) => a.what.split(' ')[1]))
    assert.ok(ops.size >= 28, `${ops.size} ops`)
    console.log(`# ${name}: ${asked.length} steps of ${ops.size} ops`)
  })
