import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type JsonElement,
  type JsonTarget,
  streamArray,
  streamJson,
  streamLines,
  streamMembers,
  streamRecords,
} from '../../src/data/sources/json-stream.ts';
import { temporaryFolder } from '../helpers/folder.ts';

/** A file of this content; call inside a test. */
async function fileOf(content: string | Uint8Array): Promise<string> {
  const file = join(temporaryFolder(), 'file.json');
  await writeFile(file, content);
  return file;
}

async function collect(elements: AsyncIterable<JsonElement>): Promise<JsonElement[]> {
  const all = [];
  for await (const element of elements) all.push(element);
  return all;
}

async function values(elements: AsyncIterable<JsonElement>): Promise<unknown[]> {
  return (await collect(elements)).map(element => element.value);
}

/** Text of a value with white space wherever JSON allows it. */
function spaced(value: unknown, space: () => string): string {
  const inner = (v: unknown): string => {
    if (Array.isArray(v)) return `[${v.map(x => `${space()}${inner(x)}${space()}`).join(',')}${space()}]`;
    if (typeof v !== 'object' || v === null) return JSON.stringify(v);
    const members = Object.entries(v).map(
      ([key, x]) => `${space()}${JSON.stringify(key)}${space()}:${space()}${inner(x)}${space()}`,
    );
    return `{${members.join(',')}${space()}}`;
  };
  return space() + inner(value) + space();
}

