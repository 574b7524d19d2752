import { expect, test } from 'vitest';
import { createAddressRules, createUrlCheck, hostPort } from '../../src/net/addresses.ts';

const rules = createAddressRules({ allow: [], deny: [] });
const noAgents = async () => false;
const check = createUrlCheck({ rules, isAgentAddress: noAgents });

test.each([
  ['127.0.0.1', 'loopback'],
  ['127.255.255.254', 'loopback'],
  ['::1', 'loopback'],
  ['::ffff:127.0.0.1', 'loopback'],
  ['::127.0.0.1', 'loopback'],
  ['64:ff9b::7f00:1', 'loopback'],
  ['2002:7f00:1::', 'loopback'],
  ['::ffff:0:127.0.0.1', 'loopback'],
  ['0.0.0.0', 'unspecified'],
  ['0.1.2.3', 'unspecified'],
  ['::', 'unspecified'],
  ['169.254.169.254', 'link-local'],
  ['64:ff9b::a9fe:a9fe', 'link-local'],
  ['fe80::1', 'link-local'],
  ['fe80::1%eth0', 'link-local'],
  ['224.0.0.1', 'multicast'],
  ['239.255.255.250', 'multicast'],
  ['ff02::1', 'multicast'],
  ['255.255.255.255', 'broadcast'],
  ['100.100.100.200', 'metadata'],
  ['168.63.129.16', 'metadata'],
  ['fd00:ec2::254', 'metadata'],
  ['nonsense', 'not an address'],
  ['', 'not an address'],
])('%s is never called (%s)', (address, why) => {
  expect(rules.refusal(address)).toBe(why);
});

test.each(['10.0.0.5', '172.16.3.4', '192.168.120.7', '100.64.0.1', 'fd12::1', '8.8.8.8', '2606:4700::1111'])(
  '%s may be called: private networks are where receivers live',
  (address) => {
    expect(rules.refusal(address)).toBeNull();
  },
);

test('allow opens what is at least as specific as the refusal, not more', () => {
  const opened = createAddressRules({ allow: ['127.0.0.0/8', '169.254.10.0/24', '0.0.0.0/0'], deny: [] });
  expect(opened.refusal('127.0.0.1')).toBeNull();
  expect(opened.refusal('::ffff:127.0.0.1')).toBeNull();
  expect(opened.refusal('169.254.10.1')).toBeNull();
  expect(opened.refusal('169.254.169.254')).toBe('link-local');
});

test('deny wins over allow', () => {
  const closed = createAddressRules({ allow: ['10.1.0.0/16'], deny: ['10.0.0.0/8', 'fd00::/8', '9.9.9.9'] });
  expect(closed.refusal('10.1.2.3')).toBe('denied by 10.0.0.0/8');
  expect(closed.refusal('fd00::1')).toBe('denied by fd00::/8');
  expect(closed.refusal('9.9.9.9')).toBe('denied by 9.9.9.9');
  expect(closed.refusal('9.9.9.8')).toBeNull();
});

test('a list entry that is no network is refused by name', () => {
  expect(() => createAddressRules({ allow: ['10.0.0.0/33'], deny: [] })).toThrow(/10\.0\.0\.0\/33/);
  expect(() => createAddressRules({ allow: [], deny: ['example.com'] })).toThrow(/example\.com/);
});

test.each([
  'http://127.0.0.1/',
  'http://127.1/',
  'http://2130706433/',
  'http://0x7f.1/',
  'http://0177.0.0.1/',
  'http://127.0.0.1./',
  'http://0/',
  'http://[::1]:8080/',
  'http://[::ffff:127.0.0.1]/',
  'http://[::ffff:7f00:1]/',
  'http://[::]/',
  'http://169.254.169.254/latest/meta-data/',
  'http://localhost:3000/',
  'http://LOCALHOST./',
  'http://api.localhost/',
  'http://user:password@example.com/',
  'http://user@example.com/',
  'http://example.com:0/',
  'ftp://example.com/',
  'file:///etc/passwd',
  'unix:/run/docker.sock',
  'javascript:alert(1)',
  'example.com',
  '',
])('%s is refused before anything is resolved', async (url) => {
  expect(await check(url)).toEqual(expect.any(String));
});

test.each(['https://example.com/hook', 'http://10.0.0.5:8080/', 'https://[fd12::1]:8443/x?y=z'])(
  '%s is taken',
  async (url) => {
    expect(await check(url)).toBeNull();
  },
);

test('the address of an agent is refused, with its port spelled out or not', async () => {
  const agents = new Set(['web1:443', '10.0.0.5:18443', '[fd12::1]:18443']);
  const guarded = createUrlCheck({ rules, isAgentAddress: async (address) => agents.has(address) });
  expect(await guarded('https://10.0.0.5:18443/run')).toMatch(/agent/);
  expect(await guarded('https://WEB1/run')).toMatch(/agent/);
  expect(await guarded('https://web1./run')).toMatch(/agent/);
  expect(await guarded('https://[fd12::1]:18443/')).toMatch(/agent/);
  expect(await guarded('https://10.0.0.5/run')).toBeNull();
  expect(hostPort('::1', 1)).toBe('[::1]:1');
});
