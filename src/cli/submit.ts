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
import { type JobOptions, jobFields } from './job-fields.ts';
import { pairs } from './pairs.ts';
import { createProgress, createSilence, type Progress } from './terminal.ts';

export interface SubmitOptions extends JobOptions {
  label: string[];
  idempotencyKey?: string;
  wait?: boolean;
  quiet?: boolean;
}

export async function submit(host: string, words: string[], options: SubmitOptions): Promise<void> {
  const body = {
    target_server: host,
    ...jobFields(words, options),
    ...(options.label.length > 0 && { labels: pairs(options.label) }),
  };
  const client = createClient();
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
