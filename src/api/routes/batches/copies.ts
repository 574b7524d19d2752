/**
 * What a batch may come to in Redis: each of its jobs keeps a command and an environment of its own, so that a request of
 * 100 KB for ten thousand hosts would be a gigabyte there.
 */
import { SluiceError } from '../../../job/errors.ts';
import { environmentBytes } from '../jobs/order.ts';
import { type BatchBody, MOST_COPIED_BYTES } from './submit.schema.ts';

/** @throws SluiceError invalid_request with the largest field */
export function checkCopies(
  { command, env = {}, secret_env = {} }: Pick<BatchBody, 'command' | 'env' | 'secret_env'>,
  hosts: number,
): void {
  const sizes: [field: string, bytes: number][] = [
    ['command', Buffer.byteLength(command)],
    ['env', environmentBytes(env)],
    ['secret_env', environmentBytes(secret_env)],
  ];
  const perHost = sizes.reduce((sum, [, bytes]) => sum + bytes, 0);
  if (hosts * perHost <= MOST_COPIED_BYTES) return;
  const [field] = sizes.reduce((largest, size) => (size[1] > largest[1] ? size : largest));
  const most = Math.floor(MOST_COPIED_BYTES / hosts);
  const detail = `command and environment are ${perHost} bytes, of which each of ${hosts} hosts gets a copy: at most ${most} fit into the 64 MiB of a batch`;
  throw new SluiceError('invalid_request', detail, { fields: { field } });
}
