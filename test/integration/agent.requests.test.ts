/** What the agent answers to requests that it should not serve. */

import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, type RealAgent, startRealAgent } from '../helpers/real-agent.ts';

let agent: RealAgent;
beforeAll(async () => {
  agent = await startRealAgent();
});
afterAll(() => agent.stop());

describe('the token', () => {
  it('is needed for every path, also for those that there are not', async () => {
    for (const path of ['/ping', '/run', '/status', '/status/x', '/nothing', '/']) {
      for (const headers of [{}, { 'x-agent-token': 'wrong' }, { 'x-agent-token': '' }] as Record<
        string,
        string
      >[]) {
        const reply = await call(agent.address, 'POST', path, {}, headers);
        expect(reply).toMatchObject({ status: 403, body: { error: 'invalid_token' } });
      }
    }
  });

  it('is checked before the body is read', async () => {
    const [host, port] = agent.address.split(':');
    const status = await new Promise((resolve, reject) => {
      const headers = { 'content-length': 1_000_000 };
      const sent = request(
        { host, port, method: 'POST', path: '/run', headers, rejectUnauthorized: false },
        (response) => {
          resolve(response.statusCode);
          sent.destroy();
        },
      );
      sent.on('error', reject);
      sent.flushHeaders();
    });
    expect(status).toBe(403);
  });

  it('was made for this host alone, as was the key', () => {
    expect(agent.token).toMatch(/^[\w-]{43}$/);
    expect(statSync(join(agent.dataDir, 'token')).mode & 0o777).toBe(0o600);
    expect(statSync(join(agent.dataDir, 'tls/key.pem')).mode & 0o777).toBe(0o600);
  });
});

describe('the certificate', () => {
  it('has the fingerprint that the agent prints, a P-256 key, and stays the same after a restart', async () => {
    const shown = () =>
      new Promise<Buffer>((resolve, reject) => {
        const [host, port] = agent.address.split(':');
        const socket = connect({ host: host!, port: Number(port), rejectUnauthorized: false }, () => {
          const certificate = socket.getPeerCertificate();
          expect(certificate).toMatchObject({ nistCurve: 'P-256' });
          resolve(certificate.raw);
          socket.destroy();
        });
        socket.once('error', reject);
      });
    const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    expect(sha256(await shown())).toBe(agent.fingerprint);
    await agent.restart();
    expect(sha256(await shown())).toBe(agent.fingerprint);
  });
});

describe('hostile requests', () => {
  it('job ids reach no path', async () => {
    for (const id of ['..%2fx', '.', 'a.b', 'a%00', 'x'.repeat(65), '%2e%2e', 'ž', 'a b', "a'b"]) {
      for (const [method, verb] of [
        ['GET', 'status'],
        ['GET', 'logs'],
        ['POST', 'cancel'],
      ] as const) {
        const { status } = await agent.call(
          method,
          `/${verb}/${encodeURI(decodeURIComponent(id)).replaceAll('/', '%2f')}`,
        );
        expect([404, 405, 422]).toContain(status);
      }
      const run = await agent.call('POST', '/run', { job_id: decodeURIComponent(id), command: 'true' });
      expect(run).toMatchObject({ status: 422, body: { error: 'invalid_request' } });
    }
    expect(existsSync(join(agent.dataDir, 'x'))).toBe(false);
  });

  it('an id that looks like an option or a path of the agent is just an id', async () => {
    for (const id of ['-rf', '--help', '_', '-']) {
      const { body } = await agent.call('POST', '/run', { job_id: id, command: 'exit 3', wait_seconds: 10 });
      expect(body).toMatchObject({ job_id: id, return_code: 3 });
    }
  });

  it('bodies of the wrong shape are 422, and of no shape 400', async () => {
    const wrong = [
      {},
      [],
      'null',
      { command: 5 },
      { command: '' },
      { command: 'true', more: 1 },
      { command: 'true', env: { A: 1 } },
      { command: 'true', env: { 'A B': '1' } },
      { command: 'true', timeout_seconds: 0 },
      { command: 'true', wait_seconds: 61 },
      { command: 'a\0b' },
      { command: 'true', env: { A: 'a\0b' } },
      { command: 'true', workdir: 'relative' },
      { command: 'x'.repeat(65_537) },
    ];
    for (const body of wrong) {
      expect(await agent.call('POST', '/run', body), JSON.stringify(body).slice(0, 80)).toMatchObject({
        status: 422,
      });
    }
    for (const body of ['{', '{"command":"tr', Buffer.from([0x22, 0xff, 0x22])]) {
      expect(await agent.call('POST', '/run', body)).toMatchObject({
        status: 400,
        body: { error: 'invalid_json' },
      });
    }
  });

  it('a body that is too large is refused before it is kept', async () => {
    const reply = await agent.call('POST', '/run', 'x'.repeat(1_048_577)).catch((error) => error);
    // The agent may hang up while the rest is still being sent.
    expect(reply.status === 413 || reply.code === 'EPIPE' || reply.code === 'ECONNRESET').toBe(true);
    expect((await agent.call('POST', '/ping')).status).toBe(200);
  });

  it('wrong paths and methods are 404 and 405, wrong ranges 422', async () => {
    expect((await agent.call('GET', '/run')).status).toBe(405);
    expect((await agent.call('GET', '/nothing')).status).toBe(404);
    expect((await agent.call('GET', '/status/a/b')).status).toBe(404);
    expect((await agent.call('GET', '/logs/never-seen')).status).toBe(404);
    await agent.call('POST', '/run', { job_id: 'ranges', command: 'true', wait_seconds: 10 });
    for (const query of ['offset=-1', 'offset=x', 'limit=99999999', 'stream=both', 'offset=1e3']) {
      expect((await agent.call('GET', `/logs/ranges?${query}`)).status).toBe(422);
    }
    expect((await agent.call('GET', '/logs/ranges?offset=500')).body).toEqual({
      data: '',
      next: 500,
      eof: true,
    });
  });
});
