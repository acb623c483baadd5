/** The low-rank adapters (LoRA) of a stage: which layers get one, and what becomes of them afterwards. */

import { GroundError } from '../errors.ts';
import { Ferret } from '../models/ferret.ts';
import { addLowRank } from '../nn/lora.ts';
import type { ParameterTree } from '../nn/parameter.ts';
import type { LayerAdapter, NamedArray } from './checkpoint.ts';
import { unreadBy } from './freeze.ts';
import { moduleOf } from './groups.ts';
import { compile, lies, listOf, matchesNothing } from './patterns.ts';
import type { LoadedCheckpoint } from './reading.ts';
import type { LoraConfig, Recipe } from './recipe.ts';

/** What `targets` says for every linear layer but the output layer, as the PEFT library has it. */
const ALL_LINEAR = 'all-linear';
/** Scores the vocabulary; PEFT leaves it out of `all-linear`, too. */
const OUTPUT_LAYER = /(^|\.)lm_head$/;

const PARAMETER = /^(.+)\.lora_[AB]\.weight$/;

/** The layer whose adapter a parameter belongs to; undefined for other parameters. */
export function adaptedLayer(parameter: string): string | undefined {
  return PARAMETER.exec(parameter)?.[1];
}

/** The model that a recipe describes, with the adapters of its stage. Nothing is allocated. */
export function buildModel({ model, stage }: Recipe): Ferret {
  const ferret = new Ferret(model);
  attachAdapters(
    ferret.parameters,
    chooseAdapters(ferret.parameters, stage.lora ?? [], unreadBy(ferret, stage)),
  );
  return ferret;
}

/**
 * The layers that a stage's `lora` names. Layers that no loss reads are left out. Throws GroundError('config') where a
 * pattern matches nothing, a rank is larger than a layer's sides, or two entries name one layer.
 */
export function chooseAdapters(
  tree: ParameterTree,
  entries: readonly LoraConfig[],
  unused: ReadonlySet<string>,
): LayerAdapter[] {
  const chosen = new Map<string, LayerAdapter>();
  for (const [i, entry] of entries.entries()) {
    const { module, rank, alpha = rank, dropout = 0 } = entry;
    const key = `lora.${i}`;
    const layers = [...tree.adaptable.keys()].filter(
      name => lies(name, module) && !unused.has(`${name}.weight`),
    );
    if (layers.length === 0) throw noLayers(tree, key, module);
    for (const layer of targetsOf(entry, key, layers)) {
      const { inputs = 0, outputs = 0 } = tree.adaptable.get(layer) ?? {};
      if (rank > Math.min(inputs, outputs)) {
        throw new GroundError(
          'config',
          `${key}.rank: ${rank} is too large for ${layer}, which is [${outputs}, ${inputs}]`,
          { hint: `a low rank is at most ${Math.min(inputs, outputs)} there, and usefully far less` },
        );
      }
      if (chosen.has(layer)) {
        throw new GroundError(
          'config',
          `${key}: ${layer} has an adapter from another entry of lora already`,
          {
            hint: 'make the targets of the entries differ',
          },
        );
      }
      chosen.set(layer, { layer, rank, alpha, dropout });
    }
  }
  return [...chosen.values()];
}

/** The layers that an entry's targets pick: a pattern must match the end of a name, from a dot on. */
function targetsOf(entry: LoraConfig, key: string, layers: readonly string[]): string[] {
  const patterns = entry.targets === undefined ? [ALL_LINEAR] : listOf(entry.targets);
  const matches = patterns.map(pattern => {
    if (pattern === ALL_LINEAR) return (name: string) => !OUTPUT_LAYER.test(name);
    compile(`${key}.targets`, pattern);
    const expression = new RegExp(`(^|\\.)(?:${pattern})$`);
    if (!layers.some(name => expression.test(name))) throw matchesNothing(`${key}.targets`, pattern, layers);
    return (name: string) => expression.test(name);
  });
  return layers.filter(name => matches.some(match => match(name)));
}

