/**
 * Loaded into a worker before its program (`--import`, with `--expose-gc`): collects garbage when told to by SIGUSR2,
 * so that what is measured is what the process keeps, and not when V8 last found time to collect.
 */
process.on('SIGUSR2', () => {
  globalThis.gc?.();
});
