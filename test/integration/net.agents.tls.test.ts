import { generate } from 'selfsigned';
import { afterEach, expect, test } from 'vitest';
import type { DialHost } from '../../src/job/agent-port.ts';
import { createAgentPort } from '../../src/net/agents.ts';
import {
  dialHost,
  failureOf,
  httpReply,
  someJob,
  startOrder,
  startRawServer,
} from '../helpers/agent-port.ts';
import { makeCertificate } from '../helpers/base-agent.certificate.ts';
import { startBaseAgent } from '../helpers/base-agent.ts';

const TOKEN = 'a-token-that-must-stay-here';
const toClose: { close(): Promise<void> }[] = [];

afterEach(async () => {
  for (const one of toClose.splice(0).reverse()) await one.close();
});

function port() {
  const made = createAgentPort();
  toClose.push(made);
  return made;
}

/** A host that shows `certificate` and answers every request as an agent's `/ping`. */
async function hostShowing(certificate: { key: string; cert: string }) {
  const server = await startRawServer(
    (socket) => socket.write(httpReply(200, '{"status":"ok"}')),
    certificate,
  );
  toClose.push(server);
  const host = (tls: DialHost['tls'], more: Partial<DialHost> = {}) =>
    dialHost({ address: server.address, token: TOKEN, fingerprint: '' }, { tls, ...more });
  return { server, host };
}

test('the certificate of the configured fingerprint is accepted, and told with the answer', async () => {
  const certificate = await makeCertificate();
  const { host } = await hostShowing(certificate);
  const { fingerprint } = await port().ping(host({ fingerprint: certificate.fingerprint }));
  expect(fingerprint).toBe(certificate.fingerprint);
});

test('a fingerprint may be written as other tools print it', async () => {
  const certificate = await makeCertificate();
  const { host } = await hostShowing(certificate);
  const printed = certificate.fingerprint.toUpperCase().match(/../g)!.join(':');
  await port().ping(host({ fingerprint: printed }));
});

test('a host that shows another certificate is told nothing: no token, no request', async () => {
  const [expected, shown] = [await makeCertificate(), await makeCertificate()];
  const { server, host } = await hostShowing(shown);
  const error = await failureOf(
    port().start(host({ fingerprint: expected.fingerprint }), startOrder(someJob())),
  );
  expect(error).toMatchObject({
    code: 'agent_certificate_changed',
    retry: 'safe',
    fields: { shown_fingerprint: shown.fingerprint },
  });
  expect(server.seen).toEqual([]);
});

test('a certificate replaced on a running agent is noticed on the next connection, before the token is sent', async () => {
  const agent = await startBaseAgent({ generation: 'C' });
  toClose.push(agent);
  const agents = port();
  const host = dialHost(agent);
  await agents.ping(host);
  const pings = agent.requests['/ping'];
  await agent.replaceCertificate();
  // The kept connection was broken with the change; whether that is seen first is up to the moment.
  let error = await failureOf(agents.ping(host));
  if (error.code === 'agent_reply_lost') error = await failureOf(agents.ping(host));
  expect(error.code).toBe('agent_certificate_changed');
  expect(agent.requests['/ping']).toBe(pings);
});

test('first use takes what is shown and tells it; from then on only that is accepted', async () => {
  const certificate = await makeCertificate();
  const { host } = await hostShowing(certificate);
  const agents = port();
  const { fingerprint } = await agents.ping(host({ pin: 'first_use' }));
  expect(fingerprint).toBe(certificate.fingerprint);
  await agents.ping(host({ pin: 'first_use' }, { pinned_fingerprint: fingerprint }));
  const other = await makeCertificate();
  expect(
    await failureOf(agents.ping(host({ pin: 'first_use' }, { pinned_fingerprint: other.fingerprint }))),
  ).toMatchObject({ code: 'agent_certificate_changed' });
});

test('first use asks on a connection of its own: what is pinned was shown now', async () => {
  const { server, host } = await hostShowing(await makeCertificate());
  const agents = port();
  await agents.ping(host({ pin: 'first_use' }));
  await agents.ping(host({ pin: 'first_use' }));
  expect(server.connections).toBe(2);
});

test('a changed pin does not meet a connection that was proven under the old one', async () => {
  const certificate = await makeCertificate();
  const { host } = await hostShowing(certificate);
  const agents = port();
  await agents.ping(host({ fingerprint: certificate.fingerprint }));
  const error = await failureOf(agents.ping(host({ fingerprint: '0'.repeat(64) })));
  expect(error.code).toBe('agent_certificate_changed');
});

test('a session is never resumed: every connection shows its certificate anew', async () => {
  const certificate = await makeCertificate();
  const { server, host } = await hostShowing(certificate);
  const agents = port();
  const both = [host({ fingerprint: certificate.fingerprint }), host({ insecure: true })];
  for (const one of both) {
    await agents.ping(one);
    const second = agents.ping(one);
    await agents.ping(one);
    await second;
  }
  expect(server.resumed).toBe(0);
  expect(server.connections).toBeGreaterThanOrEqual(4);
});

test('insecure takes any certificate', async () => {
  const certificate = await makeCertificate();
  const { host } = await hostShowing(certificate);
  expect((await port().ping(host({ insecure: true }))).fingerprint).toBe(certificate.fingerprint);
});

test('a self-signed certificate given as ca is accepted by itself, whatever name it carries', async () => {
  const certificate = await generate([{ name: 'commonName', value: 'something.else' }], {
    keyType: 'ec',
    algorithm: 'sha256',
  });
  const { host } = await hostShowing({ key: certificate.private, cert: certificate.cert });
  await port().ping(host({ ca: certificate.cert }));
});

test('a damaged certificate beside the right one in the ca does no harm', async () => {
  const certificate = await makeCertificate();
  const { host } = await hostShowing(certificate);
  const damaged = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
  await port().ping(host({ ca: `${certificate.cert.trim()}\n${damaged}` }));
});

test('a certificate that the ca did not issue is refused before the token is sent', async () => {
  const { server, host } = await hostShowing(await makeCertificate());
  const error = await failureOf(port().ping(host({ ca: (await makeCertificate()).cert })));
  expect(error).toMatchObject({ code: 'agent_certificate_changed' });
  expect(server.seen).toEqual([]);
});

test('a certificate that the ca issued must carry the address or the registered name', async () => {
  const authority = await generate([{ name: 'commonName', value: 'Test CA' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    extensions: [{ name: 'basicConstraints', cA: true, critical: true }],
  });
  const issued = await generate([{ name: 'commonName', value: 'web1.example' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    ca: { key: authority.private, cert: authority.cert },
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'web1.example' }] }],
  });
  const { server, host } = await hostShowing({ key: issued.private, cert: issued.cert });
  const agents = port();
  await agents.ping(host({ ca: authority.cert }, { name: 'web1.example' }));
  const seen = server.seen.length;
  const error = await failureOf(agents.ping(host({ ca: authority.cert }, { name: 'web2.example' })));
  expect(error).toMatchObject({ code: 'agent_certificate_changed' });
  expect(server.seen.length).toBe(seen);
});
