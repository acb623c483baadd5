import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openPictures, picturePath } from '../../src/telemetry/pictures.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { PNG, probe } from './events.ts';

const evaluated = (dir: string) => readdirSync(join(dir, 'probes')).sort();

describe('the pictures of the probe set', () => {
  it('stay of the first evaluation and of the newest', () => {
    const dir = temporaryFolder();
    const pictures = openPictures(dir, { step: 0 });
    for (const step of [20, 40, 60]) {
      pictures.on({ ...probe(step), tag: 'eval/rec/0' });
      pictures.on({ ...probe(step), tag: 'eval/rec/1' });
    }
    expect(evaluated(dir)).toEqual(['step-000020', 'step-000060']);
    expect(readdirSync(join(dir, 'probes', 'step-000060'))).toEqual(['eval-rec-0.png', 'eval-rec-1.png']);
    expect(new Uint8Array(readFileSync(join(dir, picturePath(probe(60)))))).toEqual(new Uint8Array(PNG));
  });

  it('go where the stage goes on from before them, and are made again', () => {
    const dir = temporaryFolder();
    const first = openPictures(dir, { step: 0 });
    for (const step of [20, 60]) first.on(probe(step));
    const resumed = openPictures(dir, { step: 40 });
    expect(evaluated(dir)).toEqual(['step-000020']);
    resumed.on(probe(60));
    expect(evaluated(dir)).toEqual(['step-000020', 'step-000060']);
    openPictures(dir, { step: 0 });
    expect(evaluated(dir)).toEqual([]);
  });

  it('are none without an image, and cannot leave their folder', () => {
    const dir = temporaryFolder();
    openPictures(dir, { step: 0 }).on({ ...probe(1), picture: null });
    expect(existsSync(join(dir, 'probes'))).toBe(false);
    expect(picturePath({ step: 7, tag: '../../etc/passwd' })).toBe('probes/step-000007/-etc-passwd.png');
    expect(() => openPictures('/dev/null', { step: 0 }).on(probe(1))).toThrow(/probes/);
  });
});
