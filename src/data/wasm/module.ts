/** WebAssembly modules from their text. */
import { assemble } from './assemble.ts';

declare global {
  /** What is used of the WebAssembly of every JavaScript engine; TypeScript declares it for browsers only. */
  namespace WebAssembly {
    interface Memory {
      readonly buffer: ArrayBuffer;
      grow(pages: number): number;
    }
    class Module {
      constructor(bytes: Uint8Array<ArrayBuffer>);
    }
    class Instance {
      constructor(module: Module);
      readonly exports: object;
    }
    function validate(bytes: Uint8Array<ArrayBuffer>): boolean;
  }
}

/** What the module of `source` exports; null where the processor has no vector unit that WebAssembly can use. */
export function instantiate(source: string): object | null {
  const bytes = assemble(source);
  return WebAssembly.validate(bytes) ? new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports : null;
}
