// The part of ONNX's protobuf schema that Bitloom reads and writes: field names, numbers and types, as onnx.proto3 of ONNX IR 10 fixes them.
//
// A graph inside an attribute (If, Loop) is kept as bytes, so that a file cannot nest deeper than whoever reads it looks.

import protobuf from 'protobufjs'

type Field = readonly [number: number, type: string, rule?: 'repeated' | 'packed']

const MESSAGES: Record<string, Record<string, Field>> = {
  ModelProto: {
    irVersion: [1, 'int64'],
    producerName: [2, 'string'],
    producerVersion: [3, 'string'],
    docString: [6, 'string'],
    graph: [7, 'GraphProto'],
    opsetImport: [8, 'OperatorSetIdProto', 'repeated'],
    metadataProps: [14, 'StringStringEntryProto', 'repeated'],
    functions: [25, 'FunctionProto', 'repeated'],
  },
  FunctionProto: {
    name: [1, 'string'],
    input: [4, 'string', 'repeated'],
    output: [5, 'string', 'repeated'],
    attribute: [6, 'string', 'repeated'],
    node: [7, 'NodeProto', 'repeated'],
    docString: [8, 'string'],
    opsetImport: [9, 'OperatorSetIdProto', 'repeated'],
    domain: [10, 'string'],
    attributeProto: [11, 'AttributeProto', 'repeated'],
    overload: [13, 'string'],
  },
  OperatorSetIdProto: { domain: [1, 'string'], version: [2, 'int64'] },
  StringStringEntryProto: { key: [1, 'string'], value: [2, 'string'] },
  GraphProto: {
    node: [1, 'NodeProto', 'repeated'],
    name: [2, 'string'],
    initializer: [5, 'TensorProto', 'repeated'],
    sparseInitializer: [15, 'bytes', 'repeated'],
    docString: [10, 'string'],
    input: [11, 'ValueInfoProto', 'repeated'],
    output: [12, 'ValueInfoProto', 'repeated'],
    valueInfo: [13, 'ValueInfoProto', 'repeated'],
  },
  NodeProto: {
    input: [1, 'string', 'repeated'],
    output: [2, 'string', 'repeated'],
    name: [3, 'string'],
    opType: [4, 'string'],
    attribute: [5, 'AttributeProto', 'repeated'],
    docString: [6, 'string'],
    domain: [7, 'string'],
    overload: [8, 'string'],
  },
  AttributeProto: {
    name: [1, 'string'],
    f: [2, 'float'],
    i: [3, 'int64'],
    s: [4, 'bytes'],
    t: [5, 'TensorProto'],
    g: [6, 'bytes'],
    floats: [7, 'float', 'packed'],
    ints: [8, 'int64', 'packed'],
    strings: [9, 'bytes', 'repeated'],
    type: [20, 'int32'],
    refAttrName: [21, 'string'],
  },
  TensorProto: {
    dims: [1, 'int64', 'packed'],
    dataType: [2, 'int32'],
    floatData: [4, 'float', 'packed'],
    int32Data: [5, 'int32', 'packed'],
    int64Data: [7, 'int64', 'packed'],
    name: [8, 'string'],
    rawData: [9, 'bytes'],
    doubleData: [10, 'double', 'packed'],
    uint64Data: [11, 'uint64', 'packed'],
    externalData: [13, 'StringStringEntryProto', 'repeated'],
    dataLocation: [14, 'int32'],
  },
  ValueInfoProto: { name: [1, 'string'], type: [2, 'TypeProto'], docString: [3, 'string'] },
  TypeProto: { tensorType: [1, 'TensorTypeProto'] },
  TensorTypeProto: { elemType: [1, 'int32'], shape: [2, 'TensorShapeProto'] },
  TensorShapeProto: { dim: [1, 'DimensionProto', 'repeated'] },
  DimensionProto: { dimValue: [1, 'int64'], dimParam: [2, 'string'] },
}

/** `AttributeProto.type`: which of its fields holds the value. */
export const ATTRIBUTE = { float: 1, int: 2, string: 3, tensor: 4, graph: 5, floats: 6, ints: 7, strings: 8 } as const
/** `TensorProto.dataType`. */
export const ELEMENT = {
  f32: 1,
  u8: 2,
  i8: 3,
  u16: 4,
  i16: 5,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
  f64: 11,
  u32: 12,
  u64: 13,
  bf16: 16,
} as const

const root = protobuf.Root.fromJSON({
  nested: Object.fromEntries(
    Object.entries(MESSAGES).map(([message, fields]) => [
      message,
      {
        fields: Object.fromEntries(
          Object.entries(fields).map(([name, [id, type, rule]]) => [
            name,
            { id, type, ...(rule ? { rule: 'repeated', options: { packed: rule === 'packed' } } : {}) },
          ]),
        ),
      },
    ]),
  ),
})

/** The message type of a whole model file. */
export const ModelProto: protobuf.Type = root.lookupType('ModelProto')
/** The message type of a graph inside an attribute. */
export const GraphProto: protobuf.Type = root.lookupType('GraphProto')
/** The message type of a tensor in a file of its own (ONNX's test data). */
export const TensorProto: protobuf.Type = root.lookupType('TensorProto')
