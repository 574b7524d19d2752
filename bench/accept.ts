/** `accept`: requests/s of `POST /v1/jobs`, beside bare Fastify and beside one `queue.add` per request. */
import autocannon from 'autocannon';
import { freePort } from '../test/helpers/redis.ts';
import { API_KEY, createRig, type Rig, startScript } from './rig.ts';
import { median, type Row } from './table.ts';

const SECONDS = 6;
const ROUNDS = 3;
const CONNECTIONS = 64;
const HOSTS = 200;

export async function run(): Promise<Row[]> {
  const rig = await createRig();
  try {
    await rig.api();
    await registerHosts(rig);
    const [bare, queue] = await Promise.all([freePort(), freePort()]);
    const programs = await Promise.all([
      startScript('./bare-server.ts', ['bare', `${bare}`], rig.env, /bare\.started/),
      startScript('./bare-server.ts', ['queue', `${queue}`], rig.env, /bare\.started/),
    ]);
    const servers = {
      'bare Fastify': `http://127.0.0.1:${bare}`,
      'one queue.add per request': `http://127.0.0.1:${queue}`,
      'Sluice, AOF everysec': rig.url,
    };
    const rates = await measure(servers);
    for (const program of programs) await program.stop();
    const reference = median(rates['bare Fastify']?.map(({ rate }) => rate) ?? []);
    return Object.entries(rates).map(([name, rounds]) => ({
      server: name,
      'accepted/s (median)': Math.round(median(rounds.map(({ rate }) => rate))),
      'of bare Fastify': (median(rounds.map(({ rate }) => rate)) / reference).toFixed(2),
      'p50 ms': median(rounds.map(({ p50 }) => p50)),
      'p99 ms': median(rounds.map(({ p99 }) => p99)),
    }));
  } finally {
    await rig.stop();
  }
}

type Round = { rate: number; p50: number; p99: number };

/** In turn, so that what the machine does besides falls on all of them. */
async function measure(servers: Record<string, string>): Promise<Record<string, Round[]>> {
  const rounds: Record<string, Round[]> = {};
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, url] of Object.entries(servers)) {
      const result = await autocannon({
        url,
        connections: CONNECTIONS,
        duration: SECONDS,
        requests: Array.from({ length: HOSTS }, (_, i) => request(i)),
      });
      if (result.non2xx > 0 || result.errors > 0) {
        throw new Error(`${name}: ${result.non2xx} refusals, ${result.errors} errors`);
      }
      const { p50, p99 } = result.latency;
      rounds[name] = [...(rounds[name] ?? []), { rate: result.requests.total / result.duration, p50, p99 }];
    }
  }
  return rounds;
}

function request(i: number) {
  return {
    method: 'POST' as const,
    path: '/v1/jobs',
    headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      target_server: `host${i}`,
      command: `/opt/etl/run.sh --table orders --date 2026-11-22 --shard ${i} --retries 3 --verbose`,
      labels: { dag_id: 'nightly', run_id: 'scheduled__2026-11-22', task_id: `load_${i}` },
    }),
  };
}

/** Addresses that nobody is ever sent to: no worker runs in this scenario. */
async function registerHosts(rig: Rig): Promise<void> {
  for (let i = 0; i < HOSTS; i++) {
    const host = { address: `127.0.0.1:${20_000 + i}`, token: 'bench', tls: { insecure: true } };
    const { status } = await rig.call('PUT', `/v1/hosts/host${i}`, host);
    if (status >= 300) throw new Error(`host${i}: ${status}`);
  }
}
