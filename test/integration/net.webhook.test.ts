import { afterEach, beforeEach, expect, test } from 'vitest';
import { createAddressRules } from '../../src/net/addresses.ts';
import { createWebhookSender, type SenderDeps, type WebhookSender } from '../../src/net/webhook.ts';
import { type Receiver, startReceiver } from '../helpers/receiver.ts';

const LOOPBACK_1 = { address: '127.0.0.1', family: 4 };
const open: WebhookSender[] = [];
let receiver: Receiver;
let port: string;

beforeEach(async () => {
  receiver = await startReceiver();
  port = new URL(receiver.url).port;
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()));
  await receiver.stop();
});

test.each([
  '127.0.0.1',
  '127.1',
  '2130706433',
  '0x7f.1',
  '0177.0.0.1',
  '0',
  '[::1]',
  '[::]',
  '[::ffff:127.0.0.1]',
  'localhost',
  'receiver.test',
])('by default %s on loopback is not even dialled', async (host) => {
  const sender = senderWith({ resolve: async () => [LOOPBACK_1] });
  const reply = await sender.send(messageTo(`http://${host}:${port}/`));
  expect(reply).toMatchObject({ status: null, error: 'forbidden_address' });
  expect(receiver.received).toEqual([]);
});

test('a name with one refused address among allowed ones is refused', async () => {
  const answers = [LOOPBACK_1, { address: '169.254.169.254', family: 4 }];
  const sender = senderWith({ rules: allow('127.0.0.0/8'), resolve: async () => answers });
  const reply = await sender.send(messageTo(`http://receiver.test:${port}/`));
  expect(reply).toMatchObject({ status: null, error: 'forbidden_address' });
  expect(receiver.received).toEqual([]);
});

test('a name is resolved once for a connection: the address that was checked is the one that is dialled', async () => {
  let asked = 0;
  // The first answer is allowed and leads nowhere, every later one leads to the receiver.
  const resolve = async () => [asked++ === 0 ? { address: '127.0.0.2', family: 4 } : LOOPBACK_1];
  const sender = senderWith({ rules: createAddressRules({ allow: ['127.0.0.2/32'], deny: [] }), resolve });
  const first = await sender.send(messageTo(`http://rebinding.test:${port}/`));
  expect(first).toMatchObject({ status: null, error: 'connection_refused' });
  expect(asked).toBe(1);
  const second = await sender.send(messageTo(`http://rebinding.test:${port}/`));
  expect(second).toMatchObject({ status: null, error: 'forbidden_address' });
  expect(receiver.received).toEqual([]);
});

test('an allowed name is reached, under its own name', async () => {
  const secure = await startReceiver({ https: true });
  const sender = senderWith({ rules: allow('127.0.0.1'), resolve: async () => [LOOPBACK_1], ca: secure.ca });
  const reply = await sender.send(messageTo(`https://receiver.test:${new URL(secure.url).port}/a?b=c`));
  expect(reply).toMatchObject({ status: 200, error: null });
  expect(secure.received).toMatchObject([{ path: '/a?b=c' }]);
  await secure.stop();
});

test('an agent is not called, neither by its address nor by a name for it', async () => {
  const isAgentAddress = async (address: string) => address === `127.0.0.1:${port}`;
  const sender = senderWith({
    rules: allow('127.0.0.0/8'),
    resolve: async () => [LOOPBACK_1],
    isAgentAddress,
  });
  for (const host of ['127.0.0.1', '127.1', 'other-name.test']) {
    const reply = await sender.send(messageTo(`http://${host}:${port}/run`));
    expect(reply).toMatchObject({ status: null, error: 'forbidden_address' });
  }
  expect(receiver.received).toEqual([]);
});

test("an address that becomes an agent's is not called over a connection that is still open", async () => {
  const agents = new Set<string>();
  const sender = senderWith({
    rules: allow('127.0.0.0/8'),
    isAgentAddress: async (address) => agents.has(address),
  });
  expect(await sender.send(messageTo(receiver.url))).toMatchObject({ status: 200 });
  agents.add(`127.0.0.1:${port}`);
  expect(await sender.send(messageTo(receiver.url))).toMatchObject({ error: 'forbidden_address' });
  expect(receiver.received).toHaveLength(1);
});

test('a name that cannot be resolved, and a port that nobody listens on, are told apart', async () => {
  const notFound = Object.assign(new Error('getaddrinfo ENOTFOUND nowhere.test'), { code: 'ENOTFOUND' });
  const sender = senderWith({ rules: allow('127.0.0.0/8'), resolve: () => Promise.reject(notFound) });
  expect(await sender.send(messageTo('http://nowhere.test/'))).toMatchObject({ error: 'name_not_found' });
  await receiver.stop();
  expect(await sender.send(messageTo(receiver.url))).toMatchObject({ error: 'connection_refused' });
  receiver = await startReceiver();
});

test('a resolver that never answers costs no more than the time for a connection', async () => {
  const sender = senderWith({ resolve: () => new Promise(() => {}), connectMs: 200 });
  expect(await sender.send(messageTo('http://slow-dns.test/'))).toMatchObject({
    status: null,
    error: 'connect_timeout',
  });
});

function senderWith(deps: Partial<SenderDeps>): WebhookSender {
  const sender = createWebhookSender({
    rules: createAddressRules({ allow: [], deny: [] }),
    isAgentAddress: async () => false,
    connectMs: 1_000,
    totalMs: 2_000,
    ...deps,
  });
  open.push(sender);
  return sender;
}

function allow(network: string) {
  return createAddressRules({ allow: [network], deny: [] });
}

function messageTo(url: string) {
  return { url, headers: { 'webhook-id': 'msg_1' }, body: '{"type":"job.succeeded"}' };
}
