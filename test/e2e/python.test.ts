import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPython, runPython } from '../helpers/python.ts';
import { metricsOf, QUICK, renderScenes, succeed } from './ground.ts';

const tensorboard = findPython(['tensorboard']);
const onnx = findPython(['onnx', 'onnxruntime', 'safetensors']);

let folder = '';

/** What programs of other people make of a run that was really trained, in two goes. */
describe.skipIf(!tensorboard && !onnx)('a trained run, read by Python', () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'ground-python-'));
    renderScenes(folder);
    const train = ['train', '--stage', '3', '--run', 'seen', ...QUICK, '--set', 'from=null'];
    succeed(folder, ...train, '--set', 'steps=4');
    succeed(folder, ...train, '--set', 'steps=6', '--resume');
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.skipIf(!tensorboard)('shows in TensorBoard what metrics.jsonl says, and what the model answered', () => {
    const script = `
import sys, json
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
a = EventAccumulator(sys.argv[1], size_guidance={k: 0 for k in ['scalars', 'images', 'tensors']})
a.Reload()
hparams = a.PluginTagToContent('hparams')
start = plugin_data_pb2.HParamsPluginData.FromString(hparams['_hparams_/session_start_info'])
print(json.dumps({
  'scalars': {t: [[e.step, e.value] for e in a.Scalars(t)] for t in a.Tags()['scalars']},
  'texts': {t: len(a.Tensors(t)) for t in a.PluginTagToContent('text')},
  'images': {t: [[e.width, e.height, e.encoded_image_string[1:4].decode()] for e in a.Images(t)] for t in a.Tags()['images']},
  'hparams': sorted(start.session_start_info.hparams)}))`;
    const dir = join(folder, 'checkpoints/seen/stage3');
    const { scalars, texts, images, hparams } = JSON.parse(runPython(tensorboard as string, script, [dir]));
    const events = metricsOf(folder, 'seen', 3);
    const steps = events.filter(event => event.type === 'step');
    expect(steps.map(event => event.step)).toEqual([1, 2, 3, 4, 5, 6]);
    const near = (value: unknown) => Math.fround(Number(value));
    expect(scalars.loss).toEqual(steps.map(({ step, loss }) => [step, near(loss)]));
    expect(scalars.grad_norm).toEqual(steps.map(({ step, gradNorm }) => [step, near(gradNorm)]));
    for (const group of ['encoder', 'projector', 'sampler', 'llm'])
      expect(scalars[`lr/${group}`]).toHaveLength(6);
    const scores = Object.keys(events.findLast(event => event.type === 'scores')?.scores ?? {});
    expect(scores).toContain('rec_accuracy');
    for (const name of scores) expect(scalars).toHaveProperty([`scores/${name}`]);
    expect(texts).toMatchObject({ 'eval/rec': 2, 'eval/caption': 2 });
    // Scenes with the true and the answered box drawn on them.
    for (const [width, height, format] of images['eval/rec/0']) {
      expect(Math.min(width, height)).toBeGreaterThanOrEqual(96);
      expect(format).toBe('PNG');
    }
    expect(hparams).toEqual(expect.arrayContaining(['lr', 'samples', 'steps', 'train', 'views']));
  });

  it.skipIf(!onnx)('runs in onnxruntime with the scores that TensorFlow.js gave', () => {
    succeed(folder, 'export', 'onnx', '--run', 'seen', '--out', 'onnx');
    const script = `
import sys, onnx, onnxruntime, safetensors.numpy as st
out = sys.argv[1]
onnx.checker.check_model(out + '/model.onnx', full_check=True)
example = st.load_file(out + '/example.safetensors')
session = onnxruntime.InferenceSession(out + '/model.onnx')
logits, = session.run(None, {i.name: example['in.' + i.name] for i in session.get_inputs()})
print(abs(logits - example['out.logits']).max(), abs(logits).max())`;
    const [difference, largest] = runPython(onnx as string, script, [join(folder, 'onnx')])
      .split(' ')
      .map(Number);
    expect(largest).toBeGreaterThan(0.1);
    expect(difference).toBeLessThan(1e-4);
  });
});
