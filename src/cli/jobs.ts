/** `sluice submit|get|wait|logs|cancel|list`: what people do with jobs, through the HTTP API. */
import { randomUUID } from 'node:crypto';
import { isOver } from '../job/states.ts';
import type { JobView } from '../protocol/job-view.ts';
import { createHoldUp } from './client/hold-up.ts';
import { exitCodeOf, sentenceFor } from './client/job-words.ts';
import { followOutput } from './client/output.ts';
import { waitForEnd } from './client/wait.ts';
import { type Client, createClient } from './client.ts';
import { commandName } from './command-name.ts';
import { Failure } from './failure.ts';
import { pairs } from './pairs.ts';
import { createProgress, createSilence, type Progress, printJson, printTable } from './terminal.ts';

export interface SubmitOptions {
  mode?: string;
  user?: string;
  env: string[];
  label: string[];
  workdir?: string;
  shell?: string;
  timeout?: number;
  priority?: number;
  callbackUrl?: string;
  idempotencyKey?: string;
  wait?: boolean;
  quiet?: boolean;
}

export async function submit(host: string, words: string[], options: SubmitOptions): Promise<void> {
  const client = createClient();
  const body = {
    target_server: host,
    command: words.join(' '),
    ...(options.mode !== undefined && { mode: options.mode }),
    ...(options.user !== undefined && { job_user: options.user }),
    ...(options.env.length > 0 && { env: pairs(options.env) }),
    ...(options.label.length > 0 && { labels: pairs(options.label) }),
    ...(options.workdir !== undefined && { workdir: options.workdir }),
    ...(options.shell !== undefined && { shell: options.shell }),
    ...(options.timeout !== undefined && { timeout_seconds: options.timeout }),
    ...(options.priority !== undefined && { priority: options.priority }),
    ...(options.callbackUrl !== undefined && { callback_url: options.callbackUrl }),
  };
  const key = options.idempotencyKey ?? randomUUID();
  const headers = { 'idempotency-key': `"${key}"` };
  const job = await client.request<JobView>('POST', '/v1/jobs', { body, headers });
  if (!options.wait) {
    process.stdout.write(`${job.id}\n`);
    return;
  }
  if (!options.quiet) process.stderr.write(`${job.id}\n`);
  await attend(client, job, options.quiet ? createSilence() : createProgress());
}

/** Shows the output as it comes, and ends with the command's own code. Ctrl-C leaves the job running. */
async function attend(client: Client, job: JobView, progress: Progress): Promise<void> {
  const leaving = leaveOnInterrupt(job.id);
  const ended = new AbortController();
  let midLine = false;
  const show = (stream: NodeJS.WriteStream) => (bytes: Buffer) => {
    progress.clear();
    stream.write(bytes);
    if (stream.isTTY && bytes.length > 0) midLine = bytes.at(-1) !== 0x0a;
  };
  const follow = async () => {
    const signal = ended.signal;
    await Promise.all([
      followOutput(client, job.id, 'stdout', show(process.stdout), signal),
      followOutput(client, job.id, 'stderr', show(process.stderr), signal),
    ]);
  };
  let following: Promise<unknown> | undefined;
  const tellHoldUp = createHoldUp(client, progress.note);
  const onChange = (now: JobView) => {
    tellHoldUp(now);
    if (!isOver(now.state)) progress.say(`${now.id} ${now.state} on ${now.host}`);
    // A job that was refused or never started has no output to ask for.
    if (now.started_at !== null) following ??= follow().catch((error: unknown) => error);
  };
  const over = await waitForEnd(client, job, onChange, leaving);
  const lost = await following;
  progress.clear();
  if (midLine && over.state !== 'succeeded') process.stderr.write('\n');
  if (lost instanceof Error) process.stderr.write(`sluice: ${lost.message}\n`);
  if (over.state !== 'succeeded') process.stderr.write(`${sentenceFor(over)}\n`);
  process.exitCode = exitCodeOf(over);
}

function leaveOnInterrupt(id: string): AbortSignal {
  const controller = new AbortController();
  process.once('SIGINT', () => {
    const name = commandName();
    process.stderr.write(
      `\n${id} goes on; \`${name} wait ${id}\` waits for it, \`${name} cancel ${id}\` ends it\n`,
    );
    process.exit(130);
  });
  return controller.signal;
}

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
  if (options.follow) return followOutput(client, id, stream, write, new AbortController().signal);
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
  if (options.limit < 1) throw new Failure('--limit must be 1 or more');
  const client = createClient();
  const jobs: JobView[] = [];
  for (let token: string | undefined; jobs.length < options.limit; ) {
    const query = {
      state: options.state,
      target_server: options.host,
      label: options.label.map((pair) => pair.replace('=', ':')),
      page_size: `${Math.min(options.limit - jobs.length, 100)}`,
      page_token: token,
    };
    const page = await client.request<{ items: JobView[]; next_page_token: string | null }>(
      'GET',
      '/v1/jobs',
      { query },
    );
    jobs.push(...page.items);
    if (page.next_page_token === null) break;
    token = page.next_page_token;
  }
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

function oneLine(command: string): string {
  const line = command.replace(/\s+/g, ' ');
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}