function noLayers(tree: ParameterTree, key: string, module: string): GroundError {
  const modules = [...new Set([...tree.adaptable.keys()].map(moduleOf))];
  return new GroundError('config', `${key}.module: "${module}" has no linear layer that a loss reads`, {
    hint: `there are some in ${modules.join(', ')}`,
  });
}

/** Gives layers of a model their adapters, with parameters of their own. Throws GroundError('model') for a strange layer. */
export function attachAdapters(tree: ParameterTree, adapters: readonly LayerAdapter[]): void {
  for (const [index, { layer, ...options }] of adapters.entries()) {
    const linear = tree.adaptable.get(layer);
    if (!linear) {
      throw new GroundError('model', `there is no linear layer ${layer} for an adapter`, {
        hint: 'the checkpoint belongs to another model than its model.json describes',
      });
    }
    linear.adapt({ ...options, index });
  }
}

/** Weights in which the adapters are part of the layers: W + alpha / rank · B A, in float32; theirs are gone. */
export function mergeAdapters(
  weights: ReadonlyMap<string, NamedArray>,
  adapters: readonly LayerAdapter[],
): Map<string, NamedArray> {
  const merged = new Map(weights);
  for (const { layer, rank, alpha } of adapters) {
    const [weight, a, b] = ['weight', 'lora_A.weight', 'lora_B.weight'].map(name => {
      const array = weights.get(`${layer}.${name}`);
      if (array) return array;
      throw new GroundError('model', `the checkpoint has an adapter for ${layer}, but no ${layer}.${name}`);
    }) as [NamedArray, NamedArray, NamedArray];
    const values = weight.data.slice();
    addLowRank({ values, columns: weight.shape[1] ?? 0 }, a.data, b.data, alpha / rank);
    merged.set(`${layer}.weight`, { shape: weight.shape, data: values });
    merged.delete(`${layer}.lora_A.weight`);
    merged.delete(`${layer}.lora_B.weight`);
  }
  return merged;
}

/** What of a checkpoint counts as its model: its weights, with their running average in the place of what was trained. */
export function averagedWeights({
  model,
  average,
}: Pick<LoadedCheckpoint, 'model' | 'average'>): ReadonlyMap<string, NamedArray> {
  return average === null ? model : new Map([...model, ...average]);
}

/**
 * The weights of a checkpoint as a new stage takes them: its adapters merged, or kept where the recipe says so. Throws
 * GroundError('config') where they are to be kept and the stage's own adapters are others.
 */
export function startingWeights(
  checkpoint: Pick<LoadedCheckpoint, 'model' | 'average' | 'state' | 'path'>,
  tree: ParameterTree,
  { stage }: Recipe,
): ReadonlyMap<string, NamedArray> {
  const weights = averagedWeights(checkpoint);
  const { adapters = [] } = checkpoint.state;
  if (stage.from_adapters !== 'keep') return mergeAdapters(weights, adapters);
  const shapes = [...weights].map(([name, { shape }]) => [name, shape.join()] as const);
  const there = new Map(shapes.filter(([name]) => adaptedLayer(name) !== undefined));
  const here = new Map(
    tree.all.filter(p => adaptedLayer(p.name) !== undefined).map(p => [p.name, p.shape.join()]),
  );
  const scales = new Map(adapters.map(({ layer, rank, alpha }) => [layer, alpha / rank]));
  const names = new Set([...there.keys(), ...here.keys()]);
  const differing = [...names].filter(name => there.get(name) !== here.get(name));
  const rescaled = (stage.lora ?? []).flatMap(({ module, rank, alpha = rank }) =>
    [...scales].filter(([layer, scale]) => lies(layer, module) && scale !== alpha / rank).map(([l]) => l),
  );
  const [first] = [...differing, ...rescaled];
  if (first === undefined) return weights;
  throw new GroundError(
    'config',
    `from_adapters: keep, but the adapters of ${checkpoint.path} are not those of this stage's lora: ${first} differs` +
      (differing.length > 1 ? ` (and ${differing.length - 1} more)` : ''),
    { hint: 'give the same module, rank, alpha and targets under `lora`, or from_adapters: merge' },
  );
}
