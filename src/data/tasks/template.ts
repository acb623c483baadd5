/** Phrasings with {slots}: several for each frequent question, the paper's own wording first. */
import type { Random } from '../../random.ts';
import { type Piece, textPiece } from '../conversation.ts';
import type { TaskContext } from './context.ts';

export type Slots = Readonly<Record<string, string | readonly Piece[]>>;

/** Fills the slots of one phrasing. A slot without a value is a mistake in the task and throws RangeError. */
export function fill(template: string, slots: Slots): Piece[] {
  return template.split(/(\{\w+\})/).flatMap((part): Piece[] => {
    if (part === '') return [];
    if (!/^\{\w+\}$/.test(part)) return [textPiece(part)];
    const value = slots[part.slice(1, -1)];
    if (value === undefined) throw new RangeError(`no value for ${part} in "${template}"`);
    return typeof value === 'string' ? [textPiece(value)] : [...value];
  });
}

/** One phrasing, filled: the first where the context asks for literal wording. */
export function phrase(
  templates: readonly string[],
  slots: Slots,
  context: TaskContext,
  random: Random,
): Piece[] {
  const template = context.phrasing === 'literal' ? (templates[0] ?? '') : random.pick(templates);
  return fill(template, slots);
}

/** A question whose answer carries boxes: with the stage's grounding prompt at its end. */
export function grounded(question: readonly Piece[], context: TaskContext): Piece[] {
  return context.groundingPrompt === ''
    ? [...question]
    : [...question, textPiece(` ${context.groundingPrompt}`)];
}

/** "1: …, 2: …, 3: …" */
export function enumerate(items: readonly (readonly Piece[])[]): Piece[] {
  return items.flatMap((item, i) => [textPiece(`${i === 0 ? '' : ', '}${i + 1}: `), ...item]);
}
