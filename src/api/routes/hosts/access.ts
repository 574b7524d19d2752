/** Which hosts a key may see and change: those that its patterns name. */
import { SluiceError } from '../../../job/errors.ts';
import type { HostConfig } from '../../../job/host.ts';
import { type ApiKey, mayUseHost } from '../../../store/api-keys.ts';

/** @throws SluiceError forbidden */
export function requireHost(caller: Pick<ApiKey, 'name' | 'hosts'>, name: string): void {
  if (mayUseHost(caller, name)) return;
  throw new SluiceError('forbidden', `the API key ${caller.name} may not use the host ${name}`);
}

/** @throws SluiceError not_found, also where the key may not see it */
export function visibleHost(
  caller: Pick<ApiKey, 'hosts'>,
  name: string,
  host: HostConfig | null,
): HostConfig {
  if (host && mayUseHost(caller, name)) return host;
  throw new SluiceError('not_found', `there is no host ${name}`);
}
