/**
 * One world of the rig: a Redis, a gateway, hosts, a receiver, and the proxies between them. All of it is started here
 * and ended here, by process id; nothing of it is shared with another world.
 */
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { createRandom } from '../helpers/random.ts';
import { type Receiver, startReceiver } from '../helpers/receiver.ts';
import type { MutationName } from '../mutations/mutations.ts';
import { createClient } from './client.ts';
import type { Fault, TargetGroup } from './faults.ts';
import { type RigGateway, startGateway } from './gateway.ts';
import { type HostPlan, type RigHost, startHost } from './hosts.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { type FaultyProxy, startProxy } from './proxy.ts';
import { createWitness } from './witness.ts';

/** What a world needs of its Redis, be it one server or a set with Sentinels. */
export interface RigRedis {
  /**
   * What nobody asked a replica about may be undone: a move that was told, then forgotten, is made again. What holds on
   * one server for every version then holds for ends only.
   */
  canForget: boolean;
  targets: Map<TargetGroup, string[]>;
  /** How a process of the gateway reaches it; with a proxy of its own where there is one. */
  wayOf(name: string): Promise<{ url: string; proxy: FaultyProxy | null }>;
  /** A client of the rig itself, past all proxies; waits for nothing. */
  connect(): Promise<Redis>;
  strike(fault: Fault): Promise<void>;
  /** Everything as it was in the beginning, once no fault is made any more. */
  mend(): Promise<void>;
  stop(): Promise<void>;
}

export interface World {
  name: string;
  dir: string;
  redis: RigRedis;
  gateway: RigGateway;
  hosts: RigHost[];
  receiver: Receiver;
  callbackUrl: string;
  proxies: Map<string, FaultyProxy>;
  ledger: Ledger;
  /** What faults can be done to. */
  targets: Map<TargetGroup, string[]>;
  /** What this machine could not give it, and why. */
  missing: string[];
  mend(): Promise<void>;
  stop(): Promise<void>;
}

export interface WorldPlan {
  name: string;
  seed: number;
  redis: () => Promise<RigRedis>;
  hosts: HostPlan[];
  /** Of the gateway's programs. */
  settings: Record<string, string>;
  /** A promise that is broken on purpose, to see that it is noticed. */
  mutation: MutationName | null;
}

/** Three times what an agent wants free before it takes a job. */
const DISK_BYTES = '96m';

export async function startWorld(plan: WorldPlan): Promise<World> {
  const undo: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const step of undo.splice(0).toReversed()) await step().catch((error) => console.error(error));
  };
  try {
    return await build(plan, undo, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function build(plan: WorldPlan, undo: (() => Promise<void>)[], stop: World['stop']): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-chaos-'));
  undo.push(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }));
  const ran = join(dir, 'ran');
  await mkdir(ran);
  const ledger = createLedger(ran);
  const missing: string[] = [];
  const redis = await plan.redis();
  undo.push(redis.stop);
  const gateway = await startGateway(dir, redis.wayOf, plan);
  undo.push(gateway.stop);
  await gateway.ready();
  const proxies = new Map(gateway.proxies);

  const witness = await createWitness(ledger, redis.canForget ? null : redis.connect);
  undo.push(witness.stop);
  const receiver = await startReceiver({ secrets: [gateway.callbackSecret], onReceived: witness.hear });
  undo.push(receiver.stop);
  const toReceiver = await startProxy('receiver < workers', receiver.address);
  undo.push(toReceiver.stop);
  proxies.set(toReceiver.name, toReceiver);

  const hosts: RigHost[] = [];
  for (const wanted of plan.hosts) {
    const host = await hostOf(wanted, { dir, undo, missing, mutation: plan.mutation });
    hosts.push(host);
    proxies.set(host.proxy.name, host.proxy);
  }
  await register(plan.seed, gateway, hosts, ledger);

  const names = (kinds: string[]) => hosts.filter(({ kind }) => kinds.includes(kind)).map(({ name }) => name);
  const links = (end: string) => [...proxies.keys()].filter((name) => name.endsWith(end));
  const hasDisk = hosts.filter(({ dataDir }) => dataDir !== undefined).map(({ name }) => name);
  return {
    ...{ name: plan.name, dir, redis, gateway, hosts, receiver, proxies, ledger, missing, stop },
    callbackUrl: `http://${toReceiver.address}/hook`,
    targets: new Map<TargetGroup, string[]>([
      ...redis.targets,
      ['api', ['api0', 'api1']],
      ['worker', ['worker0', 'worker1']],
      ['agent', names(['full'])],
      ['base agent', names(['launcher', 'bare'])],
      ['receiver', ['receiver']],
      ['disk', hasDisk],
      ['link to api', links('< callers')],
      ['link to agent', hosts.map(({ proxy }) => proxy.name)],
      ['link to receiver', [toReceiver.name]],
      ['link to redis', links('> redis')],
    ]),
    async mend() {
      for (const proxy of proxies.values()) proxy.mend();
      await redis.mend();
    },
  };
}

interface Building extends Pick<WorldPlan, 'mutation'> {
  dir: string;
  undo: (() => Promise<void>)[];
  missing: string[];
}

async function hostOf(plan: HostPlan, { dir, undo, missing, mutation }: Building): Promise<RigHost> {
  const { dataDir, ...rest } = plan;
  const mounted = dataDir === undefined ? null : await mountSmallDisk(join(dir, dataDir), undo, missing);
  const host = await startHost(dir, { ...rest, ...(mounted !== null && { dataDir: mounted }) }, mutation);
  undo.push(host.stop);
  return host;
}

/** A file system that a fault can fill without harm to anybody else; null where this user may not mount one. */
async function mountSmallDisk(
  at: string,
  undo: (() => Promise<void>)[],
  missing: string[],
): Promise<string | null> {
  await mkdir(at);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', at], { stdio: 'pipe' });
  } catch (error) {
    missing.push(`no full disks: cannot mount a file system (${String(error).split('\n')[0]})`);
    return null;
  }
  undo.push(async () => void execFileSync('umount', ['-l', at]));
  await chmod(at, 0o711);
  return at;
}

async function register(seed: number, gateway: RigGateway, hosts: RigHost[], ledger: Ledger): Promise<void> {
  const client = createClient({ ...gateway, ledger, random: createRandom(seed, 'registration') });
  for (const { name, registration } of hosts) {
    const reply = await client.once('PUT', `/v1/hosts/${name}`, { body: registration });
    if (reply?.status !== 201)
      throw new Error(`${name} was not registered: ${reply?.status} ${reply?.bytes}`);
  }
}
