/**
 * The form of an API key: `slk_<8 id>_<43 secret>_<6 checksum>`, base62 throughout.
 *
 * The id is what logs and lists show. The checksum lets a scanner tell a leaked key from a look-alike, and
 * lets the gateway refuse garbage without asking Redis. Knowing the form helps nobody: the secret is 256 bits.
 */
import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const TOKEN = /^slk_([0-9A-Za-z]{8})_[0-9A-Za-z]{43}_([0-9A-Za-z]{6})$/;

export function mintToken(): { id: string; token: string } {
  const id = base62(randomBytes(8), 8);
  const body = `slk_${id}_${base62(randomBytes(32), 43)}`;
  return { id, token: `${body}_${checksum(body)}` };
}

/** @returns the key's id, or null if this cannot be one of our keys */
export function tokenId(token: string): string | null {
  const match = TOKEN.exec(token);
  const [, id, check] = match ?? [];
  if (id === undefined || check === undefined) return null;
  return checksum(token.slice(0, -7)) === check ? id : null;
}

/** Whether `sluice keys create` has made it, here or elsewhere. */
export function isIssued(token: string): boolean {
  return tokenId(token) !== null;
}

function checksum(text: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(text));
  return base62(bytes, 6);
}

/** The last `length` base62 digits of a big-endian number. */
function base62(bytes: Buffer, length: number): string {
  let rest = BigInt(`0x${bytes.toString('hex')}`);
  let text = '';
  for (let i = 0; i < length; i++) {
    text = DIGITS.charAt(Number(rest % 62n)) + text;
    rest /= 62n;
  }
  return text;
}
