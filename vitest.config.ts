import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Real servers and real processes: a file is slow to start on a busy machine, not wrong.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Files that kill processes and measure deadlines disturb each other beyond two at a time.
    maxWorkers: 2,
  },
});
