/**
 * Every property test draws the same examples in every run, so that a failure is one of the change at hand.
 * `GROUND_FC_SEED=5 npx vitest run` looks at others.
 */
import fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env.GROUND_FC_SEED ?? 20_261_122) });
