/** What a change of a job and one of a batch have in common for those who are told of them. */
import type { Job } from '../../job/record.ts';
import { batchView } from '../../protocol/batch-view.ts';
import { type EventType, isEventType } from '../../protocol/webhook.ts';
import type { Outgoing } from '../../store/deliveries.ts';

export interface Change {
  type: EventType;
  /** When it happened, in ms. */
  at: number;
  /** The id of the job or batch, and its version after the change. */
  subject: string;
  version: number;
  created_by: string;
  labels: Record<string, string>;
  callback_url: string | null;
  /** The job or batch as of that version, as callers see it. */
  data: () => Promise<unknown>;
}

/** @returns null for a type that nobody can subscribe to */
export function changeOf(
  entry: NonNullable<Outgoing['entry']>,
  view: (job: Job) => Promise<unknown>,
): Change | null {
  const { type, at, id: subject, version } = entry;
  if (!isEventType(type)) return null;
  const change = { type, at, subject, version };
  if ('batch' in entry) {
    const { created_by, callback_url, job } = entry.batch;
    const data = async () => batchView(entry.batch);
    return { ...change, created_by, callback_url, labels: job.labels, data };
  }
  const { created_by, callback_url, labels } = entry.job;
  return { ...change, created_by, callback_url, labels, data: () => view(entry.job) };
}
