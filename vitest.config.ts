import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // They are about a container that script/test-systemd boots.
    exclude: [...configDefaults.exclude, 'test/systemd/**'],
    // Real servers and real processes: a file is slow to start on a busy machine, not wrong.
    testTimeout: 60_000,
    hookTimeout: 90_000,
    // Most of a file is waiting. Those that kill processes and measure deadlines disturb each other beyond a few at a time.
    maxWorkers: 3,
    // `.ci/run` wants to say at its end what failed. A case that fails there is tried once more, and named if it passes then:
    // with real processes on a shared machine a wait can be too short once, and a promise that broke breaks again.
    ...(process.env.SLUICE_CI_REPORTS && {
      reporters: ['default', './script/ci-reporter.ts'],
      retry: 1,
    }),
  },
});
