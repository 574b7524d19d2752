/** What the agent does not start with, because somebody else could have put it there or have read it. */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startRealAgent } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

const isRoot = process.getuid?.() === 0;
const NOBODY = 65534;

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'agent-trust-'));
  chmodSync(dataDir, 0o711);
});
afterEach(() => rmSync(dataDir, { recursive: true }));

/** An agent with this data directory does not start, and says why. */
const refuses = (why: RegExp, args: string[] = []) =>
  expect(startRealAgent({ dataDir, args })).rejects.toThrow(why);

describe('the agent does not start', () => {
  it('with a data directory that others can write to', async () => {
    chmodSync(dataDir, 0o733);
    await refuses(/writable by nobody else/);
    chmodSync(dataDir, 0o711);
    mkdirSync(join(dataDir, 'bin'));
    chmodSync(join(dataDir, 'bin'), 0o777);
    await refuses(/bin must be owned/);
  });

  it.skipIf(!isRoot)(
    'with a data directory or a policy in a directory of somebody else (needs root)',
    async () => {
      const policies = join(dataDir, 'policies');
      mkdirSync(policies);
      writeFileSync(join(policies, 'policy.json'), '{"users":["nobody"]}');
      chownSync(policies, NOBODY, NOBODY);
      await refuses(/policies must be owned/, ['--policy', join(policies, 'policy.json')]);
      chownSync(dataDir, NOBODY, NOBODY);
      await refuses(/must be owned by root/);
    },
  );

  it('with a token or a key that others can read, or a token that they can write', async () => {
    for (const mode of [0o644, 0o620, 0o602]) {
      writeFileSync(join(dataDir, 'token'), 'x'.repeat(43));
      chmodSync(join(dataDir, 'token'), mode);
      await refuses(/token must (not be readable|be owned)/);
      rmSync(join(dataDir, 'token'));
    }
    await (await startRealAgent({ dataDir })).stop();
    chmodSync(join(dataDir, 'tls/key.pem'), 0o644);
    await refuses(/key.pem must not be readable/);
  });
});

it('scripts that a power cut left empty are made anew', async () => {
  await (await startRealAgent({ dataDir })).stop();
  const [version] = readdirSync(join(dataDir, 'bin'));
  truncateSync(join(dataDir, 'bin', version!, 'supervisor.sh'));
  const agent = await startRealAgent({ dataDir });
  const { body } = await agent.call('POST', '/run', { command: 'exit 3', wait_seconds: 5 });
  expect(body).toMatchObject({ return_code: 3 });
  await agent.stop();
});

it('no address can keep others from connecting, however many connections it opens', async () => {
  const agent = await startRealAgent({ dataDir });
  const port = Number(agent.address.split(':')[1]);
  const sockets: Socket[] = [];
  for (let count = 0; count < 2200; count++) {
    const socket = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.2' });
    sockets.push(socket.on('error', () => {}));
  }
  await until(() => sockets.every((socket) => !socket.connecting), { what: 'the connections' });
  expect((await agent.call('POST', '/ping')).status).toBe(200);
  expect(sockets.filter((socket) => !socket.destroyed).length).toBeGreaterThan(0);
  for (const socket of sockets) socket.destroy();
  await agent.stop();
});
