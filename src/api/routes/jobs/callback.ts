/** Whether a job may name an address that is told of its end. */
import { SluiceError } from '../../../job/errors.ts';
import type { ApiKeyStore } from '../../../store/api-keys.ts';

export interface CallbackDeps {
  apiKeys: Pick<ApiKeyStore, 'callbackSecret'>;
  /** @returns why this address may not be called; null if it may */
  refuseCallback: (url: string) => Promise<string | null>;
}

/**
 * @param owner the API key whose secret signs the deliveries
 * @throws SluiceError callback_url_forbidden, callback_secret_missing
 */
export async function checkCallback(deps: CallbackDeps, url: string | null, owner: string): Promise<void> {
  if (url === null) return;
  const field = { fields: { field: 'callback_url' } };
  const refusal = await deps.refuseCallback(url);
  if (refusal !== null) throw new SluiceError('callback_url_forbidden', refusal, field);
  if ((await deps.apiKeys.callbackSecret(owner)) !== null) return;
  throw new SluiceError('callback_secret_missing', `the API key ${owner} has no callback secret`, field);
}
