/** The agent on a host that is out of something: watches, processes, an answer from a file system. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
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
  }, 30_000);
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
