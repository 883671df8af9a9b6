// The char-GPT for 400 steps, cut as a long run would be.
import { shakespeare } from '@bitloom/model/recipes/shakespeare'

export default () => ({ ...shakespeare, name: 'chargpt-400', cut: { stepsPerCheckpoint: 10, checkpointsPerSlice: 20, slices: 2 } })
