/**
 * The agent of `sluice up --agent`: a child process on this machine, registered as the host `local` with its
 * certificate pinned. Its jobs survive it: a later `sluice up` on the same data finds them again.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import type { Logger } from 'pino';
import { Failure } from '../failure.ts';
import { type Child, startChild } from './child.ts';
import type { DataDir } from './data-dir.ts';

export interface LocalAgent {
  address: string;
  token: string;
  /** What the gateway pins. */
  fingerprint: string;
  child: Child;
}

export interface LocalAgentDeps {
  data: DataDir;
  /** `HOST:PORT` */
  address: string;
  env: Record<string, string | undefined>;
  log: Logger;
  signal: AbortSignal;
  onGivenUp: (error: Error) => void;
}

export async function startLocalAgent(deps: LocalAgentDeps): Promise<LocalAgent> {
  const { data, address, env, log, signal, onGivenUp } = deps;
  const child = await startChild({
    name: 'agent',
    command: process.execPath,
    args: [
      join(import.meta.dirname, '../../agent', `command-line${extname(import.meta.filename)}`),
      ...['--listen', address, '--data', data.agentDir, '--token-file', data.agentTokenFile],
    ],
    cwd: data.agentDir,
    env,
    pidFile: data.pidFile('agent'),
    ready: () => isOurs(address, data),
    readyTimeoutMs: 30_000,
    graceMs: 10_000,
    log,
    signal,
    onGivenUp,
  });
  const token = readFileSync(data.agentTokenFile, 'utf8').trim();
  return { address, token, fingerprint: pinnable(data), child };
}

/** What a killed `sluice up` left behind has ended by now: whoever else answers there stays, and ours will not get in. */
async function isOurs(address: string, data: DataDir): Promise<boolean> {
  if ((await fingerprintAt(address)) === pinnable(data)) return true;
  throw new Failure(
    `another agent listens at ${address}: choose another address with --agent, or register that one with \`hosts set\``,
  );
}

/** Read from the agent's own files: whoever else may listen at that address does not get pinned. */
function pinnable(data: DataDir): string {
  const certificate = new X509Certificate(readFileSync(join(data.agentDir, 'tls', 'cert.pem')));
  return plain(certificate.fingerprint256);
}

function fingerprintAt(address: string): Promise<string> {
  const { hostname, port } = new URL(`https://${address}`);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false, timeout: 2_000 });
    socket.once('secureConnect', () => {
      const { fingerprint256 } = socket.getPeerCertificate(true) as DetailedPeerCertificate;
      socket.destroy();
      resolve(plain(fingerprint256));
    });
    socket.once('timeout', () => socket.destroy(new Error('no answer')));
    socket.once('error', reject);
  });
}

function plain(fingerprint: string): string {
  return fingerprint.replaceAll(':', '').toLowerCase();
}
