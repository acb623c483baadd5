import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['./test/helpers/seed.ts'],
    // These end what hangs; they are far beyond what a busy machine takes.
    testTimeout: 900_000,
    hookTimeout: 900_000,
    // One process a file: libtensorflow's context and tfjs's backend are process-wide.
    pool: 'forks',
    maxWorkers: 2,
    reporters: ['default', './test/helpers/reporter.ts'],
  },
});