describe('any document at any chunk size', () => {
  const chunkBytes = fc.integer({ min: 8, max: 64 });
  const anyJson = fc.jsonValue({ maxDepth: 4, stringUnit: 'binary' });
  const spaces = fc.infiniteStream(fc.constantFrom('', '', '', ' ', '\n', '\r\n', '\t', '  '));

  it('gives the elements that JSON.parse gives', async () => {
    const folder = temporaryFolder();
    const document = fc.record({
      before: anyJson,
      images: fc.array(anyJson, { maxLength: 6 }),
      nested: fc.record({ list: fc.array(anyJson, { maxLength: 6 }), other: anyJson }),
      after: anyJson,
      byKey: fc.dictionary(fc.string({ unit: 'binary' }), anyJson, { maxKeys: 5 }),
    });
    let round = 0;
    await fc.assert(
      fc.asyncProperty(document, chunkBytes, spaces, fc.boolean(), async (json, bytes, stream, bom) => {
        const text = spaced(json, () => stream.next().value);
        const parsed = JSON.parse(text);
        const file = join(folder, `${round++}.json`);
        await writeFile(file, (bom ? '\uFEFF' : '') + text);
        const targets: JsonTarget[] = [
          { path: ['nested', 'list'] },
          { path: ['images'] },
          { path: ['byKey'], of: 'object' },
        ];
        const found = await collect(streamJson(file, targets, { chunkBytes: bytes }));
        const of = (target: number) => found.filter(element => element.target === target);
        expect(of(0).map(element => element.value)).toEqual(parsed.nested.list);
        expect(of(1).map(element => element.value)).toEqual(parsed.images);
        expect(of(1).map(element => element.key)).toEqual([...parsed.images.keys()]);
        expect(of(2).map(({ key, value }) => [key, value])).toEqual(
          [...of(2)].map(({ key }) => [key, parsed.byKey[key]]),
        );
        expect(
          of(2)
            .map(element => String(element.key))
            .sort(),
        ).toEqual(Object.keys(parsed.byKey).sort());
        // Where an element is said to begin, it begins.
        const lines = Buffer.from(text).toString('latin1').split('\n');
        for (const { line, column, value } of of(1)) {
          const first = lines[line - 1]?.[column - 1] ?? '';
          expect(JSON.stringify(value)[0]).toBe(first);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('refuses what JSON.parse refuses of a damaged list', async () => {
    const folder = temporaryFolder();
    let round = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyJson, { minLength: 1, maxLength: 5 }),
        fc.nat(),
        fc.constantFrom('', ',', ']', '}', '{', '"', '\\', 'x', ':', '1', '\u0001'),
        chunkBytes,
        async (list, where, put, bytes) => {
          const text = JSON.stringify(list);
          const at = where % (text.length + 1);
          const damaged = text.slice(0, at) + put + text.slice(at + (put === '' ? 1 : 0));
          const file = join(folder, `${round++}.json`);
          await writeFile(file, damaged);
          const expected = await attempt(async () => JSON.parse(Buffer.from(damaged).toString()));
          const found = await attempt(() => values(streamArray(file, [], { chunkBytes: bytes })));
          if (Array.isArray(expected)) expect(found).toEqual(expected);
          else expect(found).toMatch(/file ends|\.json:\d+:\d+: /);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('reads JSON Lines and lists alike', async () => {
    const folder = temporaryFolder();
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(anyJson), chunkBytes, fc.boolean(), async (list, bytes, ended) => {
        const file = join(folder, `${round++}.json`);
        await writeFile(file, list.map(value => JSON.stringify(value)).join('\r\n') + (ended ? '\n\n' : ''));
        const parsed = JSON.parse(JSON.stringify(list));
        expect(await values(streamLines(file, { chunkBytes: bytes }))).toEqual(parsed);
        await writeFile(file, JSON.stringify(list));
        expect(await values(streamRecords(file, { chunkBytes: bytes }))).toEqual(parsed);
      }),
      { numRuns: 60 },
    );
  });
});

/** The result, or the message of the failure. */
async function attempt<T>(work: () => Promise<T>): Promise<T | string> {
  return work().catch(thrown => String(thrown.message));
}

describe('what is no such file', () => {
  it.each([
    ['nothing', '', /:1:1: the file ends where a value was expected/],
    ['white space', ' \n ', /:2:2: the file ends/],
    ['a cut list', '{"a":[{"x":1},{"x"', /:1:15: the file ends inside the value that begins here/],
    ['a cut text', '{"a":["abc', /:1:7: the file ends inside the text/],
    ['a cut object', '{"a":[1]', /:1:9: the file ends where "," or "}" was expected/],
    ['another kind', '{"a":{"x":1}}', /:1:6: expected a list as "a", found "\{"/],
    ['null', '{"a":null}', /expected a list as "a", found "nu?/],
    ['a list', '[1]', /:1:1: expected an object with a list "a", found "\["/],
    ['no such list', '{"b":[]}', /file\.json has no list "a"/],
    ['something behind', '{"a":[]} x', /:1:10: expected the end of the file, found "x"/],
    ['a key twice', '{"a":[1],"a":[2]}', /:1:10: the key "a" is there a second time/],
    ['a trailing comma', '{"a":[1,]}', /:1:9: expected a value, found "\]"/],
    ['a missing comma', '{"a":[1 2]}', /:1:9: expected "," or "\]", found "2"/],
    ['a wrong bracket', '{"a":[{"x":[1}]}', /:1:14: expected "\]", found "\}"/],
    ['a broken element', '{"a":[\n{"x":1},\n {"x" 1}]}', /:3:7: expected ":", found "1"/],
    ['a number of Python', '{"a":[{"x":NaN}]}', /:1:12: expected a value, found "NaN"/],
    ['a raw line break in a text', '{"a":["x\ny"]}', /:1:9: a text has a raw control character \(code 10\)/],
    ['an unknown escape', '{"a":["\\x"]}', /:1:8: a text has the unknown escape/],
    ['single quotes', "{'a':[]}", /:1:2: expected a key in quotes, found "'"/],
  ])('%s', async (_, text, message) => {
    const file = await fileOf(text);
    for (const chunkBytes of [8, 1 << 16]) {
      await expect(values(streamArray(file, ['a'], { chunkBytes }))).rejects.toMatchObject({
        code: 'data',
        message: expect.stringMatching(message),
        hint: expect.stringMatching(/./),
      });
    }
  });

  it('text in another encoding and packed files are told by name', async () => {
    const latin1 = await fileOf(Buffer.from('{"a":[\n"caf\xe9"]}', 'latin1'));
    await expect(values(streamArray(latin1, ['a']))).rejects.toThrow(/:2:1: this is not UTF-8 text/);
    const utf16 = await fileOf(Buffer.from('\uFEFF{"a":[]}', 'utf16le'));
    await expect(values(streamArray(utf16, ['a']))).rejects.toThrow(/is UTF-16 text/);
    const packed = await fileOf(Uint8Array.of(0x1f, 0x8b, 8, 0, 0));
    await expect(values(streamArray(packed, ['a']))).rejects.toThrow(/compressed with gzip/);
    await expect(values(streamArray('/nowhere.json', []))).rejects.toMatchObject({ code: 'io' });
    await expect(values(streamArray(temporaryFolder(), []))).rejects.toMatchObject({ code: 'io' });
  });

  it('a replacement character of the text itself is none of our business', async () => {
    expect(await values(streamArray(await fileOf('["\uFFFD"]'), []))).toEqual(['\uFFFD']);
  });

  it('two values on a line are no JSON Lines', async () => {
    await expect(values(streamLines(await fileOf('{"a":1}\n{"b":2} {"c":3}\n')))).rejects.toThrow(
      /:2:1: expected one value on this line, found more/,
    );
  });
});

describe('streams', () => {
  it('of members give keys, numbers of lines too', async () => {
    const file = await fileOf('{"x": {"q1": 1,\n "q2": [2]}}');
    expect(await collect(streamMembers(file, ['x']))).toEqual([
      { key: 'q1', value: 1, text: '1', target: 0, line: 1, column: 14 },
      { key: 'q2', value: [2], text: '[2]', target: 0, line: 2, column: 8 },
    ]);
  });

  it('may do without optional lists; a list left early closes its file', async () => {
    const file = await fileOf('{"b":[1,2,3]}');
    expect(await values(streamJson(file, [{ path: ['a'], optional: true }, { path: ['b'] }]))).toEqual([
      1, 2, 3,
    ]);
    for await (const { value } of streamArray(file, ['b'])) {
      if (value === 2) break;
    }
  });

  it('an element larger than many chunks arrives whole', async () => {
    const text = 'ä"\\'.repeat(50_000);
    const file = await fileOf(JSON.stringify({ a: [1, { text }, 2] }));
    expect(await values(streamArray(file, ['a'], { chunkBytes: 1000 }))).toEqual([1, { text }, 2]);
  });
});
