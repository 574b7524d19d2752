/** `sluice explain`: why a job is where it is, in a sentence and in the figures behind it. */
import type { Explanation } from '../protocol/explanation.ts';
import { createClient } from './client.ts';
import { printJson } from './terminal.ts';

export async function explain(id: string, options: { json?: boolean }): Promise<void> {
  const why = await createClient().request<Explanation>('GET', `/v1/jobs/${encodeURIComponent(id)}/explain`);
  if (options.json) return printJson(why);
  process.stdout.write(`${why.job_id} ${why.state} on ${why.host}: ${why.message}\n`);
  for (const [name, value] of figures(why)) process.stdout.write(`  ${name.padEnd(14)}  ${value}\n`);
}

function figures(why: Explanation): [name: string, value: string][] {
  const { position, limits, circuit } = why;
  const rows: [string, string | null | undefined][] = [
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
  return rows.flatMap(([name, value]) => (value ? [[name, value]] : []));
}

type Limits = NonNullable<Explanation['limits']>;

function requests({ max_requests: { in_use, of, starts_in_use, starts_of } }: Limits): string {
  return `${in_use} of ${of} at once; starts ${starts_in_use} of ${starts_of}`;
}

function rate({ limit, period_seconds, tokens, next_token_at }: NonNullable<Limits['rate']>): string {
  const now = next_token_at === null ? `${tokens} could go now` : `the next one ${next_token_at}`;
  return `${limit} in ${period_seconds} s; ${now}`;
}
