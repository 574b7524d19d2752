/** `sluice up --agent` with all of its processes killed at once while ten jobs run, and started again on its data. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, it } from 'vitest';
import { startGateway, type TestGateway } from '../helpers/gateway.ts';
import { type Receiver, startReceiver } from '../helpers/receiver.ts';
import { freePort } from '../helpers/redis.ts';
import { createCaller } from '../helpers/sluice-process.ts';
import { expectPromisesKept, submitTen } from '../helpers/ten-jobs.ts';

let dir: string;
let gateway: TestGateway;
let receiver: Receiver;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-kills-up-'));
  receiver = await startReceiver();
  gateway = await startGateway({
    flags: ['--agent', `127.0.0.1:${await freePort()}`],
    env: {
      SLUICE_WEBHOOKS_ALLOW: '127.0.0.0/8',
      SLUICE_WEBHOOKS_SCHEDULE_SECONDS: '1,1,1,1,1,1',
    },
  });
  const key = await readFile(join(gateway.dataDir, 'key.env'), 'utf8');
  receiver.secrets = [/^SLUICE_WEBHOOK_SECRET=(.+)$/m.exec(key)?.[1] as string];
});

afterAll(async () => {
  await gateway?.stop();
  await receiver?.stop();
  await rm(dir, { recursive: true, force: true });
});

it('goes on as if nothing had been: all jobs end truly, were started once, and are told of', async () => {
  const call = createCaller(() => gateway.url, gateway.apiKey);
  const ten = { call, receiver, dir, hosts: ['local'] };
  const submitted = await submitTen(ten, 'up');
  for (const child of ['redis.pid', 'agent.pid']) {
    const [pid] = (await readFile(join(gateway.dataDir, child), 'utf8')).split(/\s/);
    process.kill(Number(pid), 'SIGKILL');
  }
  await gateway.kill('SIGKILL');
  await gateway.restart();
  await expectPromisesKept(ten, submitted);
}, 120_000);
