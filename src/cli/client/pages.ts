/** Reads a list page by page. */
import type { Client, RequestOptions } from '../client.ts';
import { Failure } from '../failure.ts';

const PAGE_SIZE = 100;

/** @param limit how many items are wanted at most */
export async function readPages<T>(
  client: Client,
  path: string,
  filters: NonNullable<RequestOptions['query']>,
  limit: number,
): Promise<T[]> {
  if (limit < 1) throw new Failure('--limit must be 1 or more');
  const items: T[] = [];
  for (let token: string | undefined; items.length < limit; ) {
    const page_size = `${Math.min(limit - items.length, PAGE_SIZE)}`;
    const query = { ...filters, page_size, page_token: token };
    const page = await client.request<{ items: T[]; next_page_token: string | null }>('GET', path, { query });
    items.push(...page.items);
    if (page.next_page_token === null) break;
    token = page.next_page_token;
  }
  return items;
}
