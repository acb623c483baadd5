import type { RecordedType } from '../../../engine/record.ts';
import type { GraphBuilder } from '../builder.ts';
import type { LoweredCall, Lowering, LoweringTable } from './lowering.ts';

/** Kernels of one tensor that ONNX has under some name, with the same meaning. */
const UNARY: Readonly<Record<string, string>> = {
  Abs: 'Abs',
  Acos: 'Acos',
  Acosh: 'Acosh',
  Asin: 'Asin',
  Asinh: 'Asinh',
  Atan: 'Atan',
  Atanh: 'Atanh',
  Ceil: 'Ceil',
  Cos: 'Cos',
  Cosh: 'Cosh',
  Elu: 'Elu',
  Erf: 'Erf',
  Exp: 'Exp',
  Floor: 'Floor',
  IsInf: 'IsInf',
  IsNan: 'IsNaN',
  Log: 'Log',
  LogicalNot: 'Not',
  Neg: 'Neg',
  Reciprocal: 'Reciprocal',
  Relu: 'Relu',
  Round: 'Round',
  Selu: 'Selu',
  Sigmoid: 'Sigmoid',
  Sign: 'Sign',
  Sin: 'Sin',
  Sinh: 'Sinh',
  Softplus: 'Softplus',
  Sqrt: 'Sqrt',
  Tan: 'Tan',
  Tanh: 'Tanh',
};

/** Kernels of a and b with NumPy broadcasting that ONNX has under some name. */
const BINARY: Readonly<Record<string, string>> = {
  Add: 'Add',
  Equal: 'Equal',
  Greater: 'Greater',
  GreaterEqual: 'GreaterOrEqual',
  Less: 'Less',
  LessEqual: 'LessOrEqual',
  LogicalAnd: 'And',
  LogicalOr: 'Or',
  LogicalXor: 'Xor',
  Maximum: 'Max',
  Minimum: 'Min',
  Multiply: 'Mul',
  Pow: 'Pow',
  RealDiv: 'Div',
  Sub: 'Sub',
};

const unary =
  (op: string): Lowering =>
  (call, g) =>
    g.node(op, [call.input('x')]);

const binary =
  (op: string): Lowering =>
  (call, g) =>
    g.node(op, [call.input('a'), call.input('b')]);

/** Element by element kernels. */
export const ELEMENTWISE: LoweringTable = {
  ...Object.fromEntries(Object.entries(UNARY).map(([kernel, op]) => [kernel, unary(op)])),
  ...Object.fromEntries(Object.entries(BINARY).map(([kernel, op]) => [kernel, binary(op)])),

  AddN: (call, g) => call.list.reduce((sum, next) => g.node('Add', [sum, next])),

  Cast: (call, g) =>
    call.value('x').dtype === call.output.dtype
      ? call.input('x')
      : g.cast(call.input('x'), call.output.dtype satisfies RecordedType),

  ClipByValue: (call, g) => clip(call, g, call.number('clipValueMin'), call.number('clipValueMax')),

  Expm1: (call, g) => g.node('Sub', [g.node('Exp', [call.input('x')]), g.scalar(1, 'float32')]),

  FloorDiv: (call, g) => {
    const quotient = floorDivide(call, g);
    return call.output.dtype === call.value('a').dtype ? quotient : g.cast(quotient, call.output.dtype);
  },

  Identity: call => call.input('x'),

  IsFinite: (call, g) => {
    const x = call.input('x');
    return g.node('Not', [g.node('Or', [g.node('IsNaN', [x]), g.node('IsInf', [x])])]);
  },

  LeakyRelu: (call, g) => g.node('LeakyRelu', [call.input('x')], { alpha: call.number('alpha') }),

  Log1p: (call, g) => g.node('Log', [g.node('Add', [call.input('x'), g.scalar(1, 'float32')])]),

  // The sign of the divisor, as in Python.
  Mod: (call, g) => {
    if (call.output.dtype === 'int32') return g.node('Mod', [call.input('a'), call.input('b')]);
    const whole = g.node('Mul', [floorDivide(call, g), call.input('b')]);
    return g.node('Sub', [call.input('a'), whole]);
  },

  NotEqual: (call, g) => g.node('Not', [g.node('Equal', [call.input('a'), call.input('b')])]),

  Prelu: (call, g) => g.node('PRelu', [call.input('x'), call.input('alpha')]),

  Relu6: (call, g) => clip(call, g, 0, 6),

  Rsqrt: (call, g) => g.node('Reciprocal', [g.node('Sqrt', [call.input('x')])]),

  Select: (call, g) => {
    // A vector of conditions for whole rows: TensorFlow.js's own backends disagree on what that means.
    if (call.value('condition').shape.length !== call.value('t').shape.length) {
      throw call.failure('the condition and the tensors have different ranks (use tf.where)');
    }
    return g.node('Where', [call.input('condition'), call.input('t'), call.input('e')]);
  },

  Square: (call, g) => g.node('Mul', [call.input('x'), call.input('x')]),

  SquaredDifference: (call, g) => {
    const difference = g.node('Sub', [call.input('a'), call.input('b')]);
    return g.node('Mul', [difference, difference]);
  },

  Step: (call, g) => {
    const { dtype } = call.output;
    const positive = g.node('Greater', [call.input('x'), g.scalar(0, dtype)]);
    return g.node('Where', [positive, g.scalar(1, dtype), g.scalar(call.number('alpha', 0), dtype)]);
  },
};

function clip(call: LoweredCall, g: GraphBuilder, low: number, high: number): string {
  const { dtype } = call.value('x');
  return g.node('Clip', [call.input('x'), g.scalar(low, dtype), g.scalar(high, dtype)]);
}

/** Rounds towards minus infinity; ONNX's division of integers rounds towards zero. */
function floorDivide(call: LoweredCall, g: GraphBuilder): string {
  const [a, b] = [call.input('a'), call.input('b')];
  if (call.value('a').dtype !== 'int32') return g.node('Floor', [g.node('Div', [a, b])]);
  // a - (a mod b) is a multiple of b, so that dividing it loses nothing.
  return g.node('Div', [g.node('Sub', [a, g.node('Mod', [a, b])]), b]);
}
