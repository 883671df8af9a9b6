// The recipes by name, each loaded when it is asked for.

import type { Recipe } from './recipe.ts'

export const RECIPES: Readonly<Record<string, () => Promise<Recipe>>> = {
  mnist: async () => (await import('./digits.ts')).mnist,
  'fashion-mnist': async () => (await import('./digits.ts')).fashion,
  shakespeare: async () => (await import('./shakespeare.ts')).shakespeare,
  tabular: async () => (await import('./tabular.ts')).tabular,
}
