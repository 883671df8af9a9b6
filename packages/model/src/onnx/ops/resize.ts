// Resize and Upsample as ONNX states them: sizes or scales that are known while importing.

import { type CoordinateMode, type NearestMode, type ResizeAxis, type ResizeMode, resize } from '../../resize.ts'
import { axisOf } from '../../tensor.ts'
import { OnnxError } from '../decode.ts'
import type { OpNode, OpTable } from '../op.ts'

const MODES: readonly string[] = ['nearest', 'linear', 'cubic'] satisfies ResizeMode[]
const COORDINATES: readonly string[] = [
  'half_pixel',
  'half_pixel_symmetric',
  'pytorch_half_pixel',
  'align_corners',
  'asymmetric',
  'tf_half_pixel_for_nn',
  'tf_crop_and_resize',
] satisfies CoordinateMode[]
const NEAREST: readonly string[] = ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'] satisfies NearestMode[]

function oneOf(node: OpNode, attribute: string, fallback: string, allowed: readonly string[]): string {
  const value = node.string(attribute, fallback)
  // Upsample's name for linear, before opset 9
  const name = value === 'bilinear' ? 'linear' : value
  if (!allowed.includes(name)) throw new OnnxError(`${attribute} "${value}" is none of ${allowed.join(', ')}`)
  return name
}

/** A list that is there and not empty. */
function listAt(node: OpNode, i: number): number[] | undefined {
  const given = node.inputs[i] && node.knownInts(i)
  return given && given.length > 0 ? given : undefined
}

/** Axes and their new sizes: from sizes, kept in proportion where the policy says so, or from scales. */
function axesOf(node: OpNode, scales: readonly number[] | undefined, sizes: readonly number[] | undefined): ResizeAxis[] {
  const shape = node.shape(0)
  const axes = node.ints(
    'axes',
    shape.map((_, i) => i),
  )
  const given = scales ?? sizes
  if (given?.length !== axes.length)
    throw new OnnxError(`${given ? given.length : 'no'} scales or sizes for ${axes.length} axes of [${shape}]`)
  const roi = node.op === 'Resize' && node.opset >= 11 ? listAt(node, 1) : undefined
  const regionOf = (i: number) => (roi ? { region: [roi[i], roi[axes.length + i]] as const } : {})
  const olds = axes.map((a) => shape[axisOf(shape, a)])
  if (scales)
    return axes.map((a, i) => {
      const extent = roi && node.string('coordinate_transformation_mode', '') === 'tf_crop_and_resize' ? roi[axes.length + i] - roi[i] : 1
      return { axis: axisOf(shape, a), size: Math.floor(olds[i] * extent * scales[i]), scale: scales[i], ...regionOf(i) }
    })
  const policy = node.string('keep_aspect_ratio_policy', 'stretch')
  const ratios = olds.map((old, i) => sizes![i] / old)
  const scale = policy === 'not_larger' ? Math.min(...ratios) : policy === 'not_smaller' ? Math.max(...ratios) : undefined
  return axes.map((a, i) => ({
    axis: axisOf(shape, a),
    size: scale === undefined ? sizes![i] : Math.floor(olds[i] * scale + 0.5),
    ...(scale === undefined ? {} : { scale }),
    ...regionOf(i),
  }))
}

export const resizing: OpTable = {
  Resize: (node) => {
    const old = node.opset < 11
    const scales = listAt(node, old ? 1 : 2)
    const sizes = old ? undefined : listAt(node, 3)
    return resize(node.expr(0), axesOf(node, scales, sizes), {
      mode: oneOf(node, 'mode', 'nearest', MODES) as ResizeMode,
      coordinates: (old ? 'asymmetric' : oneOf(node, 'coordinate_transformation_mode', 'half_pixel', COORDINATES)) as CoordinateMode,
      nearest: (old ? 'floor' : oneOf(node, 'nearest_mode', 'round_prefer_floor', NEAREST)) as NearestMode,
      cubicA: node.float('cubic_coeff_a', -0.75),
      excludeOutside: node.int('exclude_outside', 0) !== 0,
      antialias: node.int('antialias', 0) !== 0,
      extrapolation: node.float('extrapolation_value', 0),
    })
  },
  Upsample: (node) => {
    const scales = node.inputs[1] ? listAt(node, 1) : node.floats('scales')
    return resize(node.expr(0), axesOf(node, scales, undefined), {
      mode: oneOf(node, 'mode', 'nearest', MODES) as ResizeMode,
      coordinates: 'asymmetric',
      nearest: 'floor',
    })
  },
}
