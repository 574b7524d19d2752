/**
 * Reads the API's certificate files as its server will read them, so that a wrong one is told in one line before
 * anything is started. Keeps nothing of them.
 */
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Config } from '../config.ts';
import { Failure } from './failure.ts';

/** @throws Failure that names the file */
export function checkTlsFiles(tls: Config['tls']): void {
  if (tls === null) return;
  const cert = read('--tls-cert', tls.certFile);
  const key = read('--tls-key', tls.keyFile);
  const ca = tls.clientCaFile === null ? undefined : read('--tls-client-ca', tls.clientCaFile);
  try {
    createSecureContext({ cert, key, ...(ca !== undefined && { ca }) });
  } catch (error) {
    const why = (error as Error).message;
    throw new Failure(
      `${tls.certFile} and ${tls.keyFile} are no certificate and its private key, both as PEM (${why})`,
    );
  }
}

function read(flag: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Failure(`${flag}: ${file} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
