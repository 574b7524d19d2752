import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newSecretKey } from '../../src/config/secret-key.ts';
import { cleanEnvironment, runSluice, startGateway, type TestGateway } from '../helpers/gateway.ts';
import { startRealAgent } from '../helpers/real-agent.ts';
import { freePort } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';

/** Ids of the processes that work in a directory below `dir`. */
function processesIn(dir: string): number[] {
  const ids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const worksThere = (pid: string) => {
    try {
      return readlinkSync(`/proc/${pid}/cwd`).startsWith(`${dir}/`);
    } catch {
      return false;
    }
  };
  return ids.filter(worksThere).map(Number);
}

describe('sluice up --agent', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startGateway({ flags: ['--agent', `127.0.0.1:${await freePort()}`] });
  });
  afterAll(() => gateway?.stop());

  it('says where it is, which file has the key, and what to try next', () => {
    expect(gateway.output()).toContain(`is up at ${gateway.url}`);
    expect(gateway.output()).toContain(join(gateway.dataDir, 'key.env'));
    expect(gateway.output()).toMatch(/try: +SLUICE_DATA=\S+ \S+ submit local --wait -- uname -a/);
  });

  it('keeps the key, its webhook secret and the secret key for their owner only', () => {
    for (const file of ['key.env', 'secret.key']) {
      expect(statSync(join(gateway.dataDir, file)).mode & 0o777).toBe(0o600);
    }
    expect(readFileSync(join(gateway.dataDir, 'key.env'), 'utf8')).toMatch(/^SLUICE_WEBHOOK_SECRET=whsec_/m);
  });

  it("runs a command, shows both its streams and ends with the command's own code", async () => {
    const ran = await gateway.sluice('submit', 'local', '--wait', '--', 'echo out; echo err >&2; exit 7');
    expect(ran.stdout).toBe('out\n');
    expect(ran.stderr).toContain('err\n');
    expect(ran.code).toBe(7);
  });

  it('pins the certificate of its own agent', async () => {
    const host = await (await gateway.call('GET', '/v1/hosts/local')).json();
    expect(host).toMatchObject({
      tls: { fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/) },
      warnings: [],
    });
  });

  it('killed and started again on the same data, goes on: one Redis, one agent, and the job that was running', async () => {
    const { stdout } = await gateway.sluice('submit', 'local', '--', 'sleep 4; echo survived');
    const id = stdout.trim();
    const get = async () =>
      (await gateway.call('GET', `/v1/jobs/${id}`)).json() as Promise<{ state: string }>;
    await until(async () => (await get()).state === 'running');
    await gateway.kill('SIGKILL');
    const leftBehind = processesIn(gateway.dataDir);
    expect(leftBehind.length).toBeGreaterThanOrEqual(2);

    await gateway.restart();
    const { code } = await gateway.sluice('wait', id);
    const logs = await gateway.sluice('logs', id);
    expect({ code, stdout: logs.stdout }).toEqual({ code: 0, stdout: 'survived\n' });
    const servers = processesIn(gateway.dataDir).filter((pid) =>
      commandOf(pid).startsWith('/usr/bin/redis-server'),
    );
    expect(servers).toHaveLength(1);
    expect(leftBehind).not.toContain(servers[0]);
  });

  it('starts its Redis again when that dies, and forgets nothing', async () => {
    const { stdout } = await gateway.sluice('submit', 'local', '--wait', '--', 'echo before');
    expect(stdout).toBe('before\n');
    const [redis] = processesIn(gateway.dataDir).filter((pid) => commandOf(pid).includes('redis-server'));
    process.kill(redis ?? 0, 'SIGKILL');
    const jobs = await until(
      async () => {
        const response = await gateway.call('GET', '/v1/jobs?page_size=1');
        return response.ok && ((await response.json()) as { items: { command: string }[] });
      },
      { timeoutMs: 20_000, what: 'the API with its Redis back' },
    );
    expect(jobs.items[0]?.command).toContain('echo before');
  });

  it('refuses a second `sluice up` on the same data, in one line', async () => {
    const env = cleanEnvironment({ SLUICE_DATA: gateway.dataDir });
    const second = await runSluice(['up', '--listen', '127.0.0.1:0'], env);
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/^sluice: another `sluice up` runs on .*--data\n$/);
  });

  it('ends in order on SIGTERM and leaves no process behind', async () => {
    await gateway.kill('SIGTERM');
    expect(processesIn(gateway.dataDir)).toEqual([]);
  });
});

