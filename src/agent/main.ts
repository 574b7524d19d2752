/** Starts the host agent: the parts list. Everything that it must not forget is in the data directory. */
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { CrashAt } from '../job/crash-points.ts';
import { PROTOCOL } from '../protocol/agent.ts';
import { findAbilities } from './abilities.ts';
import { createAccept } from './accept.ts';
import { createCancel } from './cancel.ts';
import { loadOrMakeCertificate } from './certificate.ts';
import { createCrashPoints } from './crash-points.ts';
import { createFollow } from './follow.ts';
import { createHttpServer } from './http-server.ts';
import { takeLock } from './lock.ts';
import type { Logger } from './log.ts';
import { parseOutputLimit } from './output-limit.ts';
import { createOutputs } from './outputs.ts';
import { createPlanner } from './plan.ts';
import { loadPolicy } from './policy.ts';
import { readBootId } from './processes.ts';
import { recoverJobs } from './recover.ts';
import { type Refusal, refusalOfDisk } from './refusal.ts';
import { createRegistry } from './registry.ts';
import { createRetention } from './retention.ts';
import { createRoutes } from './routes.ts';
import { installScripts } from './scripts.ts';
import { openSpool } from './spool.ts';
import { createSupervisor } from './supervisor.ts';
import { createTokenCheck, loadOrMakeToken } from './token.ts';
import { createTurns } from './turns.ts';
import { AGENT_VERSION } from './version.ts';
import { watchJobs } from './watch.ts';

const CLEAR_UP_MS = 60 * 1000;
const FIRST_LOOK_MS = 3000;
const MAX_OUTPUT = '1G';

export interface AgentOptions {
  /** `HOST:PORT`; port 0 takes a free one. */
  listen: string;
  dataDir: string;
  tokenFile: string;
  /** A policy that must exist; without it `/etc/sluice/agent-policy.json` counts, where there is one. */
  policyFile?: string;
  /** A cgroup v2 directory of the agent's own, or `own` for the one that systemd delegated to its service. */
  cgroup?: string;
  /** How many jobs may run at once. */
  maxJobs?: number;
  /** How much of each stream of a job is kept: `512M`, bytes, or `0` for all of it. Default `1G`. */
  maxOutput?: string;
  /** Where the kernel says which boot this is. */
  bootIdFile?: string;
  /** For tests: where the process kills itself. */
  crashAt?: CrashAt;
  log: Logger;
}

export interface RunningAgent {
  /** `HOST:PORT` as it listens. */
  address: string;
  /** SHA-256 of the DER certificate in hex: what a gateway pins. */
  fingerprint: string;
  /** Stops answering. Jobs go on. */
  close(): Promise<void>;
}

/** @throws where the token, the policy or the data directory is not usable: it then does not listen at all */
export async function startAgent(options: AgentOptions): Promise<RunningAgent> {
  try {
    return await start(options);
  } catch (error) {
    const inWords = refusalOfDisk(error);
    if (inWords === error) throw error;
    const message = `${(inWords as Refusal).message}. Jobs that run go on; start the agent again once it is mended`;
    throw new Error(`the data directory ${options.dataDir} cannot be used: ${message}`, { cause: error });
  }
}

async function start(options: AgentOptions): Promise<RunningAgent> {
  const { log } = options;
  const [host, port] = splitAddress(options.listen);
  const maxOutputBytes = parseOutputLimit(options.maxOutput ?? MAX_OUTPUT);
  const policy = loadPolicy(options.policyFile);
  const points = createCrashPoints(options.crashAt ?? null, () => process.kill(process.pid, 'SIGKILL'));
  const spool = points.spool(openSpool(options.dataDir));
  const releaseLock = takeLock(join(options.dataDir, 'lock'), readBootId(options.bootIdFile));
  const isToken = createTokenCheck(loadOrMakeToken(options.tokenFile));
  const tls = await loadOrMakeCertificate(join(options.dataDir, 'tls'));
  const bootId = readBootId(options.bootIdFile);
  const abilities = findAbilities(options.cgroup);
  const scripts = installScripts(spool.binDir);
  const closing = new AbortController();

  const registry = points.registry(createRegistry());
  const inTurn = createTurns();
  const { jobDir, storeId, runDir } = spool;
  const supervisor = points.supervisor(createSupervisor({ scripts, jobDir, log }));
  const outputs = createOutputs({ jobDir, maxBytes: maxOutputBytes, log });
  const follow = points.follow(createFollow({ registry, supervisor, outputs, jobDir, bootId, log }), jobDir);
  const plan = createPlanner({ abilities, policy, storeId, bootId, runDir });
  const maxJobs = options.maxJobs ?? 1000;
  const accept = createAccept({ spool, registry, supervisor, plan, follow, scripts, maxJobs, inTurn, log });
  const cancel = points.cancel(createCancel({ spool, registry, supervisor, follow, inTurn, bootId, log }));
  const ping = () => ({
    status: 'ok',
    time: new Date().toISOString(),
    protocol: PROTOCOL,
    version: AGENT_VERSION,
    boot_id: bootId,
    store_id: storeId,
    ...(policy.users && { users: [...policy.users] }),
    capabilities: [...abilities.capabilities],
  });
  const handle = createRoutes({ ping, accept, cancel, registry, outputs, closing: closing.signal });
  const server = createHttpServer({ tls, isToken, handle, log });

  const retention = createRetention({ spool, registry, cgroup: abilities.cgroup, log });
  let clearing: NodeJS.Timeout | undefined;
  async function clearUp(): Promise<void> {
    await retention.sweep(Date.now()).catch((error) => log.error({ err: error }, 'retention.failed'));
    if (!closing.signal.aborted) clearing = setTimeout(clearUp, CLEAR_UP_MS);
  }

  retention.load();
  recoverJobs({ spool, registry, log });
  // One that takes long, because somebody is being given the time to stop, does not keep the agent from answering.
  await Promise.race([Promise.all(registry.live().map(follow)), pause(FIRST_LOOK_MS, null, { ref: false })]);
  const watcher = watchJobs({ nudges: spool.nudges, registry, follow, outputs, log });
  void clearUp();

  function stopWork(): void {
    closing.abort();
    watcher.close();
    clearTimeout(clearing);
  }

  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    });
  } catch (error) {
    // Else the process would live on without listening, and nobody would start another.
    stopWork();
    releaseLock();
    throw error;
  }
  const address = `${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}`;
  log.info({ address, fingerprint: tls.fingerprint, store_id: storeId }, 'agent.started');

  return {
    address,
    fingerprint: tls.fingerprint,
    async close() {
      stopWork();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      const last = setTimeout(() => server.closeAllConnections(), 2000);
      await closed;
      clearTimeout(last);
      releaseLock();
    },
  };
}

function splitAddress(listen: string): [host: string, port: number] {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(listen);
  if (!match) throw new Error(`${listen} is not HOST:PORT`);
  return [match[1] ?? match[2]!, Number(match[3])];
}
