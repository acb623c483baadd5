/** What the papers report, and what would have to be found here to agree. */

/** One finding: the full method is better than a variant, or the other way round. */
export interface Claim {
  readonly variant: string;
  /** What the paper compares, with its numbers. */
  readonly paper: string;
  /** Which of the two the paper finds better. */
  readonly ahead: 'full' | 'variant';
  /** Measures (see results.ts) in which it should be. */
  readonly measures: readonly string[];
}

/** Ferret-v2 (arXiv 2404.07973), tables 5 and 6, 7B: LVIS referring by points / SA-refer by points / RefCOCOg. */
export const CLAIMS: readonly Claim[] = [
  {
    variant: 'fixed',
    ahead: 'full',
    paper:
      'Table 5, fixed 336 pixels against any resolution: LVIS 68.4 to 73.0 (+4.6), SA-refer 61.9 to 67.8 (+5.9), REC 86.8 to 88.5 (+1.7)',
    measures: ['roc', 'roc_small', 'rec', 'rec_small'],
  },
  {
    variant: 'upsampled',
    ahead: 'full',
    paper:
      'Section 3.2 (figures only): any resolution is better than direct upsampling of the whole image in all tasks measured',
    measures: ['roc', 'roc_small', 'rec', 'rec_small'],
  },
  {
    variant: 'clip-only',
    ahead: 'full',
    paper:
      'Table 6, CLIP alone against CLIP and DINOv2: LVIS 73.0 to 73.8 (+0.8), SA-refer 67.8 to 68.0 (+0.2), REC 88.5 to 89.1 (+0.6)',
    measures: ['roc', 'roc_small', 'rec', 'rec_small'],
  },
  {
    variant: 'no-stage-2',
    ahead: 'full',
    paper:
      'Table 6, without and with stage 2: LVIS 73.8 to 74.6 (+0.8), SA-refer 68.0 to 68.4 (+0.4), REC 89.1 to 89.3 (+0.2)',
    measures: ['roc', 'roc_small', 'rec', 'rec_small'],
  },
  {
    variant: 'trained',
    ahead: 'variant',
    paper:
      'Section 3.2 (figures only): with any resolution, training the encoder in the last stage always helped',
    measures: ['roc', 'roc_small', 'rec', 'rec_small'],
  },
  {
    variant: 'average',
    ahead: 'full',
    paper:
      'Ferret (v1, as later surveys quote it), average pooling against its sampler, LVIS: point 67.1 to 67.9 (+0.8), box 77.2 to 79.4 (+2.2), free-form 68.9 to 69.8 (+0.9)',
    measures: ['roc', 'roc_small'],
  },
];
