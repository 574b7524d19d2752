/**
 * What a host is: how it is reached (`HostConfig`, set by operators), and what is known of it (`HostHealth`,
 * learnt from its answers). A host is a registered name, or an address that a configured pattern admits.
 */

/** How the gateway knows that it talks to the right agent. Exactly one way is in force. */
export type HostTls =
  | { fingerprint: string }
  | { ca: string }
  | { pin: 'first_use' }
  | { insecure: true }
  | { dangerously_off: true };

export interface HostConfig {
  /** The registered name, or the address itself where a pattern admitted it. */
  name: string;
  /** `host:port` */
  address: string;
  /** The agent's token, sealed; opened by whoever dials. */
  sealed_token: string;
  tls: HostTls;
  /** Requests under way to the agent at once. */
  max_requests: number;
  /** Requests in a time; null: by the kind of its agent, see `rateOf`. */
  rate: HostRate | null;
  /** Jobs `dispatching`, `running`, `unreachable` or `canceling` at once; null: no limit. */
  max_jobs: number | null;
  labels: Record<string, string>;
  /** Users that jobs may run as here; null: every user. A null inside stands for the agent's own user. */
  allowed_users: (string | null)[] | null;
  /** Base agents only: send commands through the launcher. */
  launcher: boolean;
  /** False for an address that a pattern of the configuration admits. */
  registered: boolean;
}

/** A token bucket: `limit` requests in each period on average, at most `limit + burst` in any one period. */
export interface HostRate {
  limit: number;
  period_seconds: number;
  /** Requests that may come at once; 1 is strict: they are spread evenly. Missing: a tenth of the limit. */
  burst?: number;
}

/**
 * Installed Base agents count up to 120 requests of one address in 60 s (the default of every generation that
 * counts); with its burst of 10 this stays below that in any 60 s.
 */
export const BASE_RATE: HostRate = { limit: 100, period_seconds: 60, burst: 10 };

/** The rate in force: the operator's, else that of the agent's kind. Null: no limit. */
export function rateOf(
  config: Pick<HostConfig, 'rate'>,
  agent: Pick<AgentFacts, 'kind'> | null,
): HostRate | null {
  return config.rate ?? (agent?.kind === 'base' ? BASE_RATE : null);
}

/** @returns how many requests may come at once */
export function burstOf({ limit, burst }: HostRate): number {
  return burst ?? Math.max(1, Math.floor(limit / 10));
}

/** Addresses that may be used without being registered, with what a registered host would say of them. */
export interface AddressPattern {
  /** `network/bits:port`, or one `address:port`; IPv6 in brackets. */
  match: string;
  token: string;
  tls?: HostTls;
  max_requests?: number;
  rate?: HostRate;
  max_jobs?: number;
  labels?: Record<string, string>;
  allowed_users?: (string | null)[];
  launcher?: boolean;
}

export const HOST_STATUSES = ['unknown', 'up', 'suspect', 'down', 'misconfigured'] as const;
export type HostStatus = (typeof HOST_STATUSES)[number];

/** What `POST /ping` last said, plus what was found out since. */
export interface AgentFacts {
  kind: 'full' | 'base';
  protocol: number | null;
  version: string | null;
  capabilities: string[];
  boot_id: string | null;
  store_id: string | null;
  /** Whom the agent may run as; null: everybody, or not said. */
  users: string[] | null;
  /** The host's clock minus ours, in ms. */
  clock_skew_ms: number;
  /** When `/ping` said so. */
  at: number;
}

export interface HostHealth {
  status: HostStatus;
  /** For `misconfigured` and `down`: what is wrong, and what to do about it. */
  cause: string | null;
  remedy: string | null;
  draining: boolean;
  /** Failed requests in a row. */
  failures: number;
  /** Nothing is asked of the host before then, but for one `/ping`. */
  retry_at: number | null;
  /** Nothing new is started there before then: its agent refused one, and asked to wait. */
  no_starts_until: number | null;
  /** What it said then; may be old news, see `startsPauseLeftMs`. */
  no_starts_why: string | null;
  last_contact_at: number | null;
  /** Silence so far: only time between failed requests counts, so that a gateway that was off loses nothing. */
  silent_since: number | null;
  silent_ms: number;
  silent_asks: number;
  /** sha256 of the pinned certificate (DER, lower-case hex), once `pin: "first_use"` has seen one. */
  pinned_fingerprint: string | null;
  agent: AgentFacts | null;
  warnings: string[];
  /** Counts the changes of the host's configuration. */
  revision: number;
  /** Redis' time when this was read: what the other times are compared with. */
  seen_at: number;
}

/** How long the host is still to be left alone, in ms; by Redis' clock, as `retry_at` is. */
export function pauseLeftMs({ retry_at, seen_at }: Pick<HostHealth, 'retry_at' | 'seen_at'>): number {
  return Math.max(0, (retry_at ?? 0) - seen_at);
}

/** How long nothing new is to be started there, in ms, whatever else it may be asked. */
export function startsPauseLeftMs({
  no_starts_until,
  seen_at,
}: Pick<HostHealth, 'no_starts_until' | 'seen_at'>): number {
  return Math.max(0, (no_starts_until ?? 0) - seen_at);
}

export const UNKNOWN_HEALTH: HostHealth = {
  status: 'unknown',
  cause: null,
  remedy: null,
  draining: false,
  failures: 0,
  retry_at: null,
  no_starts_until: null,
  no_starts_why: null,
  last_contact_at: null,
  silent_since: null,
  silent_ms: 0,
  silent_asks: 0,
  pinned_fingerprint: null,
  agent: null,
  warnings: [],
  revision: 0,
  seen_at: 0,
};
