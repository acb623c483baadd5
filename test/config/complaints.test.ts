import { describe, expect, test } from 'vitest';
import { complaintsAbout } from './sample.ts';

// The whole text is the product: it must name the file, the line, the value and the way out.
describe('a wrong recipe is answered with the place, what was expected and what was found', () => {
  test('an unknown key at the top, with its neighbour', () => {
    expect(complaintsAbout({ stage: [['steps: 400', 'stpes: 400']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:12:1  stpes: no such key
        12 | stpes: 400
           | ^^^^^
        = did you mean steps?"
    `);
  });

  test('an unknown key that belongs elsewhere', () => {
    expect(complaintsAbout({ stage: [['steps: 400', 'steps: 400\nwarmup: 0.1']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:13:1  warmup: no such key
        13 | warmup: 0.1
           | ^^^^^^
        = warmup belongs under schedule"
    `);
  });

  test('an unknown key inside the model', () => {
    expect(
      complaintsAbout({ model: [['patch_size: 8', 'patchsize: 8\n  patch_size: 8']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:12:3  model.global_encoder.patchsize: no such key
        12 |   patchsize: 8
           |   ^^^^^^^^^
        = did you mean patch_size?"
    `);
  });

  test('an unknown key that resembles nothing', () => {
    expect(
      complaintsAbout({ stage: [['batch: {samples: 16}', 'batch: {samples: 16, qqqq: 1}']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:11:22  batch.qqqq: no such key
        11 | batch: {samples: 16, qqqq: 1}
           |                      ^^^^
        = the keys here are samples, accumulate, contrastive, packing, bucket"
    `);
  });

  test('an unknown key in a list', () => {
    expect(complaintsAbout({ stage: [['weight: 1', 'wieght: 1']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:10:57  data.0.wieght: no such key
        10 |   - {dataset: data/scenes/train, task: dense-referring, wieght: 1}
           |                                                         ^^^^^^
        = did you mean weight?"
    `);
  });

  test('a missing key at the top', () => {
    expect(complaintsAbout({ stage: [['lr: 2.0e-4\n', '']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:1:1  lr: missing; expected a number above 0, or a map from each group of \`train\` to one"
    `);
  });

  test('a missing key inside a map', () => {
    expect(
      complaintsAbout({ stage: [['batch: {samples: 16}', 'batch: {accumulate: 2}']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:11:1  batch.samples: missing; expected a whole number, 1 or more
        11 | batch: {accumulate: 2}
           | ^^^^^"
    `);
  });

  test('text where a number belongs', () => {
    expect(complaintsAbout({ stage: [['lr: 2.0e-4', 'lr: fast']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:8:5  lr: expected a number above 0, or a map from each group of \`train\` to one, found "fast"
        8 | lr: fast
          |     ^^^^"
    `);
  });

  test('a negative number', () => {
    expect(complaintsAbout({ stage: [['samples: 16', 'samples: -4']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:11:18  batch.samples: expected a whole number, 1 or more, found -4
        11 | batch: {samples: -4}
           |                  ^^"
    `);
  });

  test('a fraction where a whole number belongs', () => {
    expect(complaintsAbout({ stage: [['steps: 400', 'steps: 0.5']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:12:8  steps: expected a whole number, 1 or more, found 0.5
        12 | steps: 0.5
           |        ^^^"
    `);
  });

  test('a number outside its range', () => {
    expect(
      complaintsAbout({ stage: [['steps: 400', 'steps: 400\nschedule: {warmup: 3}']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:13:20  schedule.warmup: expected a number from 0 to 1, found 3
        13 | schedule: {warmup: 3}
           |                    ^"
    `);
  });

  test('an unknown word', () => {
    expect(complaintsAbout({ stage: [['dense-referring', 'dense-refering']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:10:40  data.0.task: expected one of contrastive, scene-text, caption, dense-referring, dense-detection, rec, reg, roc, relation, count, ocr, grounded-caption, phrase-grounding, negatives, grounded-count, conversation, text-conversation, vqa, presence, found "dense-refering"
        10 |   - {dataset: data/scenes/train, task: dense-refering, weight: 1}
           |                                        ^^^^^^^^^^^^^^
        = did you mean dense-referring?"
    `);
  });

  test('an empty list of grids', () => {
    expect(complaintsAbout({ model: [['[[1, 1], [2, 1]]', '[]']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:5:10  model.image.grids: expected at least one grid, found an empty list
        5 |   grids: []
          |          ^^"
    `);
  });

  test('a grid of three numbers', () => {
    expect(complaintsAbout({ model: [['[2, 1]', '[2, 1, 1]']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:5:19  model.image.grids.1: expected [columns, rows], found a list of 3
        5 |   grids: [[1, 1], [2, 1, 1]]
          |                   ^^^^^^^^^"
    `);
  });

  test('a list where a map belongs', () => {
    expect(complaintsAbout({ stage: [['batch: {samples: 16}', 'batch: [16]']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:11:8  batch: expected a map, found a list of 1
        11 | batch: [16]
           |        ^^^^"
    `);
  });

  test('a rate in a map that is no number', () => {
    expect(
      complaintsAbout({ stage: [['lr: 2.0e-4', 'lr: {projector: high, sampler: 1.0e-4}']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:8:17  lr.projector: expected a number above 0, found "high"
        8 | lr: {projector: high, sampler: 1.0e-4}
          |                 ^^^^"
    `);
  });

  test('nothing trains', () => {
    expect(complaintsAbout({ stage: [['train: [projector, sampler]', 'train: []']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:5:8  train: expected at least one parameter group, found an empty list
        5 | train: []
          |        ^^"
    `);
  });

  test('a side that patches do not tile', () => {
    expect(complaintsAbout({ model: [['side: 32', 'side: 36']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:4:9  model.image.side: side 36 is no multiple of the patch size 8
        4 |   side: 36
          |         ^^
        = 32 would be one"
    `);
  });

  test('heads that do not divide the width', () => {
    expect(
      complaintsAbout({ model: [['num_attention_heads: 4', 'num_attention_heads: 5']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:10:24  model.global_encoder.num_attention_heads: 5 heads do not divide the width 64
        10 |   num_attention_heads: 5
           |                        ^"
    `);
  });

  test('an odd head in the language model', () => {
    expect(complaintsAbout({ model: [['hidden_size: 96', 'hidden_size: 100']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:22:1  model.llm.head_dim: a head of width 25 is odd, and rotary embeddings turn pairs
        22 | llm:
           | ^^^"
    `);
  });

  test('key and value heads that do not divide the heads', () => {
    expect(
      complaintsAbout({ model: [['num_key_value_heads: 2', 'num_key_value_heads: 3']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:28:24  model.llm.num_key_value_heads: 3 do not divide the 4 attention heads
        28 |   num_key_value_heads: 3
           |                        ^"
    `);
  });

  test('a copy between projectors of different widths', () => {
    expect(
      complaintsAbout({
        model: [
          ['hidden_size: 64\n  num_hidden_layers', 'hidden_size: 32\n  num_hidden_layers'],
          ['max_length: 128', 'max_length: 128\nreferring: {features: projected}'],
        ],
      }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:7:34  copy.0.to: the encoders' widths differ (64 and 32), so the projectors do
        7 |   - {from: projector.global, to: projector.local}
          |                                  ^^^^^^^^^^^^^^^
        = use encoders of one width, or drop the copy"
    `);
  });

  test('encoder maps of different widths', () => {
    expect(
      complaintsAbout({
        model: [['hidden_size: 64\n  num_hidden_layers', 'hidden_size: 32\n  num_hidden_layers']],
        stage: [['copy:\n  - {from: projector.global, to: projector.local}\n', '']],
      }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:1:1  model.referring.features: encoder features of widths 64 and 32 cannot be summed
        = use projected, or encoders of one width"
    `);
  });

  test('a sampler block with more points than reach it', () => {
    expect(
      complaintsAbout({ model: [['points: 8, neighbors: 4', 'points: 8, neighbors: 20']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:21:63  model.sampler.blocks.1.neighbors: 20 are more than the 16 points that reach this block
        21 |   blocks: [{points: 16, neighbors: 8}, {points: 8, neighbors: 20}]
           |                                                               ^^"
    `);
  });

  test('a hidden state that does not exist', () => {
    expect(
      complaintsAbout({ model: [['patch_size: 8', 'patch_size: 8\n  feature_layer: -7']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:13:18  model.global_encoder.feature_layer: -7 is no hidden state of 2 blocks
        13 |   feature_layer: -7
           |                  ^^
        = choose from -3 to 2"
    `);
  });

  test('a sequence too short for the image', () => {
    expect(complaintsAbout({ model: [['max_length: 128', 'max_length: 48']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:30:13  model.max_length: 48 positions leave no room for text beside 48 visual tokens
        30 | max_length: 48
           |             ^^
        = raise it, or use fewer tiles or a smaller side"
    `);
  });

  test('an unknown module', () => {
    expect(
      complaintsAbout({ stage: [['[projector, sampler]', '[projectors, sampler]']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:5:9  train.0: no module "projectors"
        5 | train: [projectors, sampler]
          |         ^^^^^^^^^^
        = modules are encoder, projector, sampler, llm, text_encoder, contrastive"
    `);
  });

  test('a module with an unknown part', () => {
    expect(
      complaintsAbout({ stage: [['[projector, sampler]', '[projector.middle, sampler]']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:5:9  train.0: no part "middle" in projector
        5 | train: [projector.middle, sampler]
          |         ^^^^^^^^^^^^^^^^
        = its parts are global, local"
    `);
  });

  test('a rate for what does not train, and none for what does', () => {
    expect(
      complaintsAbout({ stage: [['lr: 2.0e-4', 'lr: {projector: 1.0e-4, llm: 1.0e-4}']] }),
    ).toMatchInlineSnapshot(`
      "2 problems in the recipe recipe, stage 2
      recipe/stage2.yaml:8:1  lr: no learning rate for sampler, which trains
        8 | lr: {projector: 1.0e-4, llm: 1.0e-4}
          | ^^
      recipe/stage2.yaml:8:25  lr.llm: llm is not in train: projector, sampler
        8 | lr: {projector: 1.0e-4, llm: 1.0e-4}
          |                         ^^^"
    `);
  });

  test('training what gets no input', () => {
    expect(
      complaintsAbout({
        stage: [['train: [projector, sampler]', 'train: [projector.local, sampler]\nviews: global']],
      }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:5:9  train.0: projector.local gets no input: views is global
        5 | train: [projector.local, sampler]
          |         ^^^^^^^^^^^^^^^
        = set views: global+local, or do not train it"
    `);
  });

  test('training what gets no gradient', () => {
    expect(complaintsAbout({ stage: [['task: dense-referring', 'task: caption']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:5:20  train.1: sampler gets no gradient from the tasks in data
        5 | train: [projector, sampler]
          |                    ^^^^^^^
        = it learns from dense-referring, reg, roc, relation, ocr, conversation"
    `);
  });

  test('a shared space that an encoder does not fit', () => {
    const tower = `text_encoder: {vocab_size: 100, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2, max_position_embeddings: 32, eos_token_id: 2}`;
    expect(
      complaintsAbout({
        model: [
          [
            'max_length: 128',
            `max_length: 128\npretraining:\n  ${tower}\n  projection_dim: 48\n  shared_space: true`,
          ],
        ],
        stage: [
          ['task: dense-referring', 'task: contrastive'],
          ['[projector, sampler]', '[encoder, text_encoder]'],
        ],
      }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:33:19  model.pretraining.projection_dim: shared_space needs encoders as wide as the space: 64 and 64 are not 48
        33 |   projection_dim: 48
           |                   ^^
        = set projection_dim to the hidden_size of both encoders, or shared_space: false"
    `);
  });

  test('contrastive pretraining without a text tower', () => {
    expect(
      complaintsAbout({
        stage: [
          ['task: dense-referring', 'task: contrastive'],
          ['[projector, sampler]', '[encoder, text_encoder]'],
        ],
      }),
    ).toMatchInlineSnapshot(`
      "2 problems in the recipe recipe, stage 2
      recipe/stage2.yaml:5:18  train.1: the model has no text_encoder
        5 | train: [encoder, text_encoder]
          |                  ^^^^^^^^^^^^
        = add model.pretraining with a text_encoder and a projection_dim
      recipe/stage2.yaml:10:40  data.0.task: contrastive needs a text encoder
        10 |   - {dataset: data/scenes/train, task: contrastive, weight: 1}
           |                                        ^^^^^^^^^^^
        = add model.pretraining with a text_encoder and a projection_dim"
    `);
  });

  test('weights from a later stage', () => {
    expect(complaintsAbout({ stage: [['from: stage1', 'from: stage2']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:4:7  from: stage 2 cannot start from stage2
        4 | from: stage2
          |       ^^^^^^"
    `);
  });

  test('contrastive pairs as held-out data', () => {
    expect(
      complaintsAbout({
        stage: [['steps: 400', 'steps: 400\neval: {data: [{dataset: data/val, task: contrastive}]}']],
      }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:13:41  eval.data.0.task: contrastive has no questions to score
        13 | eval: {data: [{dataset: data/val, task: contrastive}]}
           |                                         ^^^^^^^^^^^"
    `);
  });

  test("a stage number that is not the file's", () => {
    expect(
      complaintsAbout({
        stage: [
          ['stage: 2', 'stage: 1'],
          ['from: stage1', 'from: null'],
        ],
      }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:2:8  stage: this is the file of stage 2, found 1
        2 | stage: 1
          |        ^"
    `);
  });

  test('a model file that does not exist', () => {
    expect(
      complaintsAbout({ stage: [['extends: model.yaml', 'extends: modle.yaml']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:1:10  extends: no such file: recipe/modle.yaml
        1 | extends: modle.yaml
          |          ^^^^^^^^^^"
    `);
  });

  test('a grid listed twice', () => {
    expect(complaintsAbout({ model: [['[2, 1]', '[2, 1], [1, 1]']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/model.yaml:5:27  model.image.grids.2: grid [1, 1] is listed twice
        5 |   grids: [[1, 1], [2, 1], [1, 1]]
          |                           ^^^^^^"
    `);
  });

  test('steps for which there is no data', () => {
    expect(complaintsAbout({ stage: [['weight: 1', 'during: [0, 0.4]']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:10:65  data.0.during: no source of conversations is drawn from 0.4 to 1 of the steps
        10 |   - {dataset: data/scenes/train, task: dense-referring, during: [0, 0.4]}
           |                                                                 ^^^^^^^^
        = let one begin earlier or last longer"
    `);
    const later = '{dataset: data/scenes/train, task: caption, during: [0.6, 1]}';
    expect(
      complaintsAbout({ stage: [['weight: 1}', `during: [0, 0.4]}\n  - ${later}`]] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:11:57  data.1.during: no source of conversations is drawn from 0.4 to 0.6 of the steps
        11 |   - {dataset: data/scenes/train, task: caption, during: [0.6, 1]}
           |                                                         ^^^^^^^^
        = let one begin earlier or last longer"
    `);
    expect(complaintsAbout({ stage: [['weight: 1', 'during: [0.6, 0.6]']] })).toMatchInlineSnapshot(`
      "2 problems in the recipe recipe, stage 2
      recipe/stage2.yaml:10:65  data.0.during: expected two growing numbers, found 0.6 and 0.6
        10 |   - {dataset: data/scenes/train, task: dense-referring, during: [0.6, 0.6]}
           |                                                                 ^^^^^^^^^^
      recipe/stage2.yaml:10:65  data.0.during: no source of conversations is drawn from 0 to 0.6 of the steps
        10 |   - {dataset: data/scenes/train, task: dense-referring, during: [0.6, 0.6]}
           |                                                                 ^^^^^^^^^^
        = let one begin earlier or last longer"
    `);
  });

  test('rows that are packed and sorted', () => {
    expect(
      complaintsAbout({
        stage: [['batch: {samples: 16}', 'batch: {samples: 16, packing: {length: 512}, bucket: {}}']],
      }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:11:54  batch.bucket: batch.packing is set, and rows of one length cannot be sorted by length
        11 | batch: {samples: 16, packing: {length: 512}, bucket: {}}
           |                                                      ^^
        = keep one of the two"
    `);
  });

  test('a group listed twice', () => {
    expect(
      complaintsAbout({ stage: [['[projector, sampler]', '[projector, sampler, sampler]']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:5:29  train.2: sampler is listed twice
        5 | train: [projector, sampler, sampler]
          |                             ^^^^^^^"
    `);
  });

  test('broken YAML', () => {
    expect(
      complaintsAbout({ stage: [['batch: {samples: 16}', 'batch: {samples: 16']] }),
    ).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:12:1  YAML: Flow map in block collection must be sufficiently indented and end with a }
        12 | steps: 400
           | ^"
    `);
  });

  test('a key given twice', () => {
    expect(complaintsAbout({ stage: [['steps: 400', 'steps: 400\nlr: 1.0e-4']] })).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      recipe/stage2.yaml:13:1  YAML: Map keys must be unique
        13 | lr: 1.0e-4
           | ^"
    `);
  });

  test('problems of both files at once', () => {
    expect(
      complaintsAbout({
        model: [
          ['side: 32', 'side: big'],
          ['name: sample', 'nam: sample'],
        ],
        stage: [['steps: 400', 'steps: many']],
      }),
    ).toMatchInlineSnapshot(`
      "3 problems in the recipe recipe, stage 2
      recipe/model.yaml:1:1  model.nam: no such key
        1 | nam: sample
          | ^^^
        = did you mean name?
      recipe/model.yaml:4:9  model.image.side: expected a whole number, 1 or more, found "big"
        4 |   side: big
          |         ^^^
      recipe/stage2.yaml:12:8  steps: expected a whole number, 1 or more, found "many"
        12 | steps: many
           |        ^^^^"
    `);
  });
});

describe('a wrong --set is answered with the flag', () => {
  test('a value of the wrong type', () => {
    expect(complaintsAbout({}, ['steps=ten'])).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      --set steps=ten  steps: expected a whole number, 1 or more, found "ten""
    `);
  });

  test('an unknown key', () => {
    expect(complaintsAbout({}, ['stesp=10'])).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      --set stesp=10  stesp: no such key
        = did you mean steps?"
    `);
  });

  test('a key that is not there', () => {
    expect(complaintsAbout({}, ['data.0.wieght=2'])).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      --set data.0.wieght=2  data.0.wieght: no such key
        = did you mean weight?"
    `);
  });

  test('a position beyond the list', () => {
    expect(complaintsAbout({}, ['data.4.weight=2'])).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      --set data.4.weight=2  data: expected a position from 0 to 1, found 4"
    `);
  });

  test('a part of something that has none', () => {
    expect(complaintsAbout({}, ['steps.every=2'])).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      --set steps.every=2  steps: has no parts to set: it is 400"
    `);
  });

  test('no equals sign', () => {
    expect(complaintsAbout({}, ['steps'])).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      --set steps  expected key=value
        = for example --set lr=1e-4 or --set data.0.weight=2"
    `);
  });

  test('a name that every object inherits', () => {
    expect(complaintsAbout({}, ['__proto__.steps=1'])).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      --set __proto__.steps=1  expected key=value
        = for example --set lr=1e-4 or --set data.0.weight=2"
    `);
    expect(Object.hasOwn(Object.prototype, 'steps')).toBe(false);
  });

  test('a rule broken by a flag', () => {
    expect(complaintsAbout({}, ['model.llm.num_key_value_heads=3'])).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      --set model.llm.num_key_value_heads=3  model.llm.num_key_value_heads: 3 do not divide the 4 attention heads"
    `);
  });

  test('broken YAML in a flag', () => {
    expect(complaintsAbout({}, ['data=[{'])).toMatchInlineSnapshot(`
      "a problem in the recipe recipe, stage 2
      --set data=[{  Flow map in block collection must be sufficiently indented and end with a }"
    `);
  });

  test('several flags at once', () => {
    expect(complaintsAbout({}, ['steps=0', 'lr=-1', 'views=local'])).toMatchInlineSnapshot(`
      "3 problems in the recipe recipe, stage 2
      --set lr=-1  lr: expected a number above 0, found -1
      --set views=local  views: expected one of global, global+local, found "local"
      --set steps=0  steps: expected a whole number, 1 or more, found 0"
    `);
  });
});
