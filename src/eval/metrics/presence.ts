/**
 * Yes or no, as POPE asks (Li et al. 2023): the first sentence counts, and a negation in it means no. The released script
 * takes everything else for a yes; here that is a yes only where it affirms something, so that an empty or garbled answer
 * is wrong whatever the truth.
 */

export type YesNo = 'yes' | 'no';

/** What was asked about, and what the answer says; null where it says neither. */
export interface PresenceVerdict {
  readonly truth: YesNo;
  readonly said: YesNo | null;
}

/** Shares of 0..1; 0 where there is nothing to divide by. */
export interface PresenceScores {
  readonly accuracy: number;
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  /** Share of answers that say yes. */
  readonly yesRatio: number;
  /** Share of answers that say neither. */
  readonly neither: number;
}

const NEGATION = /(?<![\p{L}\p{N}'’-])(?:no|not|none|cannot|\p{L}+n['’]t)(?![\p{L}\p{N}])/iu;
const AFFIRMATION =
  /(?<![\p{L}\p{N}'’-])(?:yes|yeah|yep|true|correct|indeed|is|are|has|have|contains?|shows?|see|seen|visible|(?:there|it|that)['’]s)(?![\p{L}\p{N}])/iu;

/** What an answer says. */
export function saidYesOrNo(answer: string): YesNo | null {
  const sentence = (answer.trim().split('.')[0] ?? '').replaceAll(',', '');
  if (NEGATION.test(sentence)) return 'no';
  return AFFIRMATION.test(sentence) ? 'yes' : null;
}

/**
 * Scores of many answers, yes being the positive. What says neither is wrong: a miss where yes was true, a false alarm
 * where no was.
 */
export function presenceScores(verdicts: readonly PresenceVerdict[]): PresenceScores {
  const count = (test: (verdict: PresenceVerdict) => boolean): number => verdicts.filter(test).length;
  const hits = count(v => v.truth === 'yes' && v.said === 'yes');
  const missed = count(v => v.truth === 'yes' && v.said !== 'yes');
  const alarms = count(v => v.truth === 'no' && v.said !== 'no');
  const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);
  const precision = share(hits, hits + alarms);
  const recall = share(hits, hits + missed);
  return {
    accuracy: share(
      count(v => v.truth === v.said),
      verdicts.length,
    ),
    precision,
    recall,
    f1: share(2 * precision * recall, precision + recall),
    yesRatio: share(
      count(v => v.said === 'yes'),
      verdicts.length,
    ),
    neither: share(
      count(v => v.said === null),
      verdicts.length,
    ),
  };
}
