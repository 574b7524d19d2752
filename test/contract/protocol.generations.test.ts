/** The test agent does wrong what the generations do wrong: every row of the tables of `docs/base-agents.md`. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BaseClient, createBaseClient } from '../helpers/base-agent.client.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { until } from '../helpers/until.ts';

describe.each(['A', 'B', 'C'] as const)('generation %s as it is', (generation) => {
  let agent: BaseAgent;
  let client: BaseClient;
  beforeAll(async () => {
    agent = await startBaseAgent({ generation, blacklist: ['mkfs'], rate: null });
    client = createBaseClient(agent);
  });
  afterAll(async () => {
    await client?.close();
    await agent?.close();
  });
  const isA = generation === 'A';
  const run = (command: string, more: Record<string, unknown> = {}) =>
    client.run(command, { job_id: `g-${randomUUID()}`, ...more });
  const outcome = async (command: string, more?: Record<string, unknown>) =>
    client.ended(await run(command, more));

  test('only the last command of a compound one keeps its output', async () => {
    expect(await outcome('echo a; echo b; ls /nonexistent')).toMatchObject({ return_code: 2, stdout: '' });
    expect(await outcome('echo a && echo b')).toMatchObject({ return_code: 0, stdout: 'b\n' });
  });

  test('a comment swallows the redirection', async () => {
    expect(await outcome('echo x # note')).toMatchObject({ return_code: 0, stdout: '' });
  });

  test('a top-level exit leaves the job running for ever', async () => {
    const id = await run('echo x >> left; exit 3');
    await until(
      async () => (await readFile(join(agent.home, 'left'), 'utf8').catch(() => '')) !== '' || !isA,
    );
    await outcome('true');
    expect(await client.status(id)).toMatchObject({ status: 'running', return_code: null });
  });

  test('env reaches the command on A alone, and a timeout nothing', async () => {
    const id = await run('sh -c \'echo "[$ADDED]"\'', { env: { ADDED: 'x' } });
    expect((await client.ended(id)).stdout).toBe(isA ? '[x]\n' : '[]\n');
    expect(await outcome('sleep 1.5', { timeout_seconds: 1 })).toMatchObject({ return_code: 0 });
  });

  test('bytes that are not UTF-8 break the status, are dropped, or are replaced', async () => {
    const id = await run("printf 'a\\377b'");
    if (isA) {
      await until(async () => (await client.call('GET', `/status/${id}`)).status === 500);
      expect((await client.call('GET', `/status/${id}`)).text).toBe('Internal Server Error');
    } else {
      expect((await client.ended(id)).stdout).toBe(generation === 'B' ? '' : 'a\ufffdb');
    }
  });

  test('the words and the order of keys are those of the generation', async () => {
    // Shorter, and on B and C `running` may be written last of all.
    const id = await run('sleep 0.3');
    await until(async () => (await client.status(id)).status.trim() === 'finished');
    const { text } = await client.call('GET', `/status/${id}`);
    const keys = Object.keys(JSON.parse(text) as object);
    const sorted = ['job_id', 'return_code', 'status', 'stderr', 'stdout'];
    expect(keys).toEqual(
      generation === 'C' ? sorted : ['job_id', 'status', 'return_code', 'stdout', 'stderr'],
    );
    expect((await client.status(id)).status).toBe(isA ? 'finished\n' : 'finished');
    const unknown = JSON.parse((await client.call('GET', '/status/nobody')).text) as object;
    const nothing = { return_code: null, stdout: null, stderr: null };
    if (isA) expect(unknown).toEqual({ job_id: 'nobody', status: 'unknown' });
    else if (generation === 'B') expect(unknown).toEqual({ job_id: 'nobody', status: 'unknown', ...nothing });
    else expect(unknown).toMatchObject({ job_id: 'nobody', status: '', return_code: null });
  });

  test('the same run sent twice starts twice on A, and again after its end on B and C', async () => {
    const file = `twice-${generation}`;
    const command = `sh -c 'echo x >> ${join(agent.home, file)}'`;
    const id = `g-${randomUUID()}`;
    const first = await client.run(command, { job_id: id });
    await client.ended(first);
    if (!isA) await until(() => sessionGone(first));
    await client.ended(await client.run(command, { job_id: id }));
    await until(async () => (await readFile(join(agent.home, file), 'utf8')) === 'x\nx\n');
  });

  test('an id is needed on B, shared when empty on C, and ignored on A', async () => {
    const { status, text } = await client.call('POST', '/run', { command: 'true' });
    expect(status).toBe(generation === 'B' ? 422 : 200);
    if (generation === 'C') expect(JSON.parse(text)).toEqual({ status: 'submitted', job_id: '' });
  });

  test('a word of the blacklist is refused on B and C', async () => {
    const reply = await client.call('POST', '/run', { command: 'echo mkfs', job_id: `g-${randomUUID()}` });
    if (isA) expect(reply.status).toBe(200);
    else expect(reply).toMatchObject({ status: 400, text: '{"error":"command_blocked"}' });
  });

  test('a cancelled job without tmux keeps running, one in tmux is ended', async () => {
    const file = join(agent.home, 'went-on');
    const id = await run(`sh -c 'sleep 1; echo x >> ${file}'`);
    await client.json('POST', `/cancel/${id}`);
    expect((await client.status(id)).status).toBe('cancelled');
    await outcome('sleep 1.5');
    expect(await readFile(file, 'utf8').catch(() => '')).toBe(isA ? 'x\n' : '');
  });

  test('sync blocks the whole of A; the others ignore it', async () => {
    const began = Date.now();
    const sync = client.json<{ status: string }>('POST', '/run', {
      command: 'sleep 1.25',
      sync: true,
      job_id: `g-${randomUUID()}`,
    });
    await until(() => agent.startsOf('sleep 1.25') > 0);
    await client.json('POST', '/ping');
    expect(Date.now() - began > 900).toBe(isA);
    expect((await sync).status.trim()).toBe(isA ? 'finished' : 'submitted');
  });

  const sessionGone = async (id: string) => (await agent.pane(id)) === '';
});

describe('the test agent under orders', () => {
  test('requests beyond the limit are 429, by the generation that counts them', async () => {
    const agent = await startBaseAgent({
      generation: 'B',
      rate: { limit: 2, periodMs: 60_000, counts: 'all' },
    });
    const client = createBaseClient(agent);
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++) statuses.push((await client.call('POST', '/ping')).status);
    expect(statuses).toEqual([200, 200, 429]);
    await client.close();
    await agent.close();
  });

  test('faults happen as often as they were armed, and a lost reply leaves the command started', async () => {
    const agent = await startBaseAgent({ generation: 'A' });
    const client = createBaseClient(agent);
    agent.fault('/run', { kind: 'reset', when: 'after' });
    await expect(client.run('echo acted')).rejects.toThrow();
    expect(agent.startsOf('echo acted')).toBe(1);
    agent.fault('*', { kind: 'reply', status: 503, headers: { 'retry-after': '2' } }, 2);
    for (const status of [503, 503, 200]) {
      const reply = await client.call('POST', '/ping');
      expect(reply.status).toBe(status);
      expect(reply.headers['retry-after']).toBe(status === 503 ? '2' : undefined);
    }
    agent.fault('/ping', { kind: 'oversized', bytes: 100_000 });
    expect((await client.call('POST', '/ping')).text.length).toBeGreaterThan(100_000);
    agent.fault('/ping', { kind: 'drip', everyMs: 1 });
    expect(JSON.parse((await client.call('POST', '/ping')).text)).toMatchObject({ status: 'ok' });
    expect(agent.requests['/ping']).toBe(5);
    await client.close();
    await agent.close();
  });

  test('it can be deaf, show another certificate, refuse its token and forget its jobs', async () => {
    const agent = await startBaseAgent({ generation: 'C' });
    const client = createBaseClient(agent);
    await client.ended(await client.run('echo x', { job_id: 'one' }));
    const shown = agent.fingerprint;
    await agent.replaceCertificate();
    expect(agent.fingerprint).not.toBe(shown);
    await agent.stopListening();
    await expect(client.call('POST', '/ping')).rejects.toThrow();
    await agent.startListening();
    agent.refuseToken();
    expect((await client.call('POST', '/ping')).status).toBe(403);
    agent.mend();
    expect(await client.status('one')).toMatchObject({ return_code: 0 });
    await agent.forgetJobs();
    expect(await client.status('one')).toMatchObject({ status: '', return_code: null });
    await client.close();
    await agent.close();
  });
});
