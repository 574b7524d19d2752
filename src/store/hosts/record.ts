/** A host's record and its health as they were written, whatever version of the gateway wrote them. */
import {
  type AgentFacts,
  type HostConfig,
  type HostHealth,
  type HostStatus,
  UNKNOWN_HEALTH,
} from '../../job/host.ts';
import type { Hash } from '../redis/replies.ts';

/** Fields that hosts registered by earlier versions lack, at their defaults. */
const ADDED_LATER = { rate: null, max_jobs: null };

export function hostIn(text: string): HostConfig {
  return { ...ADDED_LATER, ...(JSON.parse(text) as Omit<HostConfig, keyof typeof ADDED_LATER>) };
}

export function healthIn(hash: Hash): HostHealth {
  const number = (text: string | undefined) => (text === undefined ? null : Number(text));
  return {
    ...UNKNOWN_HEALTH,
    status: (hash.status as HostStatus | undefined) ?? 'unknown',
    cause: hash.cause ?? null,
    remedy: hash.remedy ?? null,
    draining: hash.draining === '1',
    failures: number(hash.failures) ?? 0,
    retry_at: later(number(hash.retry_at), number(hash.asked_until)),
    no_starts_until: number(hash.no_starts_until),
    no_starts_why: hash.no_starts_why ?? null,
    last_contact_at: number(hash.last_contact_at),
    silent_since: number(hash.silent_since),
    silent_ms: number(hash.silent_ms) ?? 0,
    silent_asks: number(hash.silent_asks) ?? 0,
    revision: number(hash.revision) ?? 0,
    pinned_fingerprint: hash.pinned_fingerprint ?? null,
    agent: hash.agent === undefined ? null : (JSON.parse(hash.agent) as AgentFacts),
    warnings: hash.warnings === undefined ? [] : (JSON.parse(hash.warnings) as string[]),
  };
}

/** Our own pause after failures, or the one that the agent asked for of everything. */
function later(retryAt: number | null, askedUntil: number | null): number | null {
  return retryAt === null || askedUntil === null ? (retryAt ?? askedUntil) : Math.max(retryAt, askedUntil);
}
