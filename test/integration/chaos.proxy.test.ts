/** The proxy of the rig of faults: each fault does to a real connection what it says, and nothing else. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type FaultyProxy, startProxy } from '../chaos/proxy.ts';
import { until } from '../helpers/until.ts';

let server: Server;
let proxy: FaultyProxy;
let heard: string;
let callee: Socket | null;

beforeEach(async () => {
  heard = '';
  callee = null;
  server = createServer((socket) => {
    callee = socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      heard += chunk.toString();
      socket.write(`re:${chunk}`);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxy = await startProxy('test', `127.0.0.1:${(server.address() as AddressInfo).port}`);
});

afterEach(async () => {
  await proxy.stop();
  callee?.destroy();
  server.close();
});

async function dial() {
  const [host = '', port = ''] = proxy.address.split(':');
  const socket = connect(Number(port), host);
  const caller = { socket, heard: '', closed: false };
  socket.on('error', () => undefined).on('close', () => (caller.closed = true));
  socket.on('data', (chunk) => (caller.heard += chunk.toString()));
  await once(socket, 'connect');
  socket.write('one.');
  await until(() => caller.heard === 're:one.');
  return caller;
}

async function roundTripElsewhere(): Promise<void> {
  const echo = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const socket = connect((echo.address() as AddressInfo).port, '127.0.0.1');
  socket.write('?');
  await once(socket, 'data');
  socket.destroy();
  echo.close();
}

it('stalls both ways, and lets what was sent meanwhile arrive once it is mended', async () => {
  const caller = await dial();
  proxy.stall();
  caller.socket.write('two.');
  // What passes nothing says nothing: a connection to another proxy goes there and back meanwhile.
  await roundTripElsewhere();
  expect(heard).toBe('one.');
  proxy.mend();
  await until(() => caller.heard === 're:one.re:two.');
});

it('loses one way while the other goes on, and resets what has a hole once it is mended', async () => {
  const caller = await dial();
  proxy.lose('down');
  caller.socket.write('two.');
  await until(() => heard === 'one.two.');
  expect(caller.heard).toBe('re:one.');
  proxy.mend();
  await until(() => caller.closed);
});

it('cuts a reply after so many bytes: the request arrived', async () => {
  const caller = await dial();
  proxy.cutAfter('down', 4);
  caller.socket.write('two.');
  await until(() => caller.closed);
  expect(heard).toBe('one.two.');
  expect(caller.heard).toBe('re:one.re:t');
});

it('cuts a request after so many bytes', async () => {
  const caller = await dial();
  proxy.cutAfter('up', 2);
  caller.socket.write('two.');
  await until(() => caller.closed);
  expect(heard).toBe('one.tw');
});

it('lets everything through slowly, at any pace', async () => {
  const caller = await dial();
  proxy.slow(273);
  caller.socket.write('x'.repeat(100));
  await until(() => heard.length === 104);
  await until(() => caller.heard.length >= 110);
});

it('resets what is open, and refuses new connections until it is mended', async () => {
  const caller = await dial();
  proxy.refuse();
  await until(() => caller.closed);
  const refused = connect(Number(proxy.address.split(':')[1]), '127.0.0.1').on('error', () => undefined);
  await new Promise((resolve) => refused.once('close', resolve));
  proxy.mend();
  await dial();
});

it('stalls only those that say who they are', async () => {
  const [one, other] = [await dial(), await dial()];
  other.socket.write('REPLCONF');
  await until(() => other.heard.includes('REPLCONF'));
  proxy.stallThose((said) => said.includes('REPLCONF'));
  other.socket.write('more.');
  one.socket.write('two.');
  await until(() => one.heard === 're:one.re:two.');
  expect(heard).not.toContain('more.');
});
