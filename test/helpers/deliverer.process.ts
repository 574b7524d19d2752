/** A process that delivers webhooks until it is killed: `node deliverer.process.ts <redis url> <timeout in ms>`. */
import { createRig } from './deliverer.ts';
import { openStores } from './stores.ts';

const [url = '', timeoutMs = '1000'] = process.argv.slice(2);
const stores = await openStores(url);
const rig = createRig(stores, { timeoutMs: Number(timeoutMs), leaseMs: Number(timeoutMs) + 500 });
rig.deliverer.start();
setInterval(() => void rig.deliverer.sweepDeliveries().catch(() => undefined), 200);
process.stdout.write('ready\n');
