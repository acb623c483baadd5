/** What is compared: the full method, and variants of it that differ in one thing each. */

/** How one variant departs from the full method, as `--set` of the ordinary commands. */
export interface Variant {
  readonly name: string;
  /** As it stands in tables and in the plot. */
  readonly title: string;
  /** The one thing that differs. */
  readonly differs: string;
  /** `own`: trained with these overrides from the shared stage 1; `shared`: the full method's; `none`: left out. */
  readonly stage2:
    | { readonly kind: 'own'; readonly set: readonly string[] }
    | { readonly kind: 'shared' | 'none' };
  readonly stage3: readonly string[];
}

/** The full method, with which every variant is compared. */
export const FULL: Variant = {
  name: 'full',
  title: 'full method',
  differs:
    'nothing: CLIP on the whole image, DINOv2 on 2×2 tiles, all stages, the spatial-aware sampler; the encoders stay as stage 0 made them',
  stage2: { kind: 'own', set: [] },
  stage3: [],
};

const GLOBAL_VIEW_2 = [
  'views=global',
  'train=projector.global,sampler',
  'lr={projector.global: 3.0e-4, sampler: 2.0e-3}',
  'copy=[]',
];
const GLOBAL_VIEW_3 = [
  'views=global',
  'train=projector.global,sampler,llm',
  'lr={projector.global: 2.0e-4, sampler: 1.0e-3, llm: 2.0e-3}',
];

/** In the order of the tables. */
export const VARIANTS: readonly Variant[] = [
  FULL,
  {
    name: 'fixed',
    title: 'fixed resolution',
    differs: 'no tiles: the low-resolution view of the whole image alone, in stages 2 and 3 and when asked',
    stage2: { kind: 'own', set: GLOBAL_VIEW_2 },
    stage3: GLOBAL_VIEW_3,
  },
  {
    name: 'upsampled',
    title: 'fixed, upsampled',
    differs:
      'no tiles, but the whole image at the resolution of the tiles: CLIP with its positions interpolated, as many tokens as the tiles have',
    stage2: { kind: 'own', set: [...GLOBAL_VIEW_2, 'model.image.side=64'] },
    stage3: [...GLOBAL_VIEW_3, 'model.image.side=64'],
  },
  {
    name: 'clip-only',
    title: 'CLIP only',
    differs: 'CLIP, not DINOv2, reads the tiles as well; the tiles keep a projector of their own',
    stage2: { kind: 'own', set: ['model.tile_encoder=global_encoder'] },
    stage3: ['model.tile_encoder=global_encoder'],
  },
  {
    name: 'no-stage-2',
    title: 'without stage 2',
    differs:
      "stage 3 follows stage 1; the tiles' projector starts as a copy of the other, the sampler at random",
    stage2: { kind: 'none' },
    stage3: ['copy=[{from: projector.global, to: projector.local}]'],
  },
  {
    name: 'trained',
    title: 'encoders trained',
    differs:
      'both encoders train in stage 3, as in the paper, at a twentieth of the rate of their projectors',
    stage2: { kind: 'shared' },
    stage3: [
      'train=encoder,projector,sampler,llm',
      'lr={encoder: 1.0e-5, projector: 2.0e-4, sampler: 1.0e-3, llm: 2.0e-3}',
    ],
  },
  {
    name: 'average',
    title: 'average pooling',
    differs:
      "a region is the mean of the features at its points, projected, in place of the sampler's blocks",
    stage2: { kind: 'own', set: ['model.sampler.kind=average', 'model.sampler.blocks=[]', 'reset=sampler'] },
    stage3: ['model.sampler.kind=average', 'model.sampler.blocks=[]'],
  },
];
