/** Conditional reads: whether what the caller has is still what there is. */

/** @param header `If-None-Match` */
export function isUnchanged(header: string | undefined, etag: string): boolean {
  const tags = header?.split(',').map((tag) => tag.trim().replace(/^W\//, '')) ?? [];
  return tags.includes('*') || tags.includes(etag);
}
