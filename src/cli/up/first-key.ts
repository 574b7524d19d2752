/**
 * The first API key of `sluice up`: made with the data, kept in a file that only its owner reads, so that commands
 * and scripts on this machine can call the gateway at once.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { ALL_GRANTS } from '../../store/api-keys/grants.ts';
import type { ApiKeyStore } from '../../store/api-keys.ts';

export interface KeyFile {
  url: string;
  apiKey: string;
  /** Signs the callbacks of the key's jobs. */
  webhookSecret: string;
}

const NAME = 'first';

/** Makes the key, or a new one where the file or the key is gone; the file always tells the present address. */
export async function ensureFirstKey(
  keys: Pick<ApiKeyStore, 'createKey' | 'revokeKey' | 'authenticate'>,
  file: string,
  url: string,
): Promise<void> {
  const kept = readKeyFile(file);
  if (kept && (await keys.authenticate(kept.apiKey))) {
    if (kept.url !== url) writeKeyFile(file, { ...kept, url });
    return;
  }
  await keys.revokeKey(NAME);
  const { token, callbackSecret } = await keys.createKey(NAME, ALL_GRANTS);
  writeKeyFile(file, { url, apiKey: token, webhookSecret: callbackSecret });
}

/** @returns null where there is no such file, or it is not one of these */
export function readKeyFile(file: string): KeyFile | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return null;
  }
  const value = (name: string) => new RegExp(`^${name}=(.+)$`, 'm').exec(text)?.[1];
  const [url, apiKey, webhookSecret] = ['SLUICE_URL', 'SLUICE_API_KEY', 'SLUICE_WEBHOOK_SECRET'].map(value);
  return url && apiKey && webhookSecret ? { url, apiKey, webhookSecret } : null;
}

function writeKeyFile(file: string, { url, apiKey, webhookSecret }: KeyFile): void {
  const lines = [
    '# Made by `sluice up`. For a shell: set -a; . THIS_FILE; set +a',
    `SLUICE_URL=${url}`,
    `SLUICE_API_KEY=${apiKey}`,
    `SLUICE_WEBHOOK_SECRET=${webhookSecret}`,
  ];
  writeFileSync(`${file}.new`, `${lines.join('\n')}\n`, { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
}
