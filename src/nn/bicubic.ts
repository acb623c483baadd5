/** Keys' cubic with a = -0.75, PyTorch's choice for `interpolate(mode='bicubic')`. */
function cubic(distance: number): number {
  const a = -0.75;
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
      row[at] = (row[at] ?? 0) + cubic(centre - j);
    }
    return row;
  });
}

/**
 * The matrix [toRows · toColumns, fromRows · fromColumns] that resamples a row-major map as PyTorch's bicubic does
 * (a = -0.75, align_corners false, no antialias). One matrix product then interpolates position embeddings, and its
 * transpose is the gradient.
 */
export function bicubicMatrix(
  from: { readonly rows: number; readonly columns: number },
  to: { readonly rows: number; readonly columns: number },
): Float32Array {
  const vertical = lineWeights(from.rows, to.rows);
  const horizontal = lineWeights(from.columns, to.columns);
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
