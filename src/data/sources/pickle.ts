/**
 * Python's pickles as plain data: the objects of lists, dicts, strings and numbers in which RefCOCO's refs come.
 * A pickle is a program that may import and call anything. This reader runs none of it: a handful of names that only build
 * data (numpy's scalars, OrderedDict, encoded bytes) are known, any other name is refused.
 */
import { messageOf } from '../../errors.ts';
import { latin1Of, PickleBytes } from './pickle-bytes.ts';
import { callGlobal, Dtype, Global } from './pickle-globals.ts';

/** Beginning of a run of stack entries that the next "s", "e", "t", "l", "d" or "u" takes together. */
const MARK = Symbol('mark');

/** Text of byte strings: Python 2 never said which encoding they were in. */
const UTF8 = new TextDecoder('utf-8', { fatal: true });

/**
 * The value of a pickle of protocols 0 to 5: dicts become objects without a prototype, lists, tuples and sets arrays,
 * `str`, `unicode` and `bytes` strings (byte strings as UTF-8, or Latin-1 where they are none), all numbers, numpy's
 * included, numbers. Throws an `Error` that names the byte where the pickle is damaged or holds anything else.
 */
export function readPickle(bytes: Uint8Array): unknown {
  const input = new PickleBytes(bytes);
  const machine = new PickleMachine(input);
  for (;;) {
    const at = input.position;
    try {
      if (machine.step()) return withText(machine.pop());
    } catch (thrown) {
      throw new Error(`at byte ${at}: ${messageOf(thrown)}`, { cause: thrown });
    }
  }
}

/** The stack and the memo that a pickle's instructions work on. */
class PickleMachine {
  private readonly stack: unknown[] = [];
  private readonly memo = new Map<number, unknown>();
  private readonly input: PickleBytes;

  constructor(input: PickleBytes) {
    this.input = input;
  }

  /** Follows one instruction; true when it was the last. */
  step(): boolean {
    const { input, stack } = this;
    const code = String.fromCharCode(input.byte());
    switch (code) {
      case '.':
        return true;
      case '\x80':
        if (input.byte() > 5) throw new Error('a pickle protocol after 5');
        break;
      case '\x95':
        input.take(8);
        break;
      case '(':
        stack.push(MARK);
        break;
      case '0':
        this.pop();
        break;
      case '1':
        this.popMark();
        break;
      case '2':
        stack.push(this.top());
        break;
      case 'p':
        this.memo.set(Number(input.line()), this.top());
        break;
      case 'q':
        this.memo.set(input.byte(), this.top());
        break;
      case 'r':
        this.memo.set(input.unsigned(4), this.top());
        break;
      case '\x94':
        this.memo.set(this.memo.size, this.top());
        break;
      case 'g':
        stack.push(this.recall(Number(input.line())));
        break;
      case 'h':
        stack.push(this.recall(input.byte()));
        break;
      case 'j':
        stack.push(this.recall(input.unsigned(4)));
        break;
      default:
        if (!this.scalar(code) && !this.container(code) && !this.object(code)) {
          throw new Error(`instruction ${JSON.stringify(code)} is none of a pickle of plain data`);
        }
    }
    return false;
  }

  pop(): unknown {
    const value = this.top();
    this.stack.pop();
    return value;
  }

  private top(): unknown {
    const value = this.stack.at(-1);
    if (this.stack.length === 0 || value === MARK) throw new Error('nothing there to take');
    return value;
  }

  private popMark(): unknown[] {
    const at = this.stack.lastIndexOf(MARK);
    if (at < 0) throw new Error('nothing there to gather');
    return this.stack.splice(at).slice(1);
  }

  private recall(key: number): unknown {
    if (!this.memo.has(key)) throw new Error(`refers to value ${key}, which does not exist`);
    return this.memo.get(key);
  }

  private scalar(code: string): boolean {
    const { input, stack } = this;
    switch (code) {
      case 'N':
        stack.push(null);
        break;
      case '\x88':
        stack.push(true);
        break;
      case '\x89':
        stack.push(false);
        break;
      case 'I': {
        const text = input.line();
        // The two ways in which protocol 0 writes booleans.
        stack.push(text === '00' ? false : text === '01' ? true : wholeNumber(text));
        break;
      }
      case 'L':
        stack.push(wholeNumber(input.line().replace(/L$/, '')));
        break;
      case 'F':
        stack.push(Number.parseFloat(input.line()));
        break;
      case 'J':
        stack.push(input.signed(4));
        break;
      case 'K':
        stack.push(input.byte());
        break;
      case 'M':
        stack.push(input.unsigned(2));
        break;
      case '\x8a':
        stack.push(input.signed(input.byte()));
        break;
      case '\x8b':
        stack.push(input.signed(input.unsigned(4)));
        break;
      case 'G':
        stack.push(input.double());
        break;
      case 'S':
        stack.push(input.quoted());
        break;
      case 'V':
        stack.push(input.rawUnicode());
        break;
      case 'U':
      case 'C':
        stack.push(input.take(input.byte()));
        break;
      case 'T':
      case 'B':
        stack.push(input.take(input.unsigned(4)));
        break;
      case '\x8e':
      case '\x96':
        stack.push(input.take(input.unsigned(8)));
        break;
      case '\x8c':
        stack.push(input.text(input.byte()));
        break;
      case 'X':
        stack.push(input.text(input.unsigned(4)));
        break;
      case '\x8d':
        stack.push(input.text(input.unsigned(8)));
        break;
      default:
        return false;
    }
    return true;
  }

