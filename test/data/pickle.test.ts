import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readPickle } from '../../src/data/sources/pickle.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { findPython, runPython } from '../helpers/python.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures/refcoco');

/** A pickle written by hand, one character a byte. */
const pickled = (text: string) => readPickle(Buffer.from(text, 'latin1'));

describe("RefCOCO's refs", () => {
  const read = ['protocol0', 'protocol2', 'protocol4', 'python2'].map(name =>
    readPickle(readFileSync(join(FIXTURES, `refs-${name}.p`))),
  );

  it('hold the same in every protocol, and as Python 2 writes them', () => {
    for (const other of read.slice(1)) expect(other).toEqual(read[0]);
  });

  it('are plain lists, dicts, texts and numbers', () => {
    expect(JSON.parse(JSON.stringify(read[0]))).toMatchObject([
      {
        ref_id: 1,
        ann_id: 101,
        split: 'train',
        file_name: 'COCO_train2014_000000000007_0.jpg',
      },
      {
        sentences: [
          { sent: 'café sign — “open” 🐈' },
          { sent: "it's the man's \\ sign", tokens: { length: 5 } },
        ],
      },
      { ref_id: 3, ann_id: 104, image_id: 9, sent_ids: [30, 31], sentences: [{ sent: '' }, {}] },
    ]);
  });
});

describe('pickles', () => {
  it("of Python 2 have byte strings, in repr's quotes or counted", () => {
    expect(
      pickled(
        "(lp0\nS'it\\'s \\xc3\\xa9 \\\\ \\n\\101'\np1\naVna\\u00efve \\U0001f408\np2\naI01\naL-5L\naF1.5\nag1\na.",
      ),
    ).toEqual(["it's é \\ \nA", 'naïve 🐈', true, -5, 1.5, "it's é \\ \nA"]);
    expect(pickled("(dp0\nS'a'\nI7\nsU\x03bcdK\x08s.")).toEqual({ a: 7, bcd: 8 });
    expect(pickled('\x80\x02U\x04caf\xe9.')).toBe('café');
  });

  it('keep what is shared shared, also in circles', () => {
    const value = pickled('\x80\x02]q\x00(h\x00U\x01xe.');
    expect(Array.isArray(value) && value[0] === value && value[1] === 'x').toBe(true);
  });

  it('are nested as deep as they like', () => {
    let value = pickled(`${']'.repeat(100_000)}${'a'.repeat(99_999)}.`);
    let depth = 0;
    for (; Array.isArray(value); value = value[0]) depth++;
    expect(depth).toBe(100_000);
  });

  it('cannot reach prototypes', () => {
    const value = pickled("(dp0\nS'__proto__'\n(dS'polluted'\nI01\nss.");
    expect(Object.keys(Object(value))).toEqual(['__proto__']);
    expect(Object(value).polluted).toBeUndefined();
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });

  it.each([
    [
      'a call',
      "cos\nsystem\n(S'true'\ntR.",
      /at byte 0: holds the Python object os\.system, which is not plain data/,
    ],
    ['a class', '(i__main__\nThing\np0\n.', /at byte 1: instruction "i" is none of a pickle of plain data/],
    ['a call by text', '\x80\x04\x8c\x05posix\x8c\x06system\x93.', /posix\.system/],
    ['a state', '}}b.', /at byte 2: holds a Python object with a state/],
    ['a persistent id', 'Pabc\n.', /instruction "P"/],
    ['a name left over', 'cnumpy\ndtype\n.', /holds the Python object numpy\.dtype/],
    ['an array of text', "cnumpy\ndtype\n(S'U5'\ntR.", /a numpy value of type "U5"/],
    ['nothing', '', /at byte 0: the file ends/],
    ['no end', ']', /at byte 1: the file ends/],
    ['a cut text', 'X\xff\xff\xff\x7fabc', /the file ends in the middle of a value/],
    ['a cut line', "S'abc", /in the middle of a line/],
    ['no value', '.', /nothing there to take/],
    ['no mark', 't.', /nothing there to gather/],
    ['a value that is not there', 'g5\n.', /refers to value 5/],
    ['a key that is a list', '}]I1\ns.', /neither text nor number/],
    ['a list in a number', 'I1\nI2\na.', /adds to something that is no list/],
    ['JSON', '[{"ref_id": 1}]', /instruction "\["/],
  ])('with %s are refused', (_, text, message) => {
    expect(() => pickled(text)).toThrow(message);
  });

  it('of any bytes give a value or an error, never a hang', () => {
    const fixture = readFileSync(join(FIXTURES, 'refs-protocol2.p'));
    fc.assert(
      fc.property(fc.nat(fixture.length - 1), fc.nat(255), (at, byte) => {
        const damaged = Buffer.from(fixture);
        damaged[at] = byte;
        try {
          readPickle(damaged);
        } catch (thrown) {
          expect(String(thrown)).toMatch(/at byte \d+: |holds the Python object/);
        }
      }),
      { numRuns: 500 },
    );
  });
});

const python = findPython(['numpy']);
describe.skipIf(!python)("Python's own", () => {
  it('values come through in protocols 0 to 5', () => {
    const folder = temporaryFolder();
    const expected = runPython(
      python ?? '',
      `
import collections, json, pickle, sys, numpy as np
plain = {'text': 'na\\u00efve \\U0001f408 \\\\ \\n', 'list': [1, -1, 255, 256, 65536, 2**31, -2**40, 1.25, None, True], 'empty': [{}, [], '']}
value = [plain, dict(plain, twice=plain), ('a', 'b'), (1, 2, 3, 4), {7}, frozenset([8]), b'caf\\xc3\\xa9', b'',
  collections.OrderedDict([('x', 1)]), collections.defaultdict(list, y=[2]), {3: 'three'},
  [np.int64(-5), np.int32(6), np.uint8(250), np.float32(0.5), np.float64(-0.25), np.bool_(True), np.dtype('>i4').type(7)]]
for protocol in range(6):
    with open(sys.argv[1] + '/' + str(protocol), 'wb') as file: pickle.dump(value, file, protocol)
print(json.dumps([plain, dict(plain, twice=plain), ['a', 'b'], [1, 2, 3, 4], [7], [8], 'caf\\u00e9', '',
  {'x': 1}, {'y': [2]}, {'3': 'three'}, [-5, 6, 250, 0.5, -0.25, True, 7]]))`,
      [folder],
    );
    for (const protocol of [0, 1, 2, 3, 4, 5]) {
      const value = readPickle(readFileSync(join(folder, String(protocol))));
      expect(JSON.parse(JSON.stringify(value)), `protocol ${protocol}`).toEqual(JSON.parse(expected));
    }
    // An object of a class, such as Python would import.
    writeFileSync(
      join(folder, 'x.py'),
      'import fractions, pickle, sys\npickle.dump(fractions.Fraction(1, 2), open(sys.argv[1], "wb"))\n',
    );
    runPython(python ?? '', 'import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])', [
      join(folder, 'x.py'),
      join(folder, 'x.p'),
    ]);
    expect(() => readPickle(readFileSync(join(folder, 'x.p')))).toThrow(/fractions\.Fraction/);
  });
});