describe('sluice up that cannot start', () => {
  it('says in one line that the port is taken, and leaves nothing running', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await until(() => server.listening);
    const { port } = server.address() as AddressInfo;
    await expect(startGateway({ flags: ['--listen', `127.0.0.1:${port}`] })).rejects.toThrow(
      new RegExp(`sluice: 127.0.0.1:${port} is in use: choose another with --listen`),
    );
    server.close();
  });

  it('says that another agent has the address of its own, and does not wait for that one to go', async () => {
    const other = await startRealAgent();
    const dataDir = mkdtempSync(join(tmpdir(), 'sluice-test-up-'));
    const began = performance.now();
    const args = ['up', '--listen', '127.0.0.1:0', '--agent', other.address];
    const ran = await runSluice(args, cleanEnvironment({ SLUICE_DATA: dataDir }));
    expect(ran.code).toBe(1);
    expect(ran.stderr).toMatch(/^sluice: (another agent listens at|.* is in use|agent ended with)/m);
    expect(ran.stderr).toContain(other.address);
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(processesIn(dataDir)).toEqual([]);
    await other.stop();
    rmSync(dataDir, { recursive: true });
  });

  it('names a certificate file that it cannot use, before it starts anything', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'sluice-test-up-'));
    const text = join(dataDir, 'text.pem');
    writeFileSync(text, 'not PEM');
    const env = cleanEnvironment({ SLUICE_DATA: dataDir });
    const started = (cert: string) => runSluice(['up', '--tls-cert', cert, '--tls-key', text], env);
    const [absent, wrong] = [await started('/nowhere/cert.pem'), await started(text)];
    rmSync(dataDir, { recursive: true });
    expect(absent).toMatchObject({
      code: 1,
      stdout: '',
      stderr: 'sluice: --tls-cert: /nowhere/cert.pem cannot be read (ENOENT)\n',
    });
    expect(wrong).toMatchObject({ code: 1, stdout: '' });
    expect(wrong.stderr).toMatch(/^sluice: .*text\.pem are no certificate and its private key, .*\n$/);
  });

  it('with a certificate of its own says to its commands how to trust it, and they do', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-test-tls-'));
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'gateway' }], {
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
    });
    const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
    writeFileSync(certFile, cert);
    writeFileSync(keyFile, key);
    const gateway = await startGateway({ flags: ['--tls-cert', certFile, '--tls-key', keyFile] });
    const list = (more: Record<string, string>) =>
      runSluice(['list'], cleanEnvironment({ SLUICE_DATA: gateway.dataDir, ...more }));
    const [unknown, known] = [await list({}), await list({ NODE_EXTRA_CA_CERTS: certFile })];
    await gateway.stop();
    rmSync(dir, { recursive: true });
    expect(unknown).toMatchObject({ code: 1, stdout: '' });
    expect(unknown.stderr).toMatch(
      /^sluice: the certificate of https:\S+ is not trusted here .*NODE_EXTRA_CA_CERTS\n$/,
    );
    expect(known).toMatchObject({ code: 0, stderr: '' });
  });

  it('says how to get a redis-server where there is none', async () => {
    const env = { PATH: join(import.meta.dirname, '../../bin') };
    await expect(startGateway({ env })).rejects.toThrow(/apt-get install redis-server/);
  });

  it('refuses data that was sealed with another secret key', async () => {
    const gateway = await startGateway();
    await gateway.kill('SIGTERM');
    writeFileSync(join(gateway.dataDir, 'secret.key'), newSecretKey());
    await expect(gateway.restart()).rejects.toThrow(/sluice: secret_key_mismatch: /);
    await gateway.stop();
  });
});

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
