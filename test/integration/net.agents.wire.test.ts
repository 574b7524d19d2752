import { afterEach, expect, test } from 'vitest';
import type { DialHost } from '../../src/job/agent-port.ts';
import { type AgentPortDeps, createAgentPort, type RequestEvent } from '../../src/net/agents.ts';
import {
  dialHost,
  failureOf,
  httpReply,
  someJob,
  startOrder,
  startRawServer,
} from '../helpers/agent-port.ts';
import { until } from '../helpers/until.ts';

const PING = httpReply(200, '{"status":"ok"}', { 'content-type': 'application/json' });
const events: RequestEvent[] = [];
const toClose: { close(): Promise<void> }[] = [];

afterEach(async () => {
  events.length = 0;
  for (const one of toClose.splice(0).reverse()) await one.close();
});

function port(limits: AgentPortDeps['limits'] = {}) {
  const made = createAgentPort({ limits, onRequest: (event) => events.push(event) });
  toClose.push(made);
  return made;
}

async function plainServer(onRequest: Parameters<typeof startRawServer>[0]) {
  const server = await startRawServer(onRequest);
  toClose.push(server);
  const host: DialHost = {
    ...dialHost({ address: server.address, token: 'secret-token', fingerprint: '' }),
    tls: { dangerously_off: true },
  };
  return { server, host };
}

const order = () => startOrder(someJob());

test('a connection that is refused sends nothing: unreachable, and safe to repeat', async () => {
  const { server, host } = await plainServer(() => {});
  await server.close();
  toClose.splice(toClose.indexOf(server), 1);
  const error = await failureOf(port().start(host, order()));
  expect(error).toMatchObject({ code: 'agent_unreachable', retry: 'safe' });
  expect(error.message).toContain('ECONNREFUSED');
  expect(events).toMatchObject([
    { host: 'host-1', what: 'run', status: null, code: 'agent_unreachable', ms: expect.any(Number) },
  ]);
});

test('a name that does not resolve is unreachable', async () => {
  const host = dialHost({ address: 'no-such-host.invalid:1', token: 't', fingerprint: '' });
  expect(await failureOf(port().ping(host))).toMatchObject({ code: 'agent_unreachable' });
});

test('an address that is none is unreachable', async () => {
  const host = dialHost({ address: 'no host at all', token: 't', fingerprint: '' });
  expect(await failureOf(port().ping(host))).toMatchObject({ code: 'agent_unreachable' });
});

test('a host that accepts the connection and never finishes the TLS handshake is unreachable in time', async () => {
  const { host } = await plainServer(() => {});
  const begun = Date.now();
  const error = await failureOf(port({ connectMs: 300 }).ping({ ...host, tls: { insecure: true } }));
  expect(error).toMatchObject({ code: 'agent_unreachable', message: 'no connection in time' });
  expect(Date.now() - begun).toBeLessThan(8_000);
});

test('a port that does not speak TLS is unreachable, and is not sent the token', async () => {
  const { server, host } = await plainServer((socket) => socket.end('SSH-2.0-OpenSSH\r\n'));
  const error = await failureOf(port().ping({ ...host, tls: { insecure: true } }));
  expect(error).toMatchObject({ code: 'agent_unreachable', message: 'the host does not speak TLS there' });
  expect(server.seen.join()).not.toContain('secret-token');
});

test('a reset after the request was read loses the reply: the host may have acted', async () => {
  const { host } = await plainServer((socket) => socket.resetAndDestroy());
  const error = await failureOf(port().start(host, order()));
  expect(error).toMatchObject({ code: 'agent_reply_lost', retry: 'reconcile' });
});

test('half a reply is a lost reply', async () => {
  const { host } = await plainServer((socket) =>
    socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"status":'),
  );
  expect(await failureOf(port().ping(host))).toMatchObject({ code: 'agent_reply_lost' });
});

test('a host that takes the request and never answers is a lost reply once the headers are overdue', async () => {
  const { host } = await plainServer(() => {});
  const begun = Date.now();
  expect(await failureOf(port({ headersMs: 300 }).ping(host))).toMatchObject({ code: 'agent_reply_lost' });
  expect(Date.now() - begun).toBeLessThan(8_000);
});

test('a reply that drips is cut off by the total deadline, which no byte renews', async () => {
  const { server, host } = await plainServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n');
    const drip = setInterval(() => socket.write('x'), 20);
    socket.once('close', () => clearInterval(drip));
  });
  const begun = Date.now();
  const error = await failureOf(port({ totalMs: 400, bodyMs: 200 }).ping(host));
  expect(error).toMatchObject({ code: 'agent_reply_lost' });
  expect(Date.now() - begun).toBeGreaterThan(350);
  expect(Date.now() - begun).toBeLessThan(8_000);
  await until(() => server.open === 0, { what: 'the connection to be closed' });
});

test('a body that stops coming is a lost reply', async () => {
  const { host } = await plainServer((socket) =>
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{'),
  );
  expect(await failureOf(port({ bodyMs: 300 }).ping(host))).toMatchObject({ code: 'agent_reply_lost' });
});

test('an endless reply is hung up on after a bound', async () => {
  let written = 0;
  const { server, host } = await plainServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n');
    const piece = Buffer.alloc(65_536, 'x');
    const pour = () => {
      while (!socket.destroyed && written < 1_000_000_000) {
        written += piece.length;
        if (!socket.write(piece)) {
          socket.once('drain', pour);
          return;
        }
      }
    };
    pour();
  });
  const error = await failureOf(port().ping(host));
  expect(error).toMatchObject({ code: 'agent_reply_invalid', retry: 'reconcile' });
  await until(() => server.open === 0, { what: 'the connection to be closed' });
  expect(written).toBeLessThan(50_000_000);
});

