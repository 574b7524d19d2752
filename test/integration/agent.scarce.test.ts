/** The agent on a host that is out of something: watches, processes, an answer from a file system. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createSupervisor } from '../../src/agent/supervisor.ts';
import { startRealAgent } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

const NO_WATCHES = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"';
const canLimitWatches = spawnSync('unshare', ['-Ur', 'sh', '-c', NO_WATCHES, 'sh', 'true']).status === 0;

describe('an agent', () => {
  it.skipIf(!canLimitWatches)(
    'that gets no inotify watch starts, and notices ends by itself (needs user namespaces)',
    async () => {
      const agent = await startRealAgent({ wrapper: ['unshare', '-Ur', 'sh', '-c', NO_WATCHES, 'sh'] });
      const request = { command: 'exit 3', wait_seconds: 10 };
      expect((await agent.call('POST', '/run', request)).body).toMatchObject({ return_code: 3 });
      await agent.stop();
    },
  );

  it('answers within seconds of its start while an orphaned job is given its time to stop, and goes on with others', async () => {
    const agent = await startRealAgent();
    const command = 'trap "" TERM; echo ready; while :; do sleep 0.1; done';
    await agent.call('POST', '/run', { job_id: 'stubborn', command });
    await until(async () => (await agent.call('GET', '/status/stubborn')).body.stdout === 'ready\n');
    const canceled = agent.call('POST', '/cancel/stubborn', { grace_seconds: 15 }).catch(() => null);
    const pidIn = (name: string) =>
      Number(readFileSync(join(agent.jobDir('stubborn'), name), 'utf8').split(' ')[0]);
    await until(() => pidIn('stopper') > 0);
    process.kill(pidIn('supervisor'), 'SIGKILL');
    process.kill(pidIn('child'), 'SIGKILL');
    const begun = Date.now();
    await agent.restart();
    await canceled;
    expect(Date.now() - begun).toBeLessThan(10_000);
    const request = { job_id: 'other', command: 'exit 3', wait_seconds: 5 };
    expect((await agent.call('POST', '/run', request)).body).toMatchObject({ return_code: 3 });
    process.kill(pidIn('stopper'), 'SIGKILL');
    await agent.stop();
  });
});

/** Mounts a file system whose server takes requests and never answers; it ends with its input. */
const MUTE = `
import ctypes, os, sys
fd = os.open('/dev/fuse', os.O_RDWR)
options = f'fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other'
sys.exit(1) if ctypes.CDLL(None).mount(b'mute', sys.argv[1].encode(), b'fuse', 0, options.encode()) else print('mounted', flush=True)
sys.stdin.read()
`;

describe('a working directory on a share that does not answer (needs root, FUSE and Python)', () => {
  it('holds up its own job and no other request', async ({ skip }) => {
    const mount = mkdtempSync(join(tmpdir(), 'agent-mute-'));
    const server = spawn('python3', ['-c', MUTE, mount], { stdio: ['pipe', 'pipe', 'ignore'] });
    const ended = new Promise((resolve) => server.once('close', resolve));
    const mounted = await Promise.race([once(server.stdout, 'data'), ended.then(() => null)]);
    if (!mounted) {
      rmSync(mount, { recursive: true });
      skip();
    }
    const agent = await startRealAgent();
    try {
      const stuck = agent.call('POST', '/run', { job_id: 'stuck', command: 'true', workdir: mount });
      const also = agent.call('POST', '/run', { command: 'true', shell: join(mount, 'sh') });
      let isStuck = true;
      void stuck.finally(() => {
        isStuck = false;
      });
      for (let ask = 0; ask < 5; ask++) expect((await agent.call('POST', '/ping')).status).toBe(200);
      expect(isStuck).toBe(true);
      expect((await stuck).status).toBe(200);
      expect((await also).status).toBe(200);
    } finally {
      execFileSync('umount', ['-l', mount]);
      server.stdin.end();
      await ended;
      await agent.stop();
      rmSync(mount, { recursive: true });
    }
  });
});

describe('a supervisor that cannot be made', () => {
  it('is logged and tried again later, and is not thought to be on its way', async () => {
    const logged: string[] = [];
    const note = (_: unknown, event: string) => logged.push(event);
    const supervisor = createSupervisor({
      scripts: '/nonexistent',
      jobDir: () => '/nonexistent',
      log: { info: note, warn: note, error: note },
    });
    await supervisor.start('x');
    expect(supervisor.isStarting('x')).toBe(false);
    expect(logged).toEqual(['job.supervisor.failed']);
  });
});
