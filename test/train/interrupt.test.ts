import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { Interrupted, listenToSignals, Requests } from '../../src/train/interrupt.ts';

/** A process that can be sent signals, and remembers its exit code. */
class Process extends EventEmitter {
  readonly exits: number[] = [];
  exit(code: number): void {
    this.exits.push(code);
  }
}

function listening() {
  const source = new Process();
  const requests = new Requests();
  const said: string[] = [];
  const stop = listenToSignals(requests, message => said.push(message), source);
  return { source, requests, said, stop };
}

describe('signals', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s once asks for the end, twice exits with %i', (signal, code) => {
    const { source, requests, said } = listening();
    expect(() => requests.throwIfStopped('')).not.toThrow();
    source.emit(signal);
    expect(source.exits).toEqual([]);
    expect(said.join()).toMatch(new RegExp(`${signal}.*after this step`));
    const thrown = catching(() => requests.throwIfStopped('step 3 is saved'));
    expect(thrown).toBeInstanceOf(Interrupted);
    expect(thrown).toMatchObject({ code: 'interrupted', exitCode: code });
    expect(String(thrown)).toContain(`stopped by ${signal}: step 3 is saved`);
    source.emit(signal);
    expect(source.exits).toEqual([code]);
  });

  it('counts one of each as two', () => {
    const { source, requests } = listening();
    source.emit('SIGINT');
    source.emit('SIGTERM');
    expect(requests.stop).toBe('SIGINT');
    expect(source.exits).toEqual([143]);
  });

  it.skipIf(process.platform === 'win32')('SIGUSR1 asks for a checkpoint, once each time', () => {
    const { source, requests } = listening();
    expect(requests.takeSave()).toBe(false);
    source.emit('SIGUSR1');
    expect(requests.takeSave()).toBe(true);
    expect(requests.takeSave()).toBe(false);
    expect(requests.stop).toBeNull();
  });

  it('are left alone again afterwards', () => {
    const { source, stop } = listening();
    expect(source.eventNames().length).toBeGreaterThan(1);
    stop();
    expect(source.eventNames()).toEqual([]);
  });
});

function catching(work: () => void): unknown {
  try {
    work();
  } catch (thrown) {
    return thrown;
  }
  return undefined;
}
