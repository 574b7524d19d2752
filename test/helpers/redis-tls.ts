/** A Redis that speaks TLS only, and the certificates for it: an authority, a server on 127.0.0.1, and one of ours. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import { freePort, redisServer } from './redis.ts';
import { type Reach, startRedisProcess } from './redis-process.ts';

/** PEM files in a directory of their own. */
export interface TlsFiles {
  dir: string;
  ca: string;
  /** The server's, for 127.0.0.1. */
  cert: string;
  key: string;
  /** Ours, by the same authority. */
  clientCert: string;
  clientKey: string;
  /** What a test that connects by itself trusts and shows. */
  own: { ca: string; cert: string; key: string };
}

export async function makeTlsFiles(): Promise<TlsFiles> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-test-tls-'));
  const authority = await generate([{ name: 'commonName', value: 'authority of the tests' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true },
    ],
  });
  const issue = (name: string) =>
    generate([{ name: 'commonName', value: name }], {
      keyType: 'ec',
      algorithm: 'sha256',
      ca: { key: authority.private, cert: authority.cert },
      extensions: [
        { name: 'basicConstraints', cA: false },
        { name: 'keyUsage', digitalSignature: true },
        { name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] },
      ],
    });
  const [server, client] = await Promise.all([issue('redis'), issue('sluice')]);
  const file = async (name: string, text: string) => {
    await writeFile(join(dir, name), text, { mode: 0o600 });
    return join(dir, name);
  };
  return {
    dir,
    own: { ca: authority.cert, cert: client.cert, key: client.private },
    ca: await file('ca.pem', authority.cert),
    cert: await file('server.pem', server.cert),
    key: await file('server.key', server.private),
    clientCert: await file('client.pem', client.cert),
    clientKey: await file('client.key', client.private),
  };
}

/** How a server or a Sentinel is told to speak TLS, and nothing else, at this port. */
export function tlsSettings(files: TlsFiles, port: number, clients: 'yes' | 'no' = 'no'): string[] {
  const own = ['--tls-cert-file', files.cert, '--tls-key-file', files.key, '--tls-ca-cert-file', files.ca];
  return ['--port', '0', '--tls-port', `${port}`, '--tls-auth-clients', clients, ...own];
}

/** @param clients whether callers must show a certificate of the same authority */
export async function startTlsRedis(files: TlsFiles, clients: 'yes' | 'no' = 'no') {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-test-redis-'));
  const port = await freePort();
  const reach: Reach = { host: '127.0.0.1', port, tls: files.own };
  const command = [
    ...redisServer(),
    '--bind',
    '127.0.0.1',
    '--dir',
    dir,
    ...tlsSettings(files, port, clients),
  ];
  const server = await startRedisProcess(command, reach);
  return {
    url: `rediss://127.0.0.1:${port}`,
    async stop() {
      await server.kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
