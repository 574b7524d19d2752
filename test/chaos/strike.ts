/**
 * Makes a fault on a world and takes it back after its time. Every fault leaves the world able to go on: who was killed
 * is started again, what was frozen goes on, what was full is emptied.
 */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { CRASH_POINTS } from '../../src/job/crash-points.ts';
import { isAlive } from '../helpers/alive.ts';
import type { KeptProcess } from '../helpers/kept-process.ts';
import { OK, type ReceiverMode } from '../helpers/receiver.ts';
import type { Fault } from './faults.ts';
import type { RigHost } from './hosts.ts';
import type { FaultyProxy } from './proxy.ts';
import type { World } from './world.ts';

const RECEIVER_MODES: Record<string, ReceiverMode> = {
  '500': { kind: 'status', status: 500 },
  '429': { kind: 'status', status: 429, headers: { 'retry-after': '1' } },
  hang: { kind: 'hang' },
  reset: { kind: 'reset' },
  'slow body': { kind: 'slow_body' },
};

/** Resolves when the fault is over. */
export async function strike(world: World, fault: Fault): Promise<void> {
  const { group, target, kind } = fault;
  const program = world.gateway.processes.get(target);
  const host = world.hosts.find(({ name }) => name === target);
  const proxy = world.proxies.get(target);
  if (proxy) return strikeLink(proxy, fault);
  if (group === 'redis' || group === 'primary') return world.redis.strike(fault);
  if (group === 'receiver') {
    world.receiver.mode = RECEIVER_MODES[kind] ?? OK;
    await pause(fault.lastsMs);
    world.receiver.mode = OK;
  } else if (kind === 'clock jump') await jumpClock(world, fault);
  else if (program) await strikeProgram(program, fault);
  else if (group === 'disk' && host) await fillDisk(host, fault);
  else if (host) await strikeHost(host, fault);
}

async function strikeProgram(program: KeptProcess, fault: Fault): Promise<void> {
  if (fault.kind === 'kill') return program.kill();
  if (fault.kind === 'crash point') {
    // It dies in its next life; until then it does its work.
    return program.kill({
      SLUICE_CRASH_AT: crashPoint(fault, fault.group === 'api' ? API_POINTS : WORKER_POINTS),
    });
  }
  program.signal('SIGSTOP');
  await pause(fault.lastsMs);
  program.signal('SIGCONT');
}

async function strikeHost(host: RigHost, fault: Fault): Promise<void> {
  if (fault.kind === 'kill') {
    await host.kill();
    await pause(fault.lastsMs);
    return host.restart();
  }
  if (fault.kind === 'crash point') {
    const started = host.restart(['--dangerously-crash-at', crashPoint(fault, AGENT_POINTS)]);
    // What ended while it was down may take it to the point before it says that it is ready.
    await started.catch((error) => {
      if (!`${error}`.includes('ended with SIGKILL')) throw error;
    });
    for (const end = Date.now() + fault.lastsMs; Date.now() < end && isAlive(host.pid()); ) await pause(100);
    return host.restart();
  }
  host.signal('SIGSTOP');
  await pause(fault.lastsMs);
  host.signal('SIGCONT');
}

async function strikeLink(proxy: FaultyProxy, { kind, lastsMs, draw }: Fault): Promise<void> {
  if (kind === 'cut') return proxy.cut();
  if (kind === 'stall') proxy.stall();
  else if (kind === 'refuse') proxy.refuse();
  else if (kind === 'one way lost') proxy.lose(draw < 0.5 ? 'up' : 'down');
  else if (kind === 'slow') proxy.slow(Math.round(200 + draw * 4_000));
  // New connections greet each other with up to 2 KB; what is under way on old ones is at once after the first byte.
  else if (kind === 'reply cut') proxy.cutAfter('down', Math.floor(draw * 2_500));
  else if (kind === 'request cut') proxy.cutAfter('up', 1 + Math.floor(draw * 3_000));
  await pause(lastsMs);
  proxy.mend();
}

/** Half of them by an hour or less, half by seconds. */
async function jumpClock(world: World, { target, lastsMs, draw }: Fault): Promise<void> {
  const way = draw < 0.5 ? -1 : 1;
  const share = (draw * 2) % 1;
  const offsetMs = Math.round(way * (share < 0.5 ? share * 2 * 3_600_000 : share * 20_000));
  await world.gateway.setClock(target, offsetMs);
  await pause(lastsMs);
  await world.gateway.setClock(target, 0);
}

async function fillDisk({ dataDir = '' }: RigHost, { lastsMs }: Fault): Promise<void> {
  const file = join(dataDir, 'filler');
  const chunk = Buffer.alloc(64 * 1_024);
  try {
    for (;;) await writeFile(file, chunk, { flag: 'a' });
  } catch {
    // It is full.
  }
  await pause(lastsMs);
  await rm(file, { force: true });
}

const points = Object.keys(CRASH_POINTS);
const AGENT_POINTS = points.filter((point) => point.startsWith('agent.'));
const API_POINTS = points.filter((point) => /^accept\.|^cancel\.asked/.test(point));
const WORKER_POINTS = points.filter((point) => !AGENT_POINTS.includes(point) && !API_POINTS.includes(point));

function crashPoint({ draw }: Fault, among: string[]): string {
  const at = Math.floor(draw * among.length);
  const nth = 1 + Math.floor(((draw * among.length) % 1) * 4);
  return `${among[at]}:${nth}`;
}
