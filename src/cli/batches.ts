/** `sluice batch ...`: what people do with batches that there are, through the HTTP API. */
import { randomUUID } from 'node:crypto';
import type { BatchView } from '../protocol/batch-view.ts';
import type { JobView } from '../protocol/job-view.ts';
import { attend, cancel } from './batches/attend.ts';
import { printOutput, readOutput } from './batches/output.ts';
import { overCount, sentenceForBatch } from './batches/words.ts';
import { postUntilAnswered } from './client/again.ts';
import { readPages } from './client/pages.ts';
import { createClient } from './client.ts';
import { oneLine, printJson, printTable } from './terminal.ts';

export interface ListOptions {
  label: string[];
  limit: number;
  json?: boolean;
}

export async function listBatches({ label, limit, json }: ListOptions): Promise<void> {
  const query = { label: label.map((pair) => pair.replace('=', ':')) };
  const batches = await readPages<BatchView>(createClient(), '/v1/batches', query, limit);
  if (json) return printJson(batches);
  const rows = batches.map((batch) => [
    batch.id,
    batch.state,
    `${overCount(batch)}/${batch.total}`,
    `${batch.counts.succeeded}`,
    batch.created_at,
    oneLine(batch.command),
  ]);
  printTable([['ID', 'STATE', 'OVER', 'SUCCEEDED', 'CREATED', 'COMMAND'], ...rows]);
}

export async function listBatchJobs(id: string, options: ListOptions & { state: string[] }): Promise<void> {
  const { state, limit, json } = options;
  const jobs = await readPages<JobView>(createClient(), `${pathOf(id)}/jobs`, { state }, limit);
  if (json) return printJson(jobs);
  const rows = jobs.map((job) => [job.id, job.state, `${job.return_code ?? ''}`, job.host]);
  printTable([['ID', 'STATE', 'CODE', 'HOST'], ...rows]);
}

export async function getBatch(id: string): Promise<void> {
  printJson(await createClient().request('GET', pathOf(id)));
}

export async function waitForBatch(id: string, options: { quiet?: boolean }): Promise<void> {
  const client = createClient();
  await attend(client, await client.request<BatchView>('GET', pathOf(id)), options.quiet ?? false);
}

export async function pauseBatch(id: string): Promise<void> {
  say(await createClient().request<BatchView>('POST', `${pathOf(id)}:pause`));
}

export async function resumeBatch(id: string): Promise<void> {
  say(await createClient().request<BatchView>('POST', `${pathOf(id)}:resume`));
}

export async function cancelBatch(id: string, { reason }: { reason?: string }): Promise<void> {
  say(await cancel(createClient(), id, reason));
}

export interface RetryOptions {
  scope: string[];
  idempotencyKey?: string;
  detach?: boolean;
  quiet?: boolean;
}

export async function retryBatch(
  id: string,
  { scope, detach, quiet, ...options }: RetryOptions,
): Promise<void> {
  const client = createClient();
  const batch = await postUntilAnswered<BatchView>(client, `${pathOf(id)}:retry`, {
    body: { scope },
    idempotencyKey: options.idempotencyKey ?? randomUUID(),
  });
  if (detach) process.stdout.write(`${batch.id}\n`);
  else await attend(client, batch, quiet ?? false);
}

export async function showOutput(id: string, { json }: { json?: boolean }): Promise<void> {
  const groups = await readOutput(createClient(), id);
  if (json) printJson(groups);
  else printOutput(groups);
}

function say(batch: BatchView): void {
  process.stdout.write(`${sentenceForBatch(batch)}\n`);
}

function pathOf(id: string): string {
  return `/v1/batches/${encodeURIComponent(id)}`;
}
