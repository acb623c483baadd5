import type { Reporter, TestModule } from 'vitest/node';

/** Ends the log with one plain line of counts that any CI can read. */
export default class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const tests = modules.flatMap(m => [...m.children.allTests()]);
    const count = (state: string): number => tests.filter(t => t.result().state === state).length;
    const broken = modules.filter(
      m => m.state() === 'failed' && [...m.children.allTests('failed')].length === 0,
    );
    const failed = count('failed') + broken.length + errors.length;
    console.log(`${count('passed')} passed, ${failed} failed, ${count('skipped')} skipped`);
  }
}
