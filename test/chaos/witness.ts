/**
 * Hears every webhook as it comes, and looks at once into Redis whether what it tells is committed: a state that was
 * told first would be another one if the teller died in between. Where Redis does not answer, nobody can say.
 */
import type { Redis } from 'ioredis';
import { createKeys } from '../../src/store/keys.ts';
import type { ReceivedWebhook } from '../helpers/receiver.ts';
import type { Ledger } from './ledger.ts';

/** Beyond this a receiver refuses the timestamp, and the signature with it; only a jumped clock makes such. */
const TOLERANCE_S = 290;
const keys = createKeys('{sluice}');

/** @param connect null where there is more than one server, and nobody knows which of them is right */
export async function createWitness(ledger: Ledger, connect: (() => Promise<Redis>) | null) {
  const redis = await connect?.();

  async function hear({ id, body, timestamp, verifiedBy }: ReceivedWebhook): Promise<void> {
    const job = String(body.data.id);
    const [version, state] = [Number(body.data.version), String(body.data.state)];
    ledger.tell(job, { version, state, by: 'webhook' });
    if (verifiedBy.length !== 1 && Math.abs(timestamp - Date.now() / 1_000) < TOLERANCE_S) {
      ledger.wrong.push(`every end is told: webhook ${id} of ${job} has no good signature`);
    }
    const committed = await redis?.hget(keys.job(job), 'version').catch(() => undefined);
    if (committed === undefined) return;
    if (committed === null || Number(committed) < version) {
      ledger.wrong.push(
        `committed before told: ${job} is at version ${committed}, and version ${version} (${state}) was told`,
      );
    }
  }

  return {
    hear: (webhook: ReceivedWebhook) => void hear(webhook),
    async stop() {
      redis?.disconnect();
    },
  };
}
