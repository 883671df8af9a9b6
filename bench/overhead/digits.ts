// A hundred passes over the digits with a small MLP, cut as a long run would be: few slices, many segments each.
import { mnist } from '@bitloom/model/recipes/digits'

export default () => ({ ...mnist, name: 'digits-100', cut: { stepsPerCheckpoint: 88, checkpointsPerSlice: 40, slices: 4 } })
