// The char-GPT for 800 steps, cut as a long run would be: one slice, many segments.
import { shakespeare } from '@bitloom/model/recipes/shakespeare'

export default () => ({ ...shakespeare, name: 'chargpt-800', cut: { stepsPerCheckpoint: 10, checkpointsPerSlice: 80, slices: 1 } })
