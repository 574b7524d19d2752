/** `sluice submit`: runs a command on a host, and with `--wait` stays with it to its end. */
import { randomUUID } from 'node:crypto';
import { isOver } from '../job/states.ts';
import type { JobView } from '../protocol/job-view.ts';
import { createHoldUp } from './client/hold-up.ts';
import { exitCodeOf, sentenceFor } from './client/job-words.ts';
import { leaveOnInterrupt } from './client/leave.ts';
import { followOutput } from './client/output.ts';
import { waitForEnd } from './client/wait.ts';
import { type Client, createClient } from './client.ts';
import { Failure } from './failure.ts';
import { pairs } from './pairs.ts';
import { createProgress, createSilence, type Progress } from './terminal.ts';

export interface SubmitOptions {
  mode?: string;
  user?: string;
  env: string[];
  label: string[];
  workdir?: string;
  shell?: string;
  timeout?: number;
  priority?: number;
  retry?: number;
  retryBackoff?: number;
  retryOn?: string[];
  uniqueKey?: string;
  onDuplicate?: string;
  callbackUrl?: string;
  idempotencyKey?: string;
  wait?: boolean;
  quiet?: boolean;
}

export async function submit(host: string, words: string[], options: SubmitOptions): Promise<void> {
  if (options.retry === undefined && (options.retryOn ?? options.retryBackoff) !== undefined) {
    throw new Failure('--retry-on and --retry-backoff need --retry');
  }
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
    ...(options.retry !== undefined && { retry: retryOf(options.retry, options) }),
    ...(options.uniqueKey !== undefined && { unique_key: options.uniqueKey }),
    ...(options.onDuplicate !== undefined && { on_duplicate: options.onDuplicate }),
    ...(options.callbackUrl !== undefined && { callback_url: options.callbackUrl }),
  };
  const key = options.idempotencyKey ?? randomUUID();
  const headers = { 'idempotency-key': `"${key}"` };
  const job = await client.request<JobView>('POST', '/v1/jobs', { body, headers });
  if (job.attached) process.stderr.write(`${job.id} holds this unique key already, and is ${job.state}\n`);
  if (!options.wait) {
    process.stdout.write(`${job.id}\n`);
    return;
  }
  if (!options.quiet) process.stderr.write(`${job.id}\n`);
  await attend(client, job, options.quiet ? createSilence() : createProgress());
}

function retryOf(max_attempts: number, { retryBackoff, retryOn }: SubmitOptions) {
  return {
    max_attempts,
    ...(retryBackoff !== undefined && { backoff_seconds: retryBackoff }),
    ...(retryOn !== undefined && { on: retryOn }),
  };
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
  const follow = async (attempt: number) => {
    const of = { id: job.id, attempt, signal: ended.signal };
    await Promise.all([
      followOutput(client, { ...of, stream: 'stdout' }, show(process.stdout)),
      followOutput(client, { ...of, stream: 'stderr' }, show(process.stderr)),
    ]);
  };
  let followed = 0;
  let following: Promise<unknown> = Promise.resolve();
  const tellHoldUp = createHoldUp(client, progress.note);
  const onChange = (now: JobView) => {
    tellHoldUp(now);
    if (!isOver(now.state)) progress.say(`${now.id} ${now.state} on ${now.host}`);
    // An attempt that was refused or never started has no output to ask for.
    const begun = now.attempts.filter(({ attempt, started_at }) => attempt > followed && started_at !== null);
    for (const { attempt } of begun) {
      followed = attempt;
      following = following.then((lost) => lost ?? follow(attempt).catch((error: unknown) => error));
    }
  };
  const over = await waitForEnd(client, job, onChange, leaving);
  const lost = await following;
  progress.clear();
  if (midLine && over.state !== 'succeeded') process.stderr.write('\n');
  if (lost instanceof Error) process.stderr.write(`sluice: ${lost.message}\n`);
  if (over.state !== 'succeeded') process.stderr.write(`${sentenceFor(over)}\n`);
  // Whoever reads the output must not take a part of it for the whole.
  process.exitCode = exitCodeOf(over) || (lost instanceof Error ? 1 : 0);
}
