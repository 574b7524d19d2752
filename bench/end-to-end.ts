/** `end-to-end`: jobs/s of `true` through eight real agents, from the first request to the last record. */
import { startRealAgent } from '../test/helpers/real-agent.ts';
import { createRig } from './rig.ts';
import { median, type Row } from './table.ts';

const AGENTS = 8;
const JOBS = 400;
const ROUNDS = 3;

export async function run(): Promise<Row[]> {
  const rig = await createRig();
  const agents = await Promise.all(Array.from({ length: AGENTS }, () => startRealAgent()));
  try {
    await rig.api();
    await rig.worker();
    for (const [i, { address, token, fingerprint }] of agents.entries()) {
      await rig.call('PUT', `/v1/hosts/h${i}`, { address, token, tls: { fingerprint }, max_requests: 8 });
      const body = { target_server: `h${i}`, command: 'true' };
      await rig.call('POST', '/v1/jobs', body, { prefer: 'wait=20' });
    }
    const rates: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const began = performance.now();
      const submitted = await Promise.all(
        Array.from({ length: JOBS }, (_, i) =>
          rig.call('POST', '/v1/jobs', { target_server: `h${i % AGENTS}`, command: 'true' }),
        ),
      );
      const jobs = submitted.map(({ body }) => ({ id: body.id as string }));
      const { body } = await rig.call('POST', '/v1/jobs:wait', { jobs, mode: 'all', timeout_seconds: 60 });
      const over = body.ready as { state: string }[];
      if (over.some(({ state }) => state !== 'succeeded') || over.length !== JOBS) {
        throw new Error(`only ${over.length} of ${JOBS} jobs ended as they should`);
      }
      rates.push(JOBS / ((performance.now() - began) / 1_000));
    }
    return [
      {
        'real agents': AGENTS,
        jobs: JOBS,
        'jobs/s (median)': Math.round(median(rates)),
        worst: Math.round(Math.min(...rates)),
        best: Math.round(Math.max(...rates)),
      },
    ];
  } finally {
    for (const agent of agents) await agent.stop();
    await rig.stop();
  }
}
