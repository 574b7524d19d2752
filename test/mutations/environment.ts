/** What has a program load its source with a mutation, whether or not the environment has options of its own. */
import type { MutationName } from './mutations.ts';

export function mutatedBy(name: MutationName): Record<string, string> {
  const preload = new URL('preload.ts', import.meta.url).href;
  return { NODE_OPTIONS: `--import=${preload}`, SLUICE_TEST_MUTATION: name };
}
