/**
 * The agent's TLS identity: a self-signed P-256 certificate, made once and kept in the data directory.
 *
 * Gateways pin the SHA-256 of the certificate, so it must never change by itself: it is made to last ten years,
 * and an unreadable one stops the agent instead of being replaced. To replace it, delete both files.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { checkSecret, ensureDirectory } from './private-files.ts';

const TEN_YEARS_MS = 10 * 365 * 24 * 3600 * 1000;

export interface TlsIdentity {
  key: string;
  cert: string;
  /** SHA-256 of the DER certificate, 64 lower-case hex digits. */
  fingerprint: string;
}

export async function loadOrMakeCertificate(directory: string): Promise<TlsIdentity> {
  const keyFile = join(directory, 'key.pem');
  const certFile = join(directory, 'cert.pem');
  ensureDirectory(directory, 0o700);
  if (!existsSync(certFile) || !existsSync(keyFile)) {
    const made = await makeCertificate();
    writeFileSync(`${keyFile}.new`, made.private, { mode: 0o600, flush: true });
    writeFileSync(`${certFile}.new`, made.cert, { mode: 0o644, flush: true });
    renameSync(`${keyFile}.new`, keyFile);
    renameSync(`${certFile}.new`, certFile);
  }
  checkSecret(keyFile);
  const cert = readFileSync(certFile, 'utf8');
  return { key: readFileSync(keyFile, 'utf8'), cert, fingerprint: fingerprintOf(cert) };
}

/** Loaded only here: it is most of what the agent loads, and needed on one start of many. */
async function makeCertificate() {
  const { generate } = await import('selfsigned');
  const name = hostname();
  return generate([{ name: 'commonName', value: name }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notAfterDate: new Date(Date.now() + TEN_YEARS_MS),
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'keyUsage', digitalSignature: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: name },
          { type: 2, value: 'localhost' },
          { type: 7, ip: '127.0.0.1' },
        ],
      },
    ],
  });
}

function fingerprintOf(cert: string): string {
  return createHash('sha256').update(new X509Certificate(cert).raw).digest('hex');
}
