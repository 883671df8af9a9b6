// A hundred passes over the digits with a small MLP, cut as a long run would be: one slice, many segments.
import { mnist } from '@bitloom/model/recipes/digits'

export default () => ({ ...mnist, name: 'digits-100', cut: { stepsPerCheckpoint: 176, checkpointsPerSlice: 80, slices: 1 } })
