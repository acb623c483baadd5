/**
 * `size` rounded up to one of `steps` sizes an octave (8, 10, 12, 14, 16, 20, … for 4 steps), at least `least`; 0 stays
 * 0. A step is recorded and compiled once a shape, so shapes must be few; the waste is below 1/steps.
 */
export function bucketSize(size: number, least: number, steps: number): number {
  if (size === 0) return 0;
  if (size <= least) return least;
  const unit = Math.max(2 ** Math.floor(Math.log2(size)) / steps, 1);
  return Math.ceil(size / unit) * unit;
}
