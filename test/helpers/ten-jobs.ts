/**
 * Ten jobs whose truth is known: each appends a line to a file of its own when it starts (so starts are counted by
 * the host), takes 1 to 5.5 s, and every third one fails.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Receiver } from './receiver.ts';
import type { createCaller } from './sluice-process.ts';
import { until } from './until.ts';

const OVER = ['succeeded', 'failed', 'timed_out', 'canceled', 'expired', 'lost'];

export interface Submitted {
  id: string;
  file: string;
  code: number;
}

export interface TenJobs {
  call: ReturnType<typeof createCaller>;
  receiver: Receiver;
  /** Where the files are. */
  dir: string;
  /** The jobs take these in turn. */
  hosts: string[];
}

export async function submitTen(
  { call, receiver, dir, hosts }: TenJobs,
  round: string,
): Promise<Submitted[]> {
  const all: Submitted[] = [];
  for (let i = 0; i < 10; i++) {
    const file = join(dir, `${round}-${i}`);
    const code = i % 3 === 0 ? 7 : 0;
    const body = {
      target_server: hosts[i % hosts.length],
      command: `echo started >> ${file}; sleep ${1 + i * 0.5}; exit ${code}`,
      poll_interval: 1,
      callback_url: `${receiver.url}/hook`,
    };
    const reply = await call('POST', '/v1/jobs', body, { 'idempotency-key': `"${round}-${i}"` });
    expect(reply.status, JSON.stringify(reply.body)).toBe(202);
    all.push({ id: reply.body.id as string, file, code });
  }
  await until(async () => {
    const states = await Promise.all(all.map(({ id }) => call('GET', `/v1/jobs/${id}`)));
    return states.some(({ body }) => body.state === 'running');
  });
  return all;
}

/** Every job ended in its true state, was started once, and was told of with a good signature. */
export async function expectPromisesKept({ call, receiver }: TenJobs, submitted: Submitted[]): Promise<void> {
  for (const { id, file, code } of submitted) {
    const job = await until(
      async () => {
        const { status, body } = await call('GET', `/v1/jobs/${id}`);
        return status === 200 && OVER.includes(body.state as string) && body;
      },
      { timeoutMs: 60_000, everyMs: 100, what: `the end of ${id}` },
    );
    expect({ id, state: job.state, code: job.return_code }).toEqual({
      id,
      state: code === 0 ? 'succeeded' : 'failed',
      code,
    });
    expect(await readFile(file, 'utf8'), `starts of ${id}`).toBe('started\n');
  }
  const told = () => new Set(receiver.received.map(({ body }) => body.data.id));
  await until(() => submitted.every(({ id }) => told().has(id)), { timeoutMs: 45_000, what: 'all webhooks' });
  expect(receiver.received.every(({ verifiedBy }) => verifiedBy.length === 1)).toBe(true);
}
