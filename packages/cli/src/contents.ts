// What a task is made of, for somebody who only knows its number: its recipe when it is one of ours, else its graph and states from peers, each checked.

import { type Data, type Graph, graphId, toHex, verifyGraph } from '@bitloom/graph'
import type { Job } from '@bitloom/model'
import type { BitloomNode } from '@bitloom/node'
import { parseContact } from '@bitloom/node/contact'
import { findBundle, findState } from '@bitloom/node/exchange'
import { type Spec, stepsOf } from '@bitloom/sdk'
import type { Hex } from 'viem'
import { choiceOf, makeReady, RECIPE_NAMES, type Ready, recipeOf } from './recipes.ts'

export type Known = { readonly name: string; readonly ready: Ready; readonly job: Job }

/** The recipe with its own settings whose graph a spec names, with its job (the seed is not the spec's: it lies in the data). */
export async function recipeOfSpec(spec: Spec): Promise<Known | undefined> {
  for (const name of RECIPE_NAMES) {
    const recipe = await recipeOf(name)
    const choice = choiceOf(recipe, {}, 0, { slices: spec.slices })
    if (!recipe.alone || choice.settings.steps !== stepsOf(spec)) continue
    const ready = await makeReady(choice)
    const { job } = ready.prepared
    if (toHex(graphId(job.graph)) === spec.graphId) return { name, ready, job }
  }
  return undefined
}

/** Peers that have to do with offers: whom to ask first. */
const contactsOf = (node: BitloomNode) => node.signedOffers().flatMap(({ offer }) => parseContact(offer.contact) ?? [])

/** A task's graph, from whoever has it; undefined where nobody does. */
export async function graphFromPeers(node: BitloomNode, taskId: bigint, spec: Spec): Promise<Graph | undefined> {
  const contacts = contactsOf(node)
  const bundle = await findBundle(
    node.services,
    taskId,
    contacts.map((c) => c.peer),
  )
  if (!bundle) return undefined
  // the submitter's own address may be gone: whoever trains has the blobs, too
  const bytes = await node.services.fetch(bundle.graphRoot, bundle.graphBytes, [
    ...new Set([...contacts.map((c) => c.http), ...bundle.urls]),
  ])
  const verdict = bytes && verifyGraph(bytes)
  return verdict?.ok && toHex(graphId(verdict.graph)) === spec.graphId ? verdict.graph : undefined
}

/** A state by its root, from whoever has it. */
export const stateFromPeers = (node: BitloomNode, graph: Graph, root: Hex): Promise<Data[] | undefined> =>
  findState(
    node.services,
    graph,
    root,
    contactsOf(node).map((c) => c.peer),
  )
