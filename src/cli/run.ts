/** `sluice run`: one command on many hosts, as a batch that is stayed with to its end. */
import { randomUUID } from 'node:crypto';
import { fold } from '../job/host-names.ts';
import type { BatchTargets, BatchView } from '../protocol/batch-view.ts';
import { attend } from './batches/attend.ts';
import { postUntilAnswered } from './client/again.ts';
import { createClient } from './client.ts';
import { Failure } from './failure.ts';
import { type JobOptions, jobFields } from './job-fields.ts';
import { pairs } from './pairs.ts';
import { printJson } from './terminal.ts';

/** A number of hosts, or `"10%"` of them. */
export type Share = number | string;

export interface RunOptions extends JobOptions {
  hosts: string[];
  label: string[];
  all?: boolean;
  exclude: string[];
  setLabel: string[];
  maxParallel?: Share;
  waves?: Share[];
  wavePause?: number | 'manual';
  maxFailures?: Share;
  maxUnreachable?: Share;
  onLimit?: string;
  startDeadline?: number;
  idempotencyKey?: string;
  dryRun?: boolean;
  json?: boolean;
  detach?: boolean;
  quiet?: boolean;
}

export async function run(words: string[], options: RunOptions): Promise<void> {
  const body = {
    ...jobFields(words, options),
    ...targetsOf(options),
    ...paceOf(options),
    ...(options.setLabel.length > 0 && { labels: pairs(options.setLabel) }),
    ...(options.startDeadline !== undefined && { start_deadline_seconds: options.startDeadline }),
  };
  if (options.dryRun) return listTargets(body, options.json ?? false);
  const client = createClient();
  const idempotencyKey = options.idempotencyKey ?? randomUUID();
  const batch = await postUntilAnswered<BatchView>(client, '/v1/batches', { body, idempotencyKey });
  if (batch.attached)
    process.stderr.write(`${batch.id} holds this unique key already, and is ${batch.state}\n`);
  if (options.detach) {
    process.stdout.write(`${batch.id}\n`);
    return;
  }
  await attend(client, batch, options.quiet ?? false);
}

function targetsOf({ hosts, label, all, exclude }: RunOptions) {
  if (hosts.length === 0 && label.length === 0 && !all) {
    throw new Failure("say on which hosts: --hosts 'web[001-120]', --label tier=db or --all");
  }
  if (label.length > 0 && all) throw new Failure('--label and --all cannot stand together');
  return {
    ...(hosts.length > 0 && { targets: hosts }),
    ...(label.length > 0 && { selector: pairs(label) }),
    ...(all && { selector: 'all' }),
    ...(exclude.length > 0 && { exclude }),
  };
}

function paceOf({ maxParallel, waves, wavePause, maxFailures, maxUnreachable, onLimit }: RunOptions) {
  return {
    ...(maxParallel !== undefined && { max_parallel: maxParallel }),
    ...(waves !== undefined && { waves }),
    ...(wavePause !== undefined && { wave_pause_seconds: wavePause === 'manual' ? null : wavePause }),
    ...(maxFailures !== undefined && { max_failures: maxFailures }),
    ...(maxUnreachable !== undefined && { max_unreachable: maxUnreachable }),
    ...(onLimit !== undefined && { on_limit: onLimit }),
  };
}

/** One a line, for scripts; folded beside it, for people. */
async function listTargets(body: unknown, asJson: boolean): Promise<void> {
  const query = { dry_run: 'true' };
  const answer = await createClient().request<BatchTargets>('POST', '/v1/batches', {
    body,
    query,
  });
  if (asJson) return printJson(answer);
  for (const name of answer.targets) process.stdout.write(`${name}\n`);
  process.stderr.write(`${answer.total} hosts: ${fold(answer.targets)}\n`);
}
