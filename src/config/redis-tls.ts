/**
 * The PEM files of `redis_tls`, read once and tried as a connection will use them: a wrong one is told with its
 * setting, before anything is started, and not as one more Redis that does not answer.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';

export type RedisTlsFiles = Partial<Record<'ca' | 'cert' | 'key', string>>;

/** @param mistake told of every setting that is wrong, by its name in the file; what is returned is then of no use */
export function readRedisTls(
  files: RedisTlsFiles,
  mistake: (setting: keyof RedisTlsFiles, what: string) => void,
): RedisTlsFiles {
  if ((files.cert === undefined) !== (files.key === undefined)) {
    mistake(files.cert === undefined ? 'key' : 'cert', 'redis_tls.cert and redis_tls.key belong together');
  }
  const read: RedisTlsFiles = {};
  for (const [setting, file] of Object.entries(files) as [keyof RedisTlsFiles, string][]) {
    try {
      read[setting] = readFileSync(file, 'utf8');
    } catch (error) {
      mistake(setting, (error as Error).message);
    }
  }
  const { ca, cert, key } = read;
  if (ca !== undefined) attempt('ca', 'no certificate as PEM', () => new X509Certificate(ca));
  if (cert !== undefined && key !== undefined) {
    attempt('cert', 'no certificate of the private key in redis_tls.key, both as PEM', () =>
      createSecureContext({ cert, key }),
    );
  }
  return read;

  function attempt(setting: keyof RedisTlsFiles, what: string, use: () => unknown): void {
    try {
      use();
    } catch {
      mistake(setting, `${files[setting]} is ${what}`);
    }
  }
}
