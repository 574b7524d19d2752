/**
 * One host for every way in which a job can be started: the shipped agent, and each Base generation with the launcher
 * and without. Each stands behind a proxy that can hold its requests or make it unreachable; `createScene` makes
 * commands that leave their process ids behind, so that a test can look at the processes themselves.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive } from './alive.ts';
import { type BaseAgent, type Generation, startBaseAgent } from './base-agent.ts';
import { type HoldingProxy, startHoldingProxy } from './holding-proxy.ts';
import { startRealAgent } from './real-agent.ts';
import type { Stores } from './stores.ts';
import { until } from './until.ts';
import { runToEnd } from './workers.ts';

/** Those in which the host itself proves that everything is gone. */
export const PROVEN = ['full', 'A-launcher', 'B-launcher', 'C-launcher'] as const;
export const PLAIN = ['A', 'B', 'C'] as const;
export const WAYS = [...PROVEN, ...PLAIN] as const;
/** Also the name of the host. */
export type Way = (typeof WAYS)[number];

export const isProven = (way: Way): boolean => (PROVEN as readonly Way[]).includes(way);

export type Ways = Awaited<ReturnType<typeof startWays>>;

export async function startWays(stores: Pick<Stores, 'hosts'>) {
  const proxies = new Map<Way, HoldingProxy>();
  const agents = new Map<Generation, BaseAgent>();
  const closing: (() => Promise<void>)[] = [];
  const full = await startRealAgent();
  closing.push(() => full.stop());
  await register('full', full);
  for (const generation of PLAIN) {
    const agent = await startBaseAgent({ generation, rate: null });
    agents.set(generation, agent);
    closing.push(() => agent.close());
    await register(generation, agent, { launcher: false });
    await register(`${generation}-launcher`, agent);
  }

  async function register(
    way: Way,
    { address, token, fingerprint }: { address: string; token: string; fingerprint: string },
    more: { launcher?: boolean } = {},
  ): Promise<void> {
    const proxy = await startHoldingProxy(address);
    proxies.set(way, proxy);
    closing.push(() => proxy.stop());
    await stores.hosts.put(way, { address: proxy.address, token, tls: { fingerprint }, ...more });
  }

  return {
    /** The shipped agent, to be killed and restarted. */
    full,
    base: (generation: Generation) => agents.get(generation) as BaseAgent,
    proxy: (way: Way) => proxies.get(way) as HoldingProxy,
    async close(): Promise<void> {
      for (const close of closing.reverse()) await close();
    },
  };
}

/** Has its agent asked who it is and its launcher proven: the next request to this host is a start. */
export async function warm(stores: Stores, way: Way): Promise<void> {
  const { state } = await runToEnd(stores, { host: way, command: 'true' });
  if (state !== 'succeeded') throw new Error(`${way} is not fit for use`);
}

export type Scene = Awaited<ReturnType<typeof createScene>>;

/** A directory in which one job leaves word of what it did. */
export async function createScene() {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-scene-'));
  const file = (name: string) => join(dir, name);
  const pid = (name: string) => Number(readFileSync(file(name), 'utf8'));
  const tree = (before: string) =>
    `sh -c '${before} echo $$ > ${file('main')}; sleep 300 & echo $! > ${file('child')}; ` +
    `touch ${file('begun')}; while :; do wait; sleep 300; done'`;
  return {
    file,
    /** Two processes that end at SIGTERM. */
    tree: tree(''),
    /** The same, which do not. */
    stubborn: tree('trap "" TERM HUP INT;'),
    write: (name: string) => writeFileSync(file(name), ''),
    /** Two processes that write `told` at SIGTERM, and go on. */
    told: tree(`trap "touch ${file('told')}" TERM;`),
    has: (name: string) => existsSync(file(name)),
    begun: () => until(() => existsSync(file('begun')), { what: 'the command to begin' }),
    pid,
    /** Those of its processes that are alive. */
    alive: () => ['main', 'child'].map(pid).filter(isAlive),
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}
