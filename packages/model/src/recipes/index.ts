// The recipes by name, each loaded when it is asked for.

import type { Recipe } from './recipe.ts'

export const RECIPES: Readonly<Record<string, () => Promise<Recipe>>> = {
  mnist: async () => (await import('./digits.ts')).mnist,
  'fashion-mnist': async () => (await import('./digits.ts')).fashion,
  'resnet-8': async () => (await import('./resnet.ts')).resnet,
  shakespeare: async () => (await import('./shakespeare.ts')).shakespeare,
  lstm: async () => (await import('./lstm.ts')).lstm,
  lora: async () => (await import('./lora.ts')).lora,
  gpt2: async () => (await import('./gpt2.ts')).gpt2,
  tabular: async () => (await import('./tabular.ts')).tabular,
}
