import { describe, expect, it } from 'vitest';
import type { Views } from '../../src/data/image.ts';
import type { Sample } from '../../src/data/sample.ts';
import { exchangeKey, withOtherImages } from '../../src/eval/shuffle.ts';

function sample(id: string, grid: [number, number] | null, tiles = 1): Sample {
  const size = { width: 4, height: 4 };
  const placement = { canvas: size, width: 4, height: 4, left: 0, top: 0 };
  const views: Views | null = grid && {
    size,
    grid,
    global: Uint8Array.from(Buffer.from(id)),
    globalPlacement: placement,
    tiles: new Uint8Array(tiles),
    localPlacement: placement,
  };
  return { id, rendered: { tokens: [1], imageAt: 0, regionsAt: [], answers: [] }, views, regions: [] };
}

/** Which image each sample sees. */
function seen(samples: readonly Sample[] | null): (string | undefined)[] | undefined {
  return samples?.map(s => s.views && Buffer.from(s.views.global).toString()).map(name => name ?? undefined);
}

describe('withOtherImages', () => {
  it('gives every sample the image of another, and keeps the rest', () => {
    const samples = [sample('a', [1, 1]), sample('b', [1, 1]), sample('c', [1, 1])];
    const others = withOtherImages(samples);
    expect(seen(others)).toEqual(['b', 'c', 'a']);
    expect(others?.map(s => s.id)).toEqual(['a', 'b', 'c']);
  });

  it('exchanges only between equal grids', () => {
    const samples = [sample('a', [2, 1]), sample('b', [1, 1]), sample('c', [2, 1]), sample('d', [1, 1])];
    expect(seen(withOtherImages(samples))).toEqual(['c', 'd', 'a', 'b']);
  });

  it('never gives a sample its own image, even where images repeat', () => {
    const samples = ['a', 'a', 'b', 'b'].map(id => sample(id, [1, 1]));
    expect(seen(withOtherImages(samples))).toEqual(['b', 'b', 'a', 'a']);
  });

  it('is null where some sample finds no other image', () => {
    expect(withOtherImages([sample('a', [1, 1])])).toBeNull();
    expect(withOtherImages([sample('a', [1, 1]), sample('b', [2, 1])])).toBeNull();
    expect(withOtherImages(['a', 'a', 'b'].map(id => sample(id, [1, 1])))).toBeNull();
    expect(withOtherImages([sample('a', null), sample('b', null)])).toBeNull();
  });

  it('does not mix views with and without tiles', () => {
    expect(exchangeKey(sample('a', [1, 1], 0))).not.toBe(exchangeKey(sample('b', [1, 1], 1)));
    expect(exchangeKey(sample('a', null))).toBe('text');
  });
});
