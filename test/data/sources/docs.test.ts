import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openDataset } from '../../../src/data/dataset.ts';
import { SOURCES } from '../../../src/data/sources/index.ts';
import { ground } from '../../cli/harness.ts';
import { temporaryFolder } from '../../helpers/folder.ts';
import { plainImage } from '../sample-records.ts';

const docs = readFileSync(join(import.meta.dirname, '../../../docs/data.md'), 'utf8');
const IMAGES = [
  'street.png',
  'yard.png',
  '000000000009.jpg',
  '0054c91397f2fe05.jpg',
  '2354786.jpg',
  '36979.jpg',
];

/** Folders that commands name, beside those of datasets. */
const FOLDERS: ReadonlySet<string> = new Set(['images', 'entities']);

/** The section about a format, up to the next heading. */
function sectionOf(name: string): string {
  const section = new RegExp(`^### ${name}\n([\\s\\S]*?)(?=^##|(?![\\s\\S]))`, 'm').exec(docs)?.[1];
  if (section === undefined) throw new Error(`docs/data.md has no section ### ${name}`);
  return section;
}

/** Files that a section shows under their names, and the command it gives. */
function exampleOf(name: string): { files: Map<string, string>; command: string[] } {
  const section = sectionOf(name);
  const files = new Map(
    [...section.matchAll(/`([\w./-]+\.(?:jsonl?|txt|xml))`[^\n]*:\n\n```\w+\n([\s\S]*?)```/g)].map(
      ([, file, text]) => [file!, text!],
    ),
  );
  const command = /```sh\nground (.*)\n```/.exec(section)?.[1]?.split(' ') ?? [];
  return { files, command };
}

const png = new Map<string, Uint8Array>();
beforeAll(async () => {
  for (const name of IMAGES)
    png.set(name, await plainImage(640, 480, name.endsWith('.jpg') ? 'jpeg' : 'png'));
});

describe('docs/data.md: the example', () => {
  it.each([
    ['coco', 1, { images: 1, objects: 1, masks: 1, captions: 1 }],
    ['lvis', 1, { images: 1, objects: 2, masks: 2, crowds: 1, 'absent labels': 1 }],
    ['llava', 2, { images: 1, texts: 1, conversations: 2, rounds: 3 }],
    ['ferret', 1, { images: 1, conversations: 1, rounds: 1, regions: 1, boxes: 2 }],
    ['vqa', 1, { images: 1, conversations: 1, rounds: 1 }],
    ['textvqa', 1, { images: 1, conversations: 1, rounds: 1 }],
    ['gqa', 1, { images: 1, conversations: 1, rounds: 1 }],
    ['refcoco', 1, { images: 1, objects: 2, masks: 1, refs: 1, expressions: 2 }],
    ['flickr30k-entities', 1, { images: 1, captions: 1, phrases: 3, spans: 2, objects: 2 }],
    ['visual-genome', 1, { images: 1, objects: 2, attributes: 2, relations: 1, 'described regions': 1 }],
    ['pope', 1, { images: 1, conversations: 1, rounds: 2 }],
    [
      'jsonl',
      3,
      {
        images: 2,
        texts: 1,
        conversations: 3,
        rounds: 4,
        regions: 2,
        boxes: 1,
        objects: 3,
        masks: 1,
        captions: 1,
        relations: 1,
        spans: 1,
        'described regions': 1,
      },
    ],
  ])('of %s builds with its command, nothing left out', async (name, rows, counts) => {
    const { files, command } = exampleOf(name);
    expect(files.size).toBeGreaterThan(0);
    const folder = temporaryFolder();
    for (const [file, text] of files) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), text);
    }
    mkdirSync(join(folder, 'images'));
    for (const [file, bytes] of png) writeFileSync(join(folder, 'images', file), bytes);
    const paths = command.map(word =>
      files.has(word) || FOLDERS.has(word) || word.startsWith('data/') ? join(folder, word) : word,
    );
    const { code, stdout, stderr } = await ground(...paths, '--json');
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ rows, report: { counts, skipped: {}, mended: {} } });
    const dataset = await openDataset(join(folder, command.at(-1) ?? ''));
    expect(dataset.rows).toBe(rows);
    await dataset.close();
  });

  it('stands for every format of objects and conversations', () => {
    for (const name of [
      'coco',
      'lvis',
      'refcoco',
      'flickr30k-entities',
      'visual-genome',
      'llava',
      'ferret',
      'vqa',
      'textvqa',
      'gqa',
      'pope',
      'jsonl',
    ]) {
      const format = SOURCES.find(source => source.name === name);
      for (const { flag, required } of format?.inputs ?? []) {
        // Optional flags are explained where they are of use to somebody.
        if (required || flag !== 'image-name')
          expect(sectionOf(name), `${name} --${flag}`).toContain(`--${flag}`);
      }
    }
  });
});
