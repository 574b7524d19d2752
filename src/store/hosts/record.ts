/** A host's record as it was written, whatever version of the gateway wrote it. */
import type { HostConfig } from '../../job/host.ts';

/** Fields that hosts registered by earlier versions lack, at their defaults. */
const ADDED_LATER = { rate: null, max_jobs: null };

export function hostIn(text: string): HostConfig {
  return { ...ADDED_LATER, ...(JSON.parse(text) as Omit<HostConfig, keyof typeof ADDED_LATER>) };
}
