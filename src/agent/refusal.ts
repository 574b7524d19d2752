/** A request that the agent refuses: answered as `{"error": code, "message": ...}` with this status. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.name = 'Refusal';
    this.status = status;
    this.code = code;
  }
}

/**
 * What a write to the spool failed with, as a refusal where the disk is the reason: nothing of the job is then on it,
 * and the same request may be sent again.
 */
export function refusalOfDisk(error: unknown): unknown {
  const cause = DISK_TROUBLE[(error as NodeJS.ErrnoException).code ?? ''];
  return cause === undefined ? error : new Refusal(507, 'disk_full', cause);
}

const DISK_TROUBLE: Record<string, string | undefined> = {
  ENOSPC: 'the disk of the spool is full (bytes or inodes)',
  EDQUOT: 'the quota on the disk of the spool is used up',
  EROFS: 'the disk of the spool is read-only; the kernel log (dmesg) may say why',
  EIO: 'the disk of the spool fails (input/output error); the kernel log (dmesg) may say why',
};

/** @throws Refusal store_changed: what was started in the store that the request means is not known in this one */
export function refuseForAnotherStore(request: { expect_store_id?: string }, storeId: string): void {
  if (request.expect_store_id === undefined || request.expect_store_id === storeId) return;
  const message = 'this spool is another one: it does not know what was started before';
  throw new Refusal(409, 'store_changed', message);
}
