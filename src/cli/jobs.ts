/** `sluice get|wait|logs|cancel|list`: what people do with jobs that there are, through the HTTP API. */
import type { JobView } from '../protocol/job-view.ts';
import { createHoldUp } from './client/hold-up.ts';
import { exitCodeOf, sentenceFor } from './client/job-words.ts';
import { leaveOnInterrupt } from './client/leave.ts';
import { followOutput } from './client/output.ts';
import { readPages } from './client/pages.ts';
import { waitForEnd } from './client/wait.ts';
import { createClient } from './client.ts';
import { createProgress, oneLine, printJson, printTable } from './terminal.ts';

export async function get(id: string): Promise<void> {
  printJson(await createClient().request('GET', `/v1/jobs/${encodeURIComponent(id)}`));
}

export async function wait(id: string): Promise<void> {
  const client = createClient();
  const progress = createProgress();
  const job = await client.request<JobView>('GET', `/v1/jobs/${encodeURIComponent(id)}`);
  const tellHoldUp = createHoldUp(client, progress.note);
  const onChange = (now: JobView) => {
    tellHoldUp(now);
    progress.say(sentenceFor(now));
  };
  const over = await waitForEnd(client, job, onChange, leaveOnInterrupt(job.id));
  progress.clear();
  if (process.stderr.isTTY) process.stderr.write(`${sentenceFor(over)}\n`);
  process.exitCode = exitCodeOf(over);
}

export async function logs(id: string, options: { follow?: boolean; stderr?: boolean }): Promise<void> {
  const client = createClient();
  const stream = options.stderr ? 'stderr' : 'stdout';
  const write = (bytes: Buffer) => void process.stdout.write(bytes);
  if (options.follow)
    return followOutput(client, { id, stream, signal: new AbortController().signal }, write);
  for (let offset = '0'; ; ) {
    const response = await client.open('GET', `/v1/jobs/${encodeURIComponent(id)}/logs`, {
      query: { stream, offset },
    });
    write(Buffer.from(await response.arrayBuffer()));
    const next = response.headers.get('x-log-next') ?? offset;
    if (response.headers.get('x-log-complete') === 'true' || next === offset) return;
    offset = next;
  }
}

export async function cancel(
  id: string,
  options: { signal?: string; grace?: number; reason?: string },
): Promise<void> {
  const body = {
    ...(options.signal !== undefined && { signal: options.signal }),
    ...(options.grace !== undefined && { grace_seconds: options.grace }),
    ...(options.reason !== undefined && { reason: options.reason }),
  };
  const job = await createClient().request<JobView>('POST', `/v1/jobs/${encodeURIComponent(id)}:cancel`, {
    body,
  });
  process.stdout.write(`${sentenceFor(job)}\n`);
}

export interface ListOptions {
  state: string[];
  host?: string;
  label: string[];
  limit: number;
  json?: boolean;
}

export async function list(options: ListOptions): Promise<void> {
  const filters = {
    state: options.state,
    target_server: options.host,
    label: options.label.map((pair) => pair.replace('=', ':')),
  };
  const jobs = await readPages<JobView>(createClient(), '/v1/jobs', filters, options.limit);
  if (options.json) return printJson(jobs);
  const rows = jobs.map((job) => [
    job.id,
    job.state,
    `${job.return_code ?? ''}`,
    job.host,
    job.created_at,
    oneLine(job.command),
  ]);
  printTable([['ID', 'STATE', 'CODE', 'HOST', 'CREATED', 'COMMAND'], ...rows]);
}
