/**
 * What the gateway asks of a host, whatever kind of agent lives there: implemented by `net/`, used by `api` and
 * `workers`. Every method rejects with a `SluiceError` of an `agent_…` code whose `retry` says whether the host
 * may have acted.
 */
import type { SluiceError } from './errors.ts';
import type { AgentFacts, HostConfig, HostHealth, HostTls } from './host.ts';
import type { CancelOrder, Job } from './record.ts';
import type { Report } from './report.ts';

/** Whom to dial: a host's configuration with its token opened and its pin filled in. */
export interface DialHost {
  name: string;
  address: string;
  token: string;
  tls: HostTls;
  /** For `pin: "first_use"`: the certificate seen before, or null for "take what is shown and tell". */
  pinned_fingerprint: string | null;
  launcher: boolean;
  /** Called before each request: resolves once the host's budget has room for it, rejects with `host_busy`. */
  beforeRequest?: () => Promise<void>;
}

/** @param token the host's, opened */
export function dialHost(host: HostConfig, health: HostHealth, token: string): DialHost {
  const { name, address, tls, launcher } = host;
  return { name, address, tls, launcher, pinned_fingerprint: health.pinned_fingerprint, token };
}

/** What a question to a Full agent needs of a job: these are asked about by the hundred. */
export type KnownByToken = Pick<Job, 'id' | 'attempt' | 'agent_job_id' | 'store_id'>;
export type FullJob = KnownByToken & { started_by: 'full' };

/** A start. Everything about it is fixed in the record before it is sent. */
export interface StartOrder {
  job: Job;
  /** `launchToken(job)` */
  token: string;
  env: Record<string, string>;
  secret_env: Record<string, string>;
  /** Full agents: hold the reply so long for a short command, in seconds; 0 for none. */
  wait_seconds: number;
}

export interface Started {
  /** The id under which the agent knows the job. */
  agent_job_id: string;
  report: Report;
  /** This token had been started before. */
  existing: boolean;
}

export interface StopOrder extends CancelOrder {
  /** Base agents with launcher: what the host records it as; a cancel where it is missing. */
  kind?: 'timeout';
}

export interface CancelResult {
  /** What the host says of the job now; `ended` with `remaining_pids` empty is a proof. */
  report: Report;
  /** The agent cannot check what is left (Base without launcher). */
  unproven: boolean;
}

/** The longest range that one `read` answers. */
export const MAX_RANGE_BYTES = 1_048_576;

export interface LogRange {
  data: Buffer;
  next: number;
  eof: boolean;
}

export interface AgentPort {
  /** Asks who is there; tells the certificate it showed (sha256 of the DER, lower-case hex; null over plain HTTP). */
  ping(host: DialHost): Promise<{ facts: AgentFacts; fingerprint: string | null }>;
  /** Base agents with launcher: finds and proves the directory for this user. Full and plain Base: null. */
  prepare(host: DialHost, facts: AgentFacts, user: string | null): Promise<string | null>;
  start(host: DialHost, order: StartOrder): Promise<Started>;
  /**
   * Asks about jobs, each in the way it was started. One request on Full agents, one per job on Base. Of what a Full
   * agent started, the token is enough.
   * `wait` (Full only) holds the reply until one changes after `cursor`; jobs that did not change may be missing.
   *
   * Keyed by `job.id`. `reports` are answers; `errors` are questions that failed. A job in neither was not asked
   * about this time (the host stopped answering or asks to wait), so nothing may be concluded about it. Rejects
   * where there is no answer at all.
   */
  ask(
    host: DialHost,
    jobs: (Job | FullJob)[],
    wait?: { seconds: number; cursor: string | null; signal: AbortSignal },
  ): Promise<{
    reports: Map<string, Report>;
    errors: Map<string, SluiceError>;
    cursor: string | null;
  }>;
  /** The cancel of a started or perhaps started job; leaves a tombstone where the token was never seen. */
  cancel(host: DialHost, job: Job, order: StopOrder): Promise<CancelResult>;
  /**
   * Any range of a stream of the given attempt, at most `MAX_RANGE_BYTES`.
   * @throws SluiceError output_gone as well: the host has cleared it up, or its agent cannot show so much
   */
  read(
    host: DialHost,
    job: Job,
    range: { stream: 'stdout' | 'stderr'; offset: number; limit: number; attempt: number },
  ): Promise<LogRange>;
}
