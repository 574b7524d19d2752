/** `sluice env`: the gateway's address and key, as a shell reads them. */
import { loadConfig } from '../config.ts';
import { findGateway } from './client.ts';

export async function printEnv(): Promise<void> {
  const { url, apiKey } = findGateway(loadConfig());
  for (const [name, value] of [
    ['SLUICE_URL', url],
    ['SLUICE_API_KEY', apiKey],
  ]) {
    process.stdout.write(`export ${name}='${value?.replaceAll("'", `'\\''`)}'\n`);
  }
}
