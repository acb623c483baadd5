import type { ScheduleConfig } from './recipe.ts';

/**
 * The factor on the peak learning rate at a step, counted from 0: a linear rise over the warmup steps (step 0 has
 * factor 0, as in transformers' schedules), then cosine or linear descent to `floor`, or constant.
 */
export function scheduleFactor(schedule: ScheduleConfig, step: number, steps: number): number {
  // Rounded up as transformers does, the rounding of the product included.
  const warmup = Math.ceil(steps * schedule.warmup);
  if (step < warmup) return step / warmup;
  const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  switch (schedule.kind) {
    case 'constant':
      return 1;
    case 'linear':
      return schedule.floor + (1 - schedule.floor) * (1 - progress);
    case 'cosine':
      return schedule.floor + ((1 - schedule.floor) * (1 + Math.cos(Math.PI * progress))) / 2;
  }
}
