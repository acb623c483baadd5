/** Keys' cubic. PyTorch's `interpolate(mode='bicubic')` takes a = -0.75, and -0.5 with `antialias`. */
function cubic(distance: number, a: number): number {
  const t = Math.abs(distance);
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  return 0;
}

/** Weights [to][from] that resample a line of `from` samples to `to`: half-pixel centres, clamped border. */
function lineWeights(from: number, to: number): number[][] {
  return Array.from({ length: to }, (_, i) => {
    const centre = ((i + 0.5) * from) / to - 0.5;
    const first = Math.floor(centre) - 1;
    const row = new Array<number>(from).fill(0);
    for (let j = first; j < first + 4; j++) {
      const at = Math.min(from - 1, Math.max(0, j));
      row[at] = (row[at] ?? 0) + cubic(centre - j, -0.75);
    }
    return row;
  });
}

/** The same with antialiasing: the cubic is as wide as a new sample, cut off at the border and normalised. */
function smoothLineWeights(from: number, to: number): number[][] {
  const scale = from / to;
  const stretch = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const centre = scale * (i + 0.5);
    const first = Math.max(0, Math.trunc(centre - 2 * stretch + 0.5));
    const last = Math.min(from, Math.trunc(centre + 2 * stretch + 0.5));
    const row = new Array<number>(from).fill(0);
    for (let j = first; j < last; j++) row[j] = cubic((j - centre + 0.5) / stretch, -0.5);
    const sum = row.reduce((a, b) => a + b, 0);
    return row.map(weight => weight / sum);
  });
}

/**
 * The matrix [toRows · toColumns, fromRows · fromColumns] that resamples a row-major map as PyTorch's bicubic does
 * (align_corners false). One matrix product then interpolates position embeddings, and its transpose is the gradient.
 */
export function bicubicMatrix(
  from: { readonly rows: number; readonly columns: number },
  to: { readonly rows: number; readonly columns: number },
  antialias = false,
): Float32Array {
  const line = antialias ? smoothLineWeights : lineWeights;
  const vertical = line(from.rows, to.rows);
  const horizontal = line(from.columns, to.columns);
  const matrix = new Float32Array(to.rows * to.columns * from.rows * from.columns);
  let at = 0;
  for (const v of vertical) {
    for (const h of horizontal) {
      for (const wv of v) {
        for (const wh of h) matrix[at++] = wv * wh;
      }
    }
  }
  return matrix;
}
