import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { RunEvent } from '../../src/telemetry/events.ts';
import { openTensorBoard } from '../../src/telemetry/tensorboard.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { findPython, runPython } from '../helpers/python.ts';
import { eventsOf, PNG } from './events.ts';
import { readEvents } from './read-events.ts';

/** Writes the events of one process; `close` is left out when it was killed. */
async function record(dir: string, from: number, events: readonly RunEvent[], killed = false): Promise<void> {
  const board = openTensorBoard(dir, { step: from });
  for (const event of events) board.on(event);
  if (!killed) await board.close();
}

describe('a TensorBoard file', () => {
  it('begins with its version and where it takes over, and has every number of a step', async () => {
    const dir = join(temporaryFolder(), 'stage2');
    await record(dir, 4, eventsOf(6, 4));
    const [name = ''] = readdirSync(dir);
    expect(name).toMatch(/^events\.out\.tfevents\.\d{10}\..+\.\d+\.\d+$/);
    const events = readEvents(join(dir, name));
    expect(events[0]?.what).toEqual({ case: 'fileVersion', value: 'brain.Event:2' });
    expect(events[1]).toMatchObject({ step: 5n, what: { case: 'sessionLog', value: { status: 1 } } });
    const fifth = events.flatMap(e => (e.what.case === 'summary' && e.step === 5n ? e.what.value.value : []));
    expect(Object.fromEntries(fifth.map(v => [v.tag, v.value.value]))).toEqual({
      loss: Math.fround(3 / 5),
      'losses/language': Math.fround(2 / 5),
      'losses/contrastive': Math.fround(1 / 5),
      grad_norm: 2.5,
      'lr/projector': Math.fround(5e-4),
      'seconds/data': 0.0625,
      'seconds/forward_backward': 0.25,
      'seconds/update': 0.125,
      'seconds/logging': 0.03125,
      'seconds/save': 0,
      'seconds/eval': 0,
      'seconds/total': 0.5,
      'throughput/samples_per_second': 32,
      'throughput/tokens_per_second': 1280,
      'throughput/flops_per_second': Math.fround(5e10),
      'throughput/mfu': 0.5,
      'progress/seconds_left': 950,
      'memory/rss_bytes': 1e8,
      'memory/tensors': 77,
    });
  });

  it('is another one each time, whose name comes after the earlier ones, even when the clock stands still', () => {
    const dir = temporaryFolder();
    const names: string[] = [];
    for (let i = 0; i < 12; i++) {
      openTensorBoard(dir, { step: 0, now: () => 1e9 });
      names.push(...readdirSync(dir).filter(name => !names.includes(name)));
    }
    expect(names).toHaveLength(12);
    expect(names).toEqual([...names].sort());
  });

  it('refuses a folder that cannot be', () => {
    expect(() => openTensorBoard('/dev/null/x', { step: 0 })).toThrow(/cannot create \/dev\/null\/x/);
  });
});

const python = findPython(['tensorboard']);

const READ = `
import sys, json
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from google.protobuf.json_format import MessageToDict
a = EventAccumulator(sys.argv[1], size_guidance={k: 0 for k in ['scalars', 'images', 'tensors', 'compressedHistograms', 'histograms', 'audio']})
a.Reload()
out = {'scalars': {t: [[e.step, e.value] for e in a.Scalars(t)] for t in a.Tags()['scalars']},
       'texts': {t: [[e.step, e.tensor_proto.string_val[0].decode()] for e in a.Tensors(t)] for t in a.PluginTagToContent('text')},
       'images': {t: [[e.step, e.width, e.height, e.encoded_image_string.hex()] for e in a.Images(t)] for t in a.Tags()['images']},
       'hparams': {t: MessageToDict(plugin_data_pb2.HParamsPluginData.FromString(c), preserving_proto_field_name=True) for t, c in a.PluginTagToContent('hparams').items()}}
print(json.dumps(out))`;

describe.skipIf(python === undefined)("TensorBoard's own reader", () => {
  const read = (dir: string) => JSON.parse(runPython(python as string, READ, [dir]));

  it('finds scalars, text, images and hyperparameters', async () => {
    const dir = temporaryFolder();
    await record(dir, 0, eventsOf(6));
    const { scalars, texts, images, hparams } = read(dir);
    expect(scalars.loss).toEqual([1, 2, 3, 4, 5, 6].map(n => [n, Math.fround(3 / n)]));
    expect(scalars['lr/projector']).toHaveLength(6);
    expect(scalars['scores/accuracy']).toEqual([2, 4, 6].map(n => [n, Math.fround(n / 10)]));
    expect(texts).toEqual({ answer: [2, 4, 6].map(n => [n, `step ${n}`]) });
    const pixels = Buffer.from(PNG).toString('hex');
    expect(images).toEqual({ 'eval/rec/0': [2, 4, 6].map(n => [n, 1, 1, pixels]) });
    expect(hparams['_hparams_/session_start_info'].session_start_info.hparams).toEqual({
      lr: 2e-4,
      schedule: 'cosine',
      augment: true,
    });
    expect(hparams['_hparams_/experiment'].experiment).toMatchObject({
      name: 'tiny',
      hparam_infos: [
        { name: 'lr', type: 'DATA_TYPE_FLOAT64' },
        { name: 'schedule', type: 'DATA_TYPE_STRING' },
        { name: 'augment', type: 'DATA_TYPE_BOOL' },
      ],
      metric_infos: [{ name: { tag: 'loss' } }, { name: { tag: 'scores/accuracy' } }],
    });
    expect(hparams['_hparams_/session_end_info'].session_end_info.status).toBe('STATUS_SUCCESS');
  });

  it('sees one unbroken run after a kill and a resume from an earlier checkpoint', async () => {
    const dir = temporaryFolder();
    // Killed after step 5, whose last checkpoint was that of step 2: steps 3 to 5 were never part of the final run.
    await record(
      dir,
      0,
      eventsOf(9).filter(e => !('step' in e) || e.step <= 5),
      true,
    );
    await record(dir, 2, eventsOf(4, 2));
    const { scalars, images } = read(dir);
    expect(scalars.loss.map(([n]: [number]) => n)).toEqual([1, 2, 3, 4]);
    expect(images['eval/rec/0'].map(([n]: [number]) => n)).toEqual([2, 4]);
  });
});
