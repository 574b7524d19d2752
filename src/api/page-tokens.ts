/**
 * Page tokens: opaque, and good only for the list and filters that they were made for. Else the second page of
 * one list could be read as a page of another, with jobs missing between them.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { SluiceError } from '../job/errors.ts';

export interface PageTokens {
  /** @returns null at the end of the list */
  issue(after: string | null, filters: unknown): string | null;
  /** @throws SluiceError invalid_page_token */
  read(token: string | undefined, filters: unknown): string | undefined;
}

const SEAL_BYTES = 12;

export function createPageTokens(pepper: Buffer): PageTokens {
  function seal(after: string, filters: unknown): Buffer {
    const text = JSON.stringify(['page', after, filters]);
    return createHmac('sha256', pepper).update(text).digest().subarray(0, SEAL_BYTES);
  }

  return {
    issue(after, filters) {
      if (after === null) return null;
      return Buffer.concat([seal(after, filters), Buffer.from(after)]).toString('base64url');
    },
    read(token, filters) {
      if (token === undefined) return undefined;
      const bytes = Buffer.from(token, 'base64url');
      const after = bytes.subarray(SEAL_BYTES).toString();
      const sealed =
        bytes.length > SEAL_BYTES && timingSafeEqual(bytes.subarray(0, SEAL_BYTES), seal(after, filters));
      if (sealed) return after;
      const detail = 'the page_token belongs to another list or other filters';
      throw new SluiceError('invalid_page_token', detail, { fields: { field: 'page_token' } });
    },
  };
}