test.each([
  ['no HTTP at all', 'hello there\r\n\r\n'],
  ['a web page', httpReply(200, '<html>welcome</html>')],
  ['another JSON', httpReply(200, '{"hello":"world"}')],
  [
    'JSON that is not UTF-8',
    `${httpReply(200, '').replace('content-length: 0', 'content-length: 2')}\xff\xff`,
  ],
  ['a redirect', httpReply(302, '', { location: 'https://example.com/' })],
  ['a page that is not there', httpReply(404, '<html>not found</html>')],
  ['a proxy that does not like the request', httpReply(400, '<html>bad request</html>')],
])('%s is a reply that makes no sense', async (_, reply) => {
  const { host } = await plainServer((socket) => socket.write(Buffer.from(reply, 'latin1')));
  expect(await failureOf(port().ping(host))).toMatchObject({
    code: 'agent_reply_invalid',
    retry: 'reconcile',
  });
});

test('ping tells a Base agent by its missing capabilities, and the skew of its clock', async () => {
  const ahead = new Date(Date.now() + 90_000).toISOString();
  const { host } = await plainServer((socket) =>
    socket.write(httpReply(200, JSON.stringify({ status: 'ok', time: ahead }))),
  );
  const { facts, fingerprint } = await port().ping(host);
  expect(facts).toMatchObject({ kind: 'base', protocol: null, capabilities: [], store_id: null });
  expect(fingerprint).toBeNull();
  expect(Math.abs(facts.clock_skew_ms - 90_000)).toBeLessThan(5_000);
});

test('ping bounds what it keeps of an agent that says much', async () => {
  const said = { status: 'ok', version: 'v'.repeat(5000), capabilities: Array(1000).fill('logs\n2') };
  const { host } = await plainServer((socket) => socket.write(httpReply(200, JSON.stringify(said))));
  const { facts } = await port().ping(host);
  expect(facts.version).toHaveLength(128);
  expect(facts.capabilities).toHaveLength(100);
  expect(facts.capabilities[0]).toBe('logs 2');
});

test('a clock without a zone that is hours away is taken for local time, not for a skew', async () => {
  const local = new Date(Date.now() + 7_200_000).toISOString().replace('Z', '');
  const { host } = await plainServer((socket) =>
    socket.write(httpReply(200, JSON.stringify({ status: 'ok', time: local }))),
  );
  expect((await port().ping(host)).facts.clock_skew_ms).toBe(0);
});

test('one connection serves one request after another', async () => {
  const { server, host } = await plainServer((socket) => socket.write(PING));
  const agents = port();
  for (let i = 0; i < 5; i++) await agents.ping(host);
  expect(server.connections).toBe(1);
});

test('only so many hosts keep their connections: the one that was used least recently loses its own', async () => {
  const servers = await Promise.all([1, 2, 3].map(() => plainServer((socket) => socket.write(PING))));
  const agents = port({ keptHosts: 2 });
  for (const { host } of servers) await agents.ping(host);
  await until(() => servers[0]!.server.open === 0, { what: 'the first connection to be closed' });
  expect(servers[1]!.server.open).toBe(1);
  expect(servers[2]!.server.open).toBe(1);
});

test('a request that waits for a free connection past its deadline is never sent', async () => {
  const { server, host } = await plainServer(() => {});
  const agents = port({ connectionsPerHost: 1, totalMs: 300 });
  const [first, second] = await Promise.all([
    failureOf(agents.start(host, order())),
    failureOf(agents.start(host, order())),
  ]);
  expect([first.code, second.code]).toEqual(['agent_reply_lost', 'agent_unreachable']);
  expect(server.seen).toHaveLength(1);
});

test('plain HTTP goes to loopback only', async () => {
  const host: DialHost = {
    ...dialHost({ address: '192.0.2.1:80', token: 't', fingerprint: '' }),
    tls: { dangerously_off: true },
  };
  const begun = Date.now();
  expect(await failureOf(port().ping(host))).toMatchObject({
    code: 'agent_unreachable',
    message: 'plain HTTP is for loopback only',
  });
  expect(Date.now() - begun).toBeLessThan(4_000);
});

test('a held question that is withdrawn ends at once and hangs up', async () => {
  const { server, host } = await plainServer(() => {});
  const withdraw = new AbortController();
  const asked = port().ask(host, [someJob()], { seconds: 25, cursor: 'c1', signal: withdraw.signal });
  await until(() => server.seen.length > 0, { what: 'the question to arrive' });
  withdraw.abort();
  expect(await failureOf(asked)).toMatchObject({ code: 'agent_reply_lost' });
  await until(() => server.open === 0, { what: 'the connection to be closed' });
});

test('closing the port ends what is under way', async () => {
  const { server, host } = await plainServer(() => {});
  const agents = createAgentPort();
  const asked = failureOf(agents.ping(host));
  await until(() => server.seen.length > 0, { what: 'the question to arrive' });
  await agents.close();
  expect(await asked).toMatchObject({ code: 'agent_reply_lost' });
});
