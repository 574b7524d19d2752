/** `sluice up` with SLUICE_DURABILITY: its own Redis is started as the setting says, and found to be so. */
import { expect, it } from 'vitest';
import { dataDirAt } from '../../src/cli/up/data-dir.ts';
import { startGateway } from '../helpers/gateway.ts';
import { withClient } from '../helpers/redis-process.ts';

it.each(['always', 'everysec'])('with %s its Redis syncs so, and it is ready', async (durability) => {
  const gateway = await startGateway({ env: { SLUICE_DURABILITY: durability } });
  try {
    expect((await gateway.call('GET', '/readyz')).status).toBe(200);
    const { redisSocket: path } = dataDirAt(gateway.dataDir);
    const found = await withClient({ path }, (client) => client.config('GET', 'appendfsync'));
    expect(found).toEqual(['appendfsync', durability]);
  } finally {
    await gateway.stop();
  }
});
