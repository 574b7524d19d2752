/** Commands that wait sit out a Redis that is away, and lose nothing of what they show. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startGateway, type TestGateway } from '../helpers/gateway.ts';
import { freePort } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway({ flags: ['--agent', `127.0.0.1:${await freePort()}`] });
});
afterAll(() => gateway?.stop());

it('submit --wait shows all of the output though Redis was killed meanwhile, and ends with 0', async () => {
  const command = 'for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 1; done';
  const waiting = gateway.sluice('submit', 'local', '--wait', '--quiet', '--', command);
  await until(async () => {
    const { stdout } = await gateway.sluice('list', '--state', 'running', '--json');
    return JSON.parse(stdout).length === 1;
  });
  process.kill(Number(readFileSync(join(gateway.dataDir, 'redis.pid'), 'utf8').split(/\s/)[0]), 'SIGKILL');
  const { code, stdout, stderr } = await waiting;
  expect(stderr).toBe('');
  expect(stdout).toBe(Array.from({ length: 8 }, (_, i) => `line ${i + 1}\n`).join(''));
  expect(code).toBe(0);
}, 60_000);
