/** `sluice hosts import`: files that people have, and what is wrong with them. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startGateway, type TestGateway } from '../helpers/gateway.ts';

let gateway: TestGateway;
const dir = mkdtempSync(join(tmpdir(), 'sluice-import-'));

beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(async () => {
  await gateway?.stop();
  rmSync(dir, { recursive: true, force: true });
});

function fileOf(name: string, text: string): string {
  const file = join(dir, name);
  writeFileSync(file, text);
  return file;
}
const run = (name: string, text: string, ...flags: string[]) =>
  gateway.sluice('hosts', 'import', fileOf(name, text), ...flags);
const get = async (name: string) => JSON.parse((await gateway.sluice('hosts', 'get', name)).stdout);

it('takes YAML, with tokens from files beside it, and can be repeated', async () => {
  fileOf('token', 'a-token\n');
  const yaml = `
hosts:
  - name: web1
    address: 192.0.2.11:18443
    token_file: token
    labels: { tier: web, dc: ams }
    rate: 100/60s
    burst: 5
  - name: web2
    address: 192.0.2.12:18443
    token: a-token
    tls: { insecure: true }
`;
  expect(await run('hosts.yaml', yaml)).toMatchObject({
    code: 0,
    stdout: '2 created, 0 changed, 0 refused\n',
  });
  expect(await get('web1')).toMatchObject({
    labels: { tier: 'web', dc: 'ams' },
    rate: { limit: 100, period_seconds: 60, burst: 5 },
  });
  expect(await run('hosts.yaml', yaml)).toMatchObject({
    code: 0,
    stdout: '0 created, 2 changed, 0 refused\n',
  });
});

it('takes CSV, whose empty cells say nothing', async () => {
  const fingerprint = 'ab'.repeat(32);
  const csv = `name,address,token,labels,max_jobs,fingerprint,launcher
db1,192.0.2.21:18443,a-token,tier=db;dc=ams,20,${fingerprint},
"db2",192.0.2.22:18443,"a,token",tier=db,,,false
`;
  expect(await run('hosts.csv', csv)).toMatchObject({ code: 0, stdout: '2 created, 0 changed, 0 refused\n' });
  expect(await get('db1')).toMatchObject({ max_jobs: 20, tls: { fingerprint }, launcher: true });
  expect(await get('db2')).toMatchObject({ max_jobs: null, labels: { tier: 'db' }, launcher: false });
  const listed = await gateway.sluice('hosts', 'list', '--label', 'tier=db', '--json');
  expect(JSON.parse(listed.stdout).map(({ name }: { name: string }) => name)).toEqual(['db1', 'db2']);
});

it('says which hosts were refused and why, and ends with 1', async () => {
  const { code, stdout, stderr } = await run(
    'taken.yaml',
    `- { name: other, address: "192.0.2.11:18443", token: t }\n- { name: new, address: "192.0.2.31:18443", token: t }\n`,
  );
  expect([code, stdout]).toEqual([1, '1 created, 0 changed, 1 refused\n']);
  expect(stderr).toMatch(/^sluice: other: address_in_use: .*web1\n$/);
});

it.each([
  [
    'typo.csv',
    'name,adress\nx,1.2.3.4:1\n',
    /typo\.csv, line 2: adress is no field of a host; there are name, /,
  ],
  ['short.csv', 'name,address\nx\n', /short\.csv: .*line 2/],
  ['nameless.yaml', '- { address: "1.2.3.4:1" }\n', /nameless\.yaml, entry 1: name is missing/],
  ['words.yaml', 'hosts: all of them\n', /words\.yaml: must be a list of hosts/],
  ['tag.yaml', '- !!js/function "() => 1"\n', /tag\.yaml: entry 1 is no host/],
  ['absent.yaml', '- { name: x, token_file: nowhere }\n', /absent\.yaml, entry 1: ENOENT/],
  ['empty.yaml', '[]\n', /has no hosts/],
  [
    'zeros.yaml',
    '- { name: x, token: 0123456 }\n',
    /entry 1: token takes text, but a number stands here: put it in quotes\n$/,
  ],
  ['digits.yaml', '- { name: 0012 }\n', /entry 1: name takes text, but a number stands here/],
  ['nought.yaml', '- { name: x, token: 0 }\n', /entry 1: token takes text, but a number stands here/],
  [
    'label.yaml',
    '- { name: x, labels: { rack: 007 } }\n',
    /entry 1: labels takes text, but a number stands here/,
  ],
  ['user.yaml', '- { name: x, allowed_users: [1000] }\n', /entry 1: allowed_users takes text, but a number/],
  [
    'twice.csv',
    `name,address,token\n${Array.from({ length: 600 }, (_, i) => `x${i || ''},192.0.2.1:${i + 1},t\n`).join('')}x,192.0.2.9:1,t\n`,
    /twice\.csv, line 602: x is there twice, first in line 2\n$/,
  ],
  [
    'refused.yaml',
    '- { name: x, address: "192.0.2.9:1", token: t }\n- { name: y, launcher: 3 }\n',
    /refused\.yaml, entry 2 \(y\): invalid_request: launcher must be boolean or null \(launcher\)\n$/,
  ],
])('names what is wrong in %s, and registers nothing', async (name, text, message) => {
  const { code, stderr } = await run(name, text);
  expect(code).toBe(1);
  expect(stderr).toMatch(message);
  expect((await gateway.sluice('hosts', 'get', 'x')).code).toBe(1);
});

it('only reads with --dry-run, and shows no token', async () => {
  const { code, stdout } = await run(
    'dry.csv',
    'name,address,token\ndry1,192.0.2.41:18443,secret\n',
    '--dry-run',
  );
  expect(code).toBe(0);
  expect(stdout).toMatch(/^dry1 +address, token$/m);
  expect(stdout).not.toContain('secret');
  expect((await gateway.sluice('hosts', 'get', 'dry1')).code).toBe(1);
});

it('sends hosts whose certificates are long in as many requests as they take, and says what went before a refusal', async () => {
  const ca = execFileSync(
    'openssl',
    [
      ...[
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=own authority',
      ],
      ...['-keyout', join(dir, 'ca.key')],
    ],
    { encoding: 'utf8', stdio: 'pipe' },
  );
  const bundle = ca.repeat(Math.floor(60_000 / ca.length));
  const hosts = Array.from({ length: 40 }, (_, i) => ({
    ...{ name: `long${i}`, address: `192.0.2.51:${i + 1}`, token: 't', tls: { ca: bundle } },
  }));
  expect(JSON.stringify(hosts).length).toBeGreaterThan(2 ** 21);
  const done = await run('long.json', JSON.stringify(hosts));
  expect(done).toMatchObject({ code: 0, stdout: '40 created, 0 changed, 0 refused\n' });
  const broken = await run('broken.json', JSON.stringify([...hosts, { name: 'last', max_jobs: 'many' }]));
  expect(broken.stderr).toMatch(/broken\.json, entry 41 \(last\): invalid_request: max_jobs must be/);
  expect(broken.stdout).toMatch(/^0 created, (3\d|[1-3]\d) changed, 0 refused\n$/);
});
