/** Choosing the next token from its scores: the most probable one, or one drawn at random. */
import { GroundError } from '../errors.ts';
import type { Random } from '../random.ts';

/** How tokens are drawn. The steps are those of transformers' generation, in its order. */
export interface Sampling {
  /** Scores are divided by it: below 1 the probable becomes more probable. Above 0. */
  readonly temperature: number;
  /** Draws among that many most probable tokens only; 0: among all. */
  readonly topK: number;
  /** Draws among the fewest most probable tokens that have this much probability together; 1: among all. */
  readonly topP: number;
  readonly seed: number;
}

/** Throws GroundError 'usage' for values that draw nothing. */
export function checkSampling({ temperature, topK, topP, seed }: Sampling): void {
  const refuse = (name: string, value: number, hint: string): never => {
    throw new GroundError('usage', `${name} cannot be ${value}`, { hint });
  };
  if (!(temperature > 0) || !Number.isFinite(temperature)) {
    refuse(
      'the temperature',
      temperature,
      'give a number above 0, such as 0.7; leave it out for greedy answers',
    );
  }
  if (!Number.isInteger(topK) || topK < 0) refuse('top-k', topK, 'give a whole number; 0 for no limit');
  if (!(topP > 0 && topP <= 1)) refuse('top-p', topP, 'give a number above 0, up to 1 for no limit');
  if (!Number.isInteger(seed) || seed < 0) refuse('the seed', seed, 'give a whole number');
}

/** The place of the largest score; the first of equals. */
export function likeliest(scores: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) {
    if ((scores[i] ?? Number.NEGATIVE_INFINITY) > (scores[best] ?? Number.NEGATIVE_INFINITY)) best = i;
  }
  return best;
}

/**
 * The probability of each token that may be drawn, the most probable first (of equals, the lower id). Scores equal to the
 * k-th stay in, as in transformers; top-p keeps a token while those before it have less than `topP` together.
 */
export function candidates(
  scores: ArrayLike<number>,
  { temperature, topK, topP }: Pick<Sampling, 'temperature' | 'topK' | 'topP'>,
): { readonly token: number; readonly probability: number }[] {
  const order = Array.from({ length: scores.length }, (_, token) => token).sort(
    (a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b,
  );
  const score = (token: number): number => (scores[token] ?? 0) / temperature;
  const last = order[Math.min(topK === 0 ? order.length : topK, order.length) - 1] ?? 0;
  const among = order.filter(token => (scores[token] ?? 0) >= (scores[last] ?? 0));
  const best = score(among[0] ?? 0);
  const weights = among.map(token => Math.exp(score(token) - best));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const kept: { token: number; weight: number }[] = [];
  let before = 0;
  for (const [i, token] of among.entries()) {
    // At 1 nothing is cut: the sum may reach 1 early by rounding alone.
    if (i > 0 && topP < 1 && before / total >= topP) break;
    const weight = weights[i] ?? 0;
    kept.push({ token, weight });
    before += weight;
  }
  return kept.map(({ token, weight }) => ({ token, probability: weight / before }));
}

/** A token drawn from its scores. */
export function drawToken(scores: ArrayLike<number>, sampling: Sampling, random: Random): number {
  const choices = candidates(scores, sampling);
  let rest = random.next();
  for (const { token, probability } of choices) {
    rest -= probability;
    if (rest < 0) return token;
  }
  // Rounding may leave a little.
  return choices[choices.length - 1]?.token ?? 0;
}