  private container(code: string): boolean {
    const { stack } = this;
    switch (code) {
      case ']':
      case ')':
      case '\x8f':
        stack.push([]);
        break;
      case 'l':
      case 't':
      case '\x91':
        stack.push(this.popMark());
        break;
      case '\x85':
      case '\x86':
      case '\x87': {
        const size = code.charCodeAt(0) - 0x84;
        const items = Array.from({ length: size }, () => this.pop());
        stack.push(items.reverse());
        break;
      }
      case 'a': {
        const value = this.pop();
        this.list().push(value);
        break;
      }
      case 'e':
      case '\x90': {
        const values = this.popMark();
        const list = this.list();
        for (const value of values) list.push(value);
        break;
      }
      case '}':
        stack.push(Object.create(null));
        break;
      case 'd':
        stack.push(withItems(Object.create(null), this.popMark()));
        break;
      case 's': {
        const value = this.pop();
        const key = this.pop();
        withItems(this.top(), [key, value]);
        break;
      }
      case 'u': {
        const items = this.popMark();
        withItems(this.top(), items);
        break;
      }
      default:
        return false;
    }
    return true;
  }

  /** What in Python imports, calls and builds; here it makes data of the few names that are data. */
  private object(code: string): boolean {
    const { input, stack } = this;
    switch (code) {
      case 'c': {
        const module = input.line();
        stack.push(new Global(module, input.line()));
        break;
      }
      case '\x93': {
        const name = textOf(this.pop());
        stack.push(new Global(textOf(this.pop()), name));
        break;
      }
      case 'R':
      case '\x81': {
        const given = this.pop();
        stack.push(callGlobal(this.pop(), given));
        break;
      }
      case 'b': {
        const state = this.pop();
        const target = this.top();
        if (!(target instanceof Dtype)) throw new Error('holds a Python object with a state of its own');
        target.order(state);
        break;
      }
      default:
        return false;
    }
    return true;
  }

  private list(): unknown[] {
    const list = this.top();
    if (!Array.isArray(list)) throw new Error('adds to something that is no list');
    return list;
  }
}

/** Puts key, value, key, value, … into a dict. */
function withItems(dict: unknown, items: readonly unknown[]): object {
  if (typeof dict !== 'object' || dict === null || Object.getPrototypeOf(dict) !== null || items.length % 2) {
    throw new Error('sets a key of something that is no dict');
  }
  for (let i = 0; i < items.length; i += 2) {
    Object.defineProperty(dict, textOf(items[i]), {
      value: items[i + 1],
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return dict;
}

/** A dict's key or a name, as text. */
function textOf(key: unknown): string {
  if (typeof key === 'string') return key;
  if (key instanceof Uint8Array) return decoded(key);
  if (typeof key === 'number') return String(key);
  throw new Error('a dict has a key that is neither text nor number');
}

function wholeNumber(text: string): number {
  if (!/^[+-]?\d+$/.test(text)) throw new Error(`"${text.slice(0, 40)}" is no whole number`);
  return Number(text);
}

function decoded(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    return latin1Of(bytes);
  }
}

/**
 * Byte strings stay bytes while the pickle is read, for a number of numpy's is made of them; now they become text, in
 * place. Without recursion: values may be nested as deep as a file likes, and refer to one another in circles.
 */
function withText(root: unknown): unknown {
  const holder = [root];
  const seen = new Set<object>([holder]);
  const waiting: object[] = [holder];
  for (let target = waiting.pop(); target; target = waiting.pop()) {
    for (const [key, value] of Object.entries(target)) {
      if (value instanceof Uint8Array) Reflect.set(target, key, decoded(value));
      else if (value instanceof Global || value instanceof Dtype)
        throw new Error(`holds the Python object ${value}`);
      else if (typeof value === 'object' && value !== null && !seen.has(value)) {
        seen.add(value);
        waiting.push(value);
      }
    }
  }
  return holder[0];
}
