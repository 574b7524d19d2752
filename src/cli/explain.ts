/** `sluice explain`: why a job or a batch is where it is, in a sentence and in the figures behind it. */
import type { BatchExplanation } from '../protocol/batch-explanation.ts';
import type { Explanation } from '../protocol/explanation.ts';
import { createClient } from './client.ts';
import { printJson } from './terminal.ts';

type Row = [name: string, value: string | null | undefined | false];

export async function explain(id: string, options: { json?: boolean }): Promise<void> {
  const isBatch = id.startsWith('batch_');
  const path = `/v1/${isBatch ? 'batches' : 'jobs'}/${encodeURIComponent(id)}/explain`;
  const why = await createClient().request<Explanation | BatchExplanation>('GET', path);
  if (options.json) return printJson(why);
  if ('batch_id' in why) return tell(`${why.batch_id} ${why.state}: ${why.message}`, figuresOfBatch(why));
  tell(`${why.job_id} ${why.state} on ${why.host}: ${why.message}`, figures(why));
}

function tell(sentence: string, rows: Row[]): void {
  process.stdout.write(`${sentence}\n`);
  for (const [name, value] of rows) {
    if (value) process.stdout.write(`  ${name.padEnd(15)} ${value}\n`);
  }
}

function figuresOfBatch(why: BatchExplanation): Row[] {
  const { wave, max_parallel, max_failures, max_unreachable, hosts } = why;
  const limit = ({ counted, of }: typeof max_failures) =>
    of !== null && `${counted}; more than ${of} cross it`;
  return [
    ['waits for', why.waiting_for],
    ['since', why.since],
    ['paused by', why.paused_by],
    ['wave', `${wave.number}: ${wave.made} of ${wave.of} hosts have a job`],
    ['next wave', wave.next_at],
    ['max_parallel', `${max_parallel.in_use} of ${max_parallel.of}`],
    ['max_failures', limit(max_failures)],
    ['max_unreachable', limit(max_unreachable)],
    ...hosts.map(({ why: reason, count, hosts: names }): Row => [reason, `${count}: ${names}`]),
    ['next look', why.next_look_at],
  ];
}

function figures(why: Explanation): Row[] {
  const { position, limits, circuit } = why;
  return [
    ['waits for', why.waiting_for],
    ['since', why.since],
    ['place', position && `${position.place} of ${position.waiting}`],
    ['starts from', why.eligible_at],
    ['jobs', limits && `${limits.max_jobs.in_use} of ${limits.max_jobs.of ?? 'any number'}`],
    ['requests', limits && requests(limits)],
    ['rate', limits?.rate ? rate(limits.rate) : null],
    ['host', circuit && `${circuit.status}${circuit.draining ? ', draining' : ''}; circuit ${circuit.state}`],
    ['cause', circuit?.cause],
    ['remedy', circuit?.remedy],
    ['tried again', circuit?.retry_at],
    ['starts again', circuit?.no_starts_until],
    ['next look', why.next_look_at],
    ['expires', why.start_deadline_at],
    ['lost', why.lost_at_earliest && `${why.lost_at_earliest}, if its host stays silent`],
  ];
}

type Limits = NonNullable<Explanation['limits']>;

function requests({ max_requests: { in_use, of, starts_in_use, starts_of } }: Limits): string {
  return `${in_use} of ${of} at once; starts ${starts_in_use} of ${starts_of}`;
}

function rate({ limit, period_seconds, tokens, next_token_at }: NonNullable<Limits['rate']>): string {
  const now = next_token_at === null ? `${tokens} could go now` : `the next one ${next_token_at}`;
  return `${limit} in ${period_seconds} s; ${now}`;
}
