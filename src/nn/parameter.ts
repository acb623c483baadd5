import * as tf from '../engine/tf.ts';
import { GroundError } from '../errors.ts';
import { type Initializer, initialValues } from './init.ts';
import type { AdaptableLayer } from './lora.ts';
import type { TrainingMode } from './training.ts';

/** One named weight. Its values live in the engine from `allocate` or `load` until `dispose`. */
export class Parameter {
  /** Full name; Hugging Face's where the published network has one. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly initializer: Initializer;
  #value: tf.Tensor | undefined;

  constructor(name: string, shape: readonly number[], initializer: Initializer) {
    this.name = name;
    this.shape = shape;
    this.initializer = initializer;
  }

  get size(): number {
    return this.shape.reduce((product, n) => product * n, 1);
  }

  /** The current tensor, owned by the parameter: never dispose it. Throws before `allocate` or `assign`. */
  get value(): tf.Tensor {
    if (!this.#value) throw new GroundError('model', `parameter ${this.name} has no values yet`);
    return this.#value;
  }

  get allocated(): boolean {
    return this.#value !== undefined;
  }

  /** Takes ownership of `next` and disposes the previous tensor. Throws when the shape differs. */
  assign(next: tf.Tensor): void {
    if (!tf.util.arraysEqual(next.shape, [...this.shape])) {
      throw new GroundError(
        'model',
        `parameter ${this.name} has shape [${this.shape}], but the values given have [${next.shape}]`,
      );
    }
    const previous = this.#value;
    this.#value = tf.keep(next);
    if (previous && previous !== next) previous.dispose();
  }

  /** Puts `next` in the place of the tensor, which now belongs to the caller. Throws when there is none yet. */
  exchange(next: tf.Tensor): tf.Tensor {
    const previous = this.value;
    tf.util.assertShapesMatch(next.shape, [...this.shape], `parameter ${this.name}: `);
    this.#value = tf.keep(next);
    return previous;
  }

  dispose(): void {
    this.#value?.dispose();
    this.#value = undefined;
  }
}

/** All parameters of a model in order of declaration, by full name. */
export class ParameterTree {
  readonly #byName = new Map<string, Parameter>();
  readonly #adaptable = new Map<string, AdaptableLayer>();
  #training: TrainingMode | null = null;

  /** Linear layers that can be given an adapter, by the name of the module. */
  get adaptable(): ReadonlyMap<string, AdaptableLayer> {
    return this.#adaptable;
  }

  /** How the pass that is running differs from evaluation; null outside of `train`. */
  get training(): TrainingMode | null {
    return this.#training;
  }

  /** Runs `f` in training mode. */
  train<T>(mode: TrainingMode, f: () => T): T {
    this.#training = mode;
    try {
      return f();
    } finally {
      this.#training = null;
    }
  }

  /** Makes a linear layer known by name. */
  offer(name: string, layer: AdaptableLayer): void {
    this.#adaptable.set(name, layer);
  }

  /** The scope from which modules declare: `new Linear(tree.root.at('lm_head'), …)`. */
  get root(): Scope {
    return new Scope(this, '');
  }

  add(parameter: Parameter): Parameter {
    if (this.#byName.has(parameter.name)) {
      throw new GroundError('model', `parameter ${parameter.name} is declared twice`);
    }
    this.#byName.set(parameter.name, parameter);
    return parameter;
  }

  get(name: string): Parameter | undefined {
    return this.#byName.get(name);
  }

  get all(): Parameter[] {
    return [...this.#byName.values()];
  }

  /** Parameters whose name is `prefix` or lies below it. */
  under(prefix: string): Parameter[] {
    return this.all.filter(p => p.name === prefix || p.name.startsWith(`${prefix}.`));
  }

  /**
   * Draws initial values for every parameter that has none. Each parameter has a random stream of its own, named by
   * (seed, parameter name), so that adding a module never changes another's values.
   */
  allocate(seed: number): void {
    for (const p of this.#byName.values()) {
      if (!p.allocated) p.assign(tf.tensor(initialValues(p, seed), [...p.shape], 'float32'));
    }
  }

  dispose(): void {
    for (const p of this.#byName.values()) p.dispose();
  }
}

/** A place in the tree of names. Modules declare their parameters through it and keep what they get. */
export class Scope {
  readonly #tree: ParameterTree;
  readonly path: string;

  constructor(tree: ParameterTree, path: string) {
    this.#tree = tree;
    this.path = path;
  }

  /** The parameters declared here and below so far. */
  get declared(): Parameter[] {
    return this.path === '' ? this.#tree.all : this.#tree.under(this.path);
  }

  /** The mode of the pass that is running; null in evaluation. */
  get training(): TrainingMode | null {
    return this.#tree.training;
  }

  /** Lets the linear layer at this place be given an adapter. */
  offer(layer: AdaptableLayer): void {
    this.#tree.offer(this.path, layer);
  }

  /** The scope one or more dotted names below: `at('encoder.layers.0')`. */
  at(name: string | number): Scope {
    return new Scope(this.#tree, this.path === '' ? `${name}` : `${this.path}.${name}`);
  }

  /** Declares a parameter here. Nothing is allocated yet. */
  parameter(name: string, shape: readonly number[], initializer: Initializer): Parameter {
    return this.#tree.add(new Parameter(this.at(name).path, shape, initializer));
  }
}
