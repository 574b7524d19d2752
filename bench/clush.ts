/**
 * `clush`: `true` on 200 host names over eight real agents by `sluice run`, and the same by ClusterShell's
 * `clush -f 64` over sshd on loopback, in turn. It needs Debian's `clustershell` and `openssh-server`, and says so where
 * they are missing. The sshd is one of its own, with keys of its own, that lets in nobody else.
 *
 * One address is one host: each name has a port of its own that is forwarded to one of the agents, in this process.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startRealAgent } from '../test/helpers/real-agent.ts';
import { freePort } from '../test/helpers/redis.ts';
import { until } from '../test/helpers/until.ts';
import { createLoad } from './load.ts';
import { API_KEY, createRig } from './rig.ts';
import type { Options } from './scenario.ts';
import { median, type Row } from './table.ts';

const NAMES = 200;
const AGENTS = 8;
const FAN_OUT = 64;
const NEEDED = ['/usr/bin/clush', '/usr/sbin/sshd', '/usr/bin/ssh-keygen'];
const SLUICE = fileURLToPath(new URL('../bin/sluice', import.meta.url));
const FOLDED = `bench[001-${NAMES}]`;

const exec = promisify(execFile);

export async function run({ short }: Options): Promise<Row[]> {
  const missing = await missingPrograms();
  if (missing.length > 0) {
    console.log(`skipped: ${missing.join(', ')} missing; apt-get install clustershell openssh-server`);
    return [{ skipped: missing.join(', ') }];
  }
  const times = { sluice: [] as number[], clush: [] as number[] };
  await withGateway((bySluice) =>
    withSshd(async (byClush) => {
      // The first round of each is not counted: connections, logins and caches of both are warm then.
      for (let round = 0; round <= (short ? 1 : 3); round++) {
        const [sluice, clush] = [await timed(bySluice), await timed(byClush)];
        if (round === 0) continue;
        times.sluice.push(sluice);
        times.clush.push(clush);
      }
    }),
  );
  const reference = median(times.clush);
  return (['clush', 'sluice'] as const).map((who) => ({
    client: who === 'clush' ? `clush -f ${FAN_OUT}` : 'sluice run',
    hosts: NAMES,
    's (median)': median(times[who]).toFixed(2),
    worst: Math.max(...times[who]).toFixed(2),
    'of clush': (median(times[who]) / reference).toFixed(2),
  }));
}

async function missingPrograms(): Promise<string[]> {
  const found = await Promise.allSettled(NEEDED.map((path) => access(path)));
  return NEEDED.filter((_, i) => found[i]?.status === 'rejected');
}

/** The gateway with 200 hosts over eight agents, and `sluice run` on all of them. */
async function withGateway(work: (bySluice: () => Promise<void>) => Promise<void>): Promise<void> {
  const rig = await createRig();
  const load = await createLoad(rig);
  const agents = await Promise.all(Array.from({ length: AGENTS }, () => startRealAgent()));
  const forwards: Server[] = [];
  try {
    const hosts = await Promise.all(
      Array.from({ length: NAMES }, async (_, i) => {
        const { address, token, fingerprint } = agents[i % AGENTS]!;
        const forward = await startForward(Number(address.split(':')[1]));
        forwards.push(forward);
        const { port } = forward.address() as AddressInfo;
        return { name: nameOf(i), address: `127.0.0.1:${port}`, token, tls: { fingerprint } };
      }),
    );
    await rig.api();
    await rig.worker();
    await load.register(hosts, {});
    const env = { ...process.env, SLUICE_URL: rig.url, SLUICE_API_KEY: API_KEY };
    await work(async () => {
      const args = ['run', '--quiet', '--hosts', FOLDED, '--max-parallel', `${FAN_OUT}`, '--', 'true'];
      await exec(SLUICE, args, { env });
    });
  } finally {
    for (const forward of forwards) forward.close();
    await load.close();
    await rig.stop();
    for (const agent of agents) await agent.stop();
  }
}

const nameOf = (i: number) => `bench${String(i + 1).padStart(3, '0')}`;

async function startForward(port: number): Promise<Server> {
  const server = createServer({ noDelay: true }, (socket) => {
    const onward = connect({ port, host: '127.0.0.1', noDelay: true });
    socket.pipe(onward).pipe(socket);
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** An sshd on a free port of loopback that knows one key, and `clush` to it under 200 names. */
async function withSshd(work: (byClush: () => Promise<void>) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-bench-ssh-'));
  const file = (name: string) => join(dir, name);
  for (const key of ['host', 'user']) {
    await exec('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file(key)]);
  }
  const port = await freePort();
  const user = userInfo().username;
  const hostKey = await readFile(file('host.pub'), 'utf8');
  await writeFile(file('allowed'), await readFile(file('user.pub')), { mode: 0o600 });
  await writeFile(file('known'), `[127.0.0.1]:${port} ${hostKey}`);
  await writeFile(
    file('sshd_config'),
    [
      `ListenAddress 127.0.0.1:${port}`,
      `HostKey ${file('host')}`,
      `AuthorizedKeysFile ${file('allowed')}`,
      `PidFile ${file('pid')}`,
      ...['UsePAM no', 'StrictModes no', 'PasswordAuthentication no', `AllowUsers ${user}`],
      // Else it turns connections away while so many log in at once.
      ...['MaxStartups 200', 'PermitRootLogin prohibit-password'],
      '',
    ].join('\n'),
  );
  await writeFile(
    file('ssh_config'),
    [
      'Host *',
      `  HostName 127.0.0.1`,
      `  Port ${port}`,
      `  User ${user}`,
      `  IdentityFile ${file('user')}`,
      `  UserKnownHostsFile ${file('known')}`,
      ...['  HostKeyAlias none', '  CheckHostIP no', '  IdentitiesOnly yes', '  BatchMode yes', ''],
    ].join('\n'),
  );
  await writeFile(file('known'), `none ${hostKey}`);
  // Where it keeps apart what has not logged in yet; Debian's service makes it, which does not run here.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
  const sshd: ChildProcess = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', file('sshd_config')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  sshd.stderr?.on('data', (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-2_000);
  });
  try {
    await until(() => log.includes('Server listening'), { what: `sshd: ${log}` });
    const options = ['-o', `-F ${file('ssh_config')}`];
    await work(async () => {
      await exec('clush', ['-q', '-S', '-f', `${FAN_OUT}`, ...options, '-w', FOLDED, 'true']);
    });
  } finally {
    const ended = sshd.exitCode === null ? once(sshd, 'exit') : null;
    sshd.kill('SIGTERM');
    await ended;
    await rm(dir, { recursive: true, force: true });
  }
}

/** @returns seconds */
async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1_000;
}
