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

/** @throws Refusal store_changed: what was started in the store that the request means is not known in this one */
export function refuseForAnotherStore(request: { expect_store_id?: string }, storeId: string): void {
  if (request.expect_store_id === undefined || request.expect_store_id === storeId) return;
  const message = 'this spool is another one: it does not know what was started before';
  throw new Refusal(409, 'store_changed', message);
}
