/** The forms of settings that a type alone does not tell: each says in one phrase what it must look like. */
import { isIP } from 'node:net';
import Type, { type TStringOptions } from 'typebox';
import { parseCrashAt, unknownCrashPoint } from '../job/crash-points.ts';
import { parseRedisUrl } from './redis-url.ts';

/** `host:port`; an IPv6 address stands in brackets. Port 0 is any free one. */
export function hostAndPort(options: TStringOptions) {
  return Type.Refine(
    Type.String(options),
    (text) => splitHostAndPort(text) !== null,
    () => 'must be host:port, such as 127.0.0.1:7788 or [::1]:7788',
  );
}

/** A network such as `10.0.0.0/8`, or one address. */
export function network(options: TStringOptions = {}) {
  return Type.Refine(Type.String(options), isNetwork, () => 'must be a network such as 10.0.0.0/8');
}

/** A network and a port: `192.168.120.0/24:18443`, `[fd00::]/64:18443`. */
export function addressPattern(options: TStringOptions) {
  return Type.Refine(
    Type.String(options),
    isAddressPattern,
    () => 'must be a network and a port, such as 192.168.120.0/24:18443',
  );
}

/** Text of one pattern, which `phrase` tells in words. */
export function text(pattern: RegExp, phrase: string, options: TStringOptions) {
  return Type.Refine(
    Type.String(options),
    (value) => pattern.test(value),
    () => phrase,
  );
}

/** Where Redis is, in one of the forms that `redis-url.ts` reads. */
export function redisUrl(options: TStringOptions) {
  return Type.Refine(
    Type.String(options),
    (text) => mistakeInRedisUrl(text) === '',
    (text) => mistakeInRedisUrl(text),
  );
}

export function secretText(options: TStringOptions) {
  return Type.Refine(
    Type.String(options),
    (text) => /^[\x21-\x7e]+$/.test(text),
    () => 'must be printable characters without spaces',
  );
}

/** As Standard Webhooks writes secrets: `whsec_` and 24 to 64 bytes in base64. */
export function webhookSecret(options: TStringOptions) {
  return Type.Refine(
    Type.String(options),
    (text) => {
      const bytes = /^whsec_([A-Za-z0-9+/]+=*)$/.exec(text)?.[1];
      const length = Buffer.from(bytes ?? '', 'base64').length;
      return length >= 24 && length <= 64;
    },
    () => 'must be whsec_ and 24 to 64 bytes in base64',
  );
}

/** A step of `job/crash-points.ts`, as `POINT` or `POINT:NTH`. */
export function crashPoint(options: TStringOptions) {
  return Type.Refine(Type.String(options), (text) => parseCrashAt(text) !== null, unknownCrashPoint);
}

export function splitHostAndPort(text: string): { host: string; port: number } | null {
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text);
  const host = parts?.[1] ?? parts?.[2];
  const port = Number(parts?.[3]);
  return host && port <= 65_535 ? { host, port } : null;
}

function mistakeInRedisUrl(text: string): string {
  try {
    parseRedisUrl(text);
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

function isAddressPattern(text: string): boolean {
  const parts = /^(?:\[([^\]]+)\]|([0-9.]+))(\/\d+)?:(\d{1,5})$/.exec(text);
  const port = Number(parts?.[4]);
  return isNetwork(`${parts?.[1] ?? parts?.[2]}${parts?.[3] ?? ''}`) && port >= 1 && port <= 65_535;
}
