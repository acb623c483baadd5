/**
 * The one door to TensorFlow.js. `@tensorflow/tfjs` is imported for its side effect: the Node build of tfjs-core
 * registers no gradients by itself.
 */
import '@tensorflow/tfjs';

export * from '@tensorflow/tfjs-core';
