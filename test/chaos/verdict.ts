/**
 * The promises, each with its name, held against what the rig knows. A breach names its promise and, where it is about
 * one, its job; the table counts them.
 */
import { createHash } from 'node:crypto';
import { canMove, isOver } from '../../src/job/states.ts';
import type { ReceivedWebhook } from '../helpers/receiver.ts';
import { keptAlone, keptCap } from './at-once.ts';
import type { RigHost } from './hosts.ts';
import type { Ledger } from './ledger.ts';
import type { Ended } from './settle.ts';

export const PROMISES = [
  'nothing lost',
  'started at most once',
  'every end is true',
  'every end is told',
  'committed before told',
  'versions without gaps',
  'no host above its cap',
  'one of a unique key at a time',
  'nothing leaked',
  'memory and connections back',
  'no process ends by itself',
  'no internal errors',
] as const;
export type PromiseName = (typeof PROMISES)[number];

export interface Breach {
  promise: PromiseName;
  job?: string;
  what: string;
}

export interface Facts {
  ended: Ended[];
  ledger: Ledger;
  received: ReceivedWebhook[];
  hosts: RigHost[];
  /** Of `RigRedis`. */
  canForget: boolean;
}

/** Told while it ran, of what a failover may undo. */
const FOR_ONE_SERVER: ReadonlySet<PromiseName> = new Set(['versions without gaps']);

export function judge({ ended, ledger, received, hosts, canForget }: Facts): Breach[] {
  const told = answeredWell(received);
  const found = ended.flatMap((one) => {
    return [
      ...isThere(one),
      ...startedOnce(one),
      ...endedTruly(one),
      ...wasTold(one, told),
      ...hasNoGap(one),
      ...(canForget ? [] : wasCommitted(one, ledger)),
    ];
  });
  return [
    ...found,
    ...hosts.flatMap((host) => keptCap(host, ended)),
    ...keptAlone(ended),
    ...ledger.wrong.map(noted).filter(({ promise }) => !(canForget && FOR_ONE_SERVER.has(promise))),
  ];
}

function isThere({ id, job }: Ended): Breach[] {
  if (!job) return [{ promise: 'nothing lost', job: id, what: 'was acknowledged, and nobody knows it' }];
  if (!isOver(job.state))
    return [{ promise: 'nothing lost', job: id, what: `has no end: it is ${job.state}` }];
  return [];
}

/** Without `retry` at most once on every host: one that cannot promise it makes the job `lost` instead. */
function startedOnce({ id, entry, ran: { starts } }: Ended): Breach[] {
  const mayRepeat = entry.kind === 'bare' && entry.order.body.on_ambiguous_start === 'retry';
  if (starts.length <= (entry.order.truth.attempts ?? 1) || mayRepeat) return [];
  return [
    { promise: 'started at most once', job: id, what: `was started ${starts.length} times by ${entry.host}` },
  ];
}

function endedTruly({ id, entry, job, stdout, ran }: Ended): Breach[] {
  if (!job || !isOver(job.state)) return [];
  const { truth } = entry.order;
  const wrong = (what: string): Breach[] => [{ promise: 'every end is true', job: id, what }];
  const outcome = JSON.stringify(job.outcome);
  if (job.state === 'canceled' && (entry.cancelAsked || truth.uniqueKey !== undefined)) return [];
  const kind = (job.outcome as { kind?: string } | null)?.kind;
  if (job.state === 'lost' && entry.kind === 'bare' && kind === 'ambiguous_start') return [];
  const wasCanceled = entry.cancelAsked && job.cancel_requested_at !== null;
  const isEarly = wasCanceled && job.state === 'failed' && job.return_code === truth.earlierCode;
  if (!isEarly && (job.state !== truth.state || job.return_code !== truth.returnCode)) {
    return wrong(`"${entry.order.what}" on ${entry.host} ended ${job.state} ${job.return_code}: ${outcome}`);
  }
  const starts = truth.neverStarts ? 0 : isEarly ? 1 : (truth.attempts ?? 1);
  if (ran.starts.length < starts || (starts === 0 && ran.starts.length > 0)) {
    return wrong(`ended ${job.state} with ${ran.starts.length} starts on ${entry.host}`);
  }
  if (truth.stdout && truth.stdout.bytes > 0 && (!stdout || sha256(stdout) !== truth.stdout.sha256)) {
    return wrong(`has ${stdout?.length} bytes of output, of ${truth.stdout.bytes}`);
  }
  return [];
}

/** Each end and each correction of an end, by a delivery that the receiver took. */
function wasTold({ id, events }: Ended, told: Map<string, Set<number>>): Breach[] {
  const ends = events.filter(({ state }) => isOver(state));
  const untold = ends.filter(({ version }) => !told.get(id)?.has(version));
  return untold.map(({ version, state }) => ({
    promise: 'every end is told' as const,
    job: id,
    what: `nobody was told of version ${version} (${state})`,
  }));
}

function hasNoGap({ id, job, events }: Ended): Breach[] {
  if (!job) return [];
  const wrong = (what: string): Breach => ({ promise: 'versions without gaps', job: id, what });
  const found: Breach[] = [];
  for (const [i, event] of events.entries()) {
    const before = events[i - 1];
    if (event.version !== i + 1) found.push(wrong(`event ${i + 1} has version ${event.version}`));
    if (before && !canMove(before.state, event.state))
      found.push(wrong(`${before.state} became ${event.state}`));
  }
  if (events.length !== job.version) found.push(wrong(`version ${job.version} with ${events.length} events`));
  return found;
}

/** Whatever anybody was told is in the history. */
function wasCommitted({ id, events }: Ended, ledger: Ledger): Breach[] {
  const found: Breach[] = [];
  for (const { version, state, by } of ledger.tellings.get(id) ?? []) {
    const event = events.find((one) => one.version === version);
    if (event?.state === state) continue;
    const what = `a ${by} was told of version ${version} as ${state}, which is ${event?.state ?? 'none'}`;
    found.push({ promise: 'committed before told', job: id, what });
  }
  return found;
}

/** What was found while the rig ran. */
function noted(line: string): Breach {
  const promise = PROMISES.find((name) => line.startsWith(`${name}: `)) ?? 'nothing lost';
  const [job] = /job_[0-9A-Z]{26}/.exec(line) ?? [];
  return { promise, what: line.slice(promise.length + 2), ...(job !== undefined && { job }) };
}

function answeredWell(received: ReceivedWebhook[]): Map<string, Set<number>> {
  const told = new Map<string, Set<number>>();
  for (const { body, mode } of received) {
    // The status is the answer: a body without an end changes nothing.
    if (mode.kind !== 'slow_body' && !(mode.kind === 'status' && mode.status === 200)) continue;
    const id = String(body.data.id);
    told.set(id, (told.get(id) ?? new Set()).add(Number(body.data.version)));
  }
  return told;
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
