import { defineConfig } from 'vitest/config';

/** For `script/test-systemd`, which boots the container that these tests are about. */
export default defineConfig({
  test: {
    include: ['test/systemd/*.systemd.test.ts'],
    root: new URL('../..', import.meta.url).pathname,
    // One container, whose agent is restarted.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    ...(process.env.SLUICE_CI_REPORTS && { reporters: ['default', './script/ci-reporter.ts'] }),
  },
});
