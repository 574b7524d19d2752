/**
 * The plain client that the gateway is compared with: the same `POST /run`s to the same agents under the same
 * limits, from one process, and nothing else: no record, no second try, no memory of which host is dead.
 */
import { Pool } from 'undici';
import type { DirectHost, DirectPlan } from './direct.ts';

interface Host extends DirectHost {
  waiting: number[];
  inFlight: number;
  /** Of its token bucket: when the next request would come if all came evenly; ms. */
  evenAt: number;
  queued: boolean;
}

/** Kept between plans where a plan says so. */
const pools = new Map<string, Pool>();
let loaded: DirectPlan | null = null;

process.on('message', (message: DirectPlan | 'go') => {
  if (message === 'go') return void callAll(loaded!).then(() => process.send?.('done'));
  loaded = message;
  process.send?.('ready');
});
process.once('disconnect', () => process.exit(0));

async function callAll(plan: DirectPlan): Promise<void> {
  const { limits } = plan;
  const hosts = plan.hosts.map((host): Host => {
    return { ...host, waiting: [], inFlight: 0, evenAt: 0, queued: false };
  });
  for (const [i, host] of plan.jobs.entries()) hosts[host]!.waiting.push(i);
  const ready: Host[] = [];
  let from = 0;
  let inFlight = 0;
  let left = plan.jobs.length;
  const everMs = limits.rate === null ? 0 : (limits.rate.period_seconds * 1_000) / limits.rate.limit;
  const aheadMs = limits.rate === null ? 0 : (limits.rate.burst - 1) * everMs;

  await new Promise<void>((resolve) => {
    for (const host of hosts) enqueue(host);
    fill();

    function enqueue(host: Host): void {
      if (host.queued || host.waiting.length === 0 || host.inFlight >= limits.maxRequests) return;
      const waitMs = host.evenAt - aheadMs - performance.now();
      host.queued = true;
      if (waitMs <= 0) return void ready.push(host);
      setTimeout(() => {
        ready.push(host);
        fill();
      }, waitMs);
    }
    function fill(): void {
      while (inFlight < limits.concurrency && from < ready.length) {
        const host = ready[from++]!;
        host.queued = false;
        host.evenAt = Math.max(host.evenAt, performance.now()) + everMs;
        const job = host.waiting.shift()!;
        inFlight++;
        host.inFlight++;
        void call(host, job).finally(() => {
          inFlight--;
          host.inFlight--;
          if (--left === 0) return resolve();
          enqueue(host);
          fill();
        });
        enqueue(host);
      }
    }
  });

  async function call(host: Host, job: number): Promise<void> {
    const pool = pools.get(host.address) ?? open(host.address);
    const body = JSON.stringify({
      ...ORDER,
      job_id: `${plan.name}-${job}-1`,
      wait_seconds: limits.waitSeconds,
    });
    const headers = { 'x-agent-token': host.token, 'content-type': 'application/json' };
    try {
      const reply = await pool.request({ method: 'POST', path: '/run', headers, body });
      await reply.body.json();
    } catch {
      // A dead host: this client forgets the job.
    }
    if (host.waiting.length === 0 && host.inFlight === 1 && !limits.keep) {
      pools.delete(host.address);
      void pool.close().catch(() => {});
    }
  }

  function open(address: string): Pool {
    const pool = new Pool(`${plan.tls ? 'https' : 'http'}://${address}`, {
      connect: { rejectUnauthorized: false, timeout: limits.timeoutMs },
      connections: limits.maxRequests,
      pipelining: 1,
      allowH2: false,
      headersTimeout: limits.timeoutMs,
      keepAliveTimeout: 60_000,
    });
    pools.set(address, pool);
    return pool;
  }
}

/** What the gateway sends, too. */
const ORDER = {
  job_type: 'shell',
  command: 'true',
  run_as_user: null,
  sync: false,
  use_tmux: false,
  env: {},
  timeout_seconds: null,
  workdir: null,
  shell: null,
  leftovers: 'keep',
};
