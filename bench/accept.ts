/**
 * `accept`: requests/s of `POST /v1/jobs`, beside bare Fastify with the same schema, key check, request log and
 * metrics, and beside one `queue.add` per request on that same server; with AOF `everysec` and `always`.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseRedisUrl } from '../src/config/redis-url.ts';
import { connectForBlocking } from '../src/store/redis.ts';
import { freePort } from '../test/helpers/redis.ts';
import type { Job, Load } from './http-load.process.ts';
import { cpuMs } from './measure.ts';
import { API_KEY, createRig, type Rig, startScript } from './rig.ts';
import type { Options } from './scenario.ts';
import { median, type Row } from './table.ts';

const CONNECTIONS = 64;
const HOSTS = 200;
const LOAD = fileURLToPath(new URL('./http-load.process.ts', import.meta.url));

type Fsync = 'everysec' | 'always';
const SERVERS = ['bare Fastify', 'one queue.add per request', 'Sluice'] as const;

interface Served {
  url: string;
  pid: number;
}

interface Round extends Load {
  serverUs: number;
  redisUs: number;
}

export async function run(options: Options): Promise<Row[]> {
  return [...(await compare('everysec', options)), ...(await compare('always', options))];
}

async function compare(fsync: Fsync, { short }: Options): Promise<Row[]> {
  const rig = await createRig();
  try {
    await setFsync(rig, fsync);
    const api = await rig.api();
    await registerHosts(rig);
    const bare = await startBare(rig, 'bare');
    const queue = await startBare(rig, 'queue');
    const rates = await measure(
      rig,
      {
        'bare Fastify': bare,
        'one queue.add per request': queue,
        Sluice: { url: rig.url, pid: api.pid },
      },
      short ? { rounds: 1, seconds: 2 } : { rounds: 3, seconds: 6 },
    );
    await bare.stop();
    await queue.stop();
    return SERVERS.map((name) => row(name, fsync, rates));
  } finally {
    await rig.stop();
  }
}

async function setFsync(rig: Rig, fsync: Fsync): Promise<void> {
  const redis = connectForBlocking(parseRedisUrl(rig.redis.url), 'bench');
  await redis.connect();
  await redis.config('SET', 'appendfsync', fsync);
  redis.disconnect();
}

async function startBare(rig: Rig, kind: 'bare' | 'queue') {
  const port = await freePort();
  const program = await startScript('./bare-server.ts', [kind, `${port}`], rig.env, /bare\.started/);
  return { ...program, url: `http://127.0.0.1:${port}` };
}

type Rounds = Record<(typeof SERVERS)[number], Round[]>;

/** In turn, so that what the machine does besides falls on all of them. */
async function measure(
  rig: Rig,
  servers: Record<(typeof SERVERS)[number], Served>,
  { rounds, seconds }: { rounds: number; seconds: number },
): Promise<Rounds> {
  const measured: Rounds = { 'bare Fastify': [], 'one queue.add per request': [], Sluice: [] };
  const requests = Array.from({ length: HOSTS }, (_, i) => request(i));
  // The first round of each is not counted: compilers and connections are cold.
  for (let round = 0; round <= rounds; round++) {
    for (const name of SERVERS) {
      const { url, pid } = servers[name];
      const before = { server: cpuMs(pid), redis: cpuMs(rig.redis.pid) };
      const job: Job = { url, requests, connections: CONNECTIONS, seconds: round === 0 ? 2 : seconds };
      const load = await generate(job);
      if (load.refused > 0) throw new Error(`${name}: ${load.refused} refusals`);
      const usEach = (ms: number) => (1_000 * ms) / (load.perSecond * job.seconds);
      const serverUs = usEach(cpuMs(pid) - before.server);
      const redisUs = usEach(cpuMs(rig.redis.pid) - before.redis);
      if (round > 0) measured[name].push({ ...load, serverUs, redisUs });
    }
  }
  return measured;
}

async function generate(job: Job): Promise<Load> {
  const { stdout } = await promisify(execFile)(process.execPath, [LOAD, JSON.stringify(job)]);
  return JSON.parse(stdout) as Load;
}

function row(name: (typeof SERVERS)[number], fsync: Fsync, rounds: Rounds): Row {
  const of = (server: (typeof SERVERS)[number], field: keyof Round) =>
    median(rounds[server].map((round) => round[field]));
  const rate = of(name, 'perSecond');
  return {
    server: name,
    AOF: fsync,
    'accepted/s (median)': Math.round(rate),
    'of bare Fastify': (rate / of('bare Fastify', 'perSecond')).toFixed(2),
    'of queue.add': (rate / of('one queue.add per request', 'perSecond')).toFixed(2),
    'p50 ms': of(name, 'p50').toFixed(1),
    'p99 ms': of(name, 'p99').toFixed(1),
    'server µs a request': Math.round(of(name, 'serverUs')),
    'Redis µs a request': Math.round(of(name, 'redisUs')),
  };
}

function request(i: number): Job['requests'][number] {
  return {
    method: 'POST',
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
