/**
 * What `redis_url` says: one server (TCP, TLS or a Unix socket), or the Sentinels that know which server it is now.
 *
 * Sentinel addresses name several hosts, which a `URL` cannot: all forms are read here, by one rule for user and
 * password. No mistake shows any part of the address, because each may be a part of a password that was not escaped.
 */

/** Where Redis is and who we are there; names as ioredis has them. */
export interface RedisAddress {
  /** The address as people may see it: without users and passwords. */
  shown: string;
  path?: string;
  host?: string;
  port?: number;
  username?: string;
  password?: string;
  db: number;
  /** With these, `name` is the primary's name there, and `host` and `port` are theirs to tell. */
  sentinels?: { host: string; port: number }[];
  name?: string;
  sentinelUsername?: string;
  sentinelPassword?: string;
  /** There for `rediss://`: to speak TLS, with the contents of PEM files. Without `ca` the usual authorities count. */
  tls?: { ca?: string; cert?: string; key?: string };
}

const FORMS = 'redis://, rediss://, redis+sentinel://, rediss+sentinel:// or unix:///';
const SOCKET = /^unix:\/\/(\/[^?#]+)(?:\?([^#]*))?$/;
/** The last `@` ends user and password, as in a `URL`. */
const NETWORK = /^(rediss?)(\+sentinel)?:\/\/(?:([^/?#]*)@)?([^@/?#]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/;
const MEMBER = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+))(?::(\d{1,5}))?$/;

const NO_SERVER =
  'must have [user:password@]host[:port] after its //: a port from 1 to 65535, an IPv6 address in brackets, and ' +
  'what is special in a password as %XX';
const PORT = 6379;
const SENTINEL_PORT = 26379;

/** @throws Error whose message says what the address must look like, and nothing of what it is */
export function parseRedisUrl(text: string): RedisAddress {
  const socket = SOCKET.exec(text);
  if (socket) return parseSocket(socket[1] ?? '', socket[2]);
  if (!/^rediss?(\+sentinel)?:\/\//.test(text)) throw new Error(`must begin with ${FORMS}`);
  const [, scheme = '', sentinel, credentials, members = '', path = '', query] = NETWORK.exec(text) ?? [];
  if (!scheme) throw new Error(NO_SERVER);
  const tls = scheme === 'rediss' && { tls: {} };
  const login = parseCredentials(credentials);
  const servers = members.split(',').map((member) => parseMember(member, sentinel ? SENTINEL_PORT : PORT));
  if (sentinel) return { ...parseSentinel(scheme, servers, path, query), ...login, ...tls };

  const [server] = servers;
  if (!server || servers.length > 1) throw new Error('can have several hosts with +sentinel only');
  parameters(query, []);
  const db = parseDb(path);
  return { shown: `${scheme}://${shownServers([server])}${shownDb(db)}`, ...server, ...login, db, ...tls };
}

/** `/NAME[/DB]?sentinel_username=...&sentinel_password=...` after the Sentinels. */
function parseSentinel(
  scheme: string,
  sentinels: { host: string; port: number }[],
  path: string,
  query: string | undefined,
): RedisAddress {
  const [name = '', db, ...rest] = path.split('/');
  // Sentinel admits no other names. A piece of a password that was not escaped may stand here, and would be shown.
  if (!/^[\w.-]+$/.test(name) || rest.length > 0) {
    throw new Error("must end in the primary's name: .../NAME or .../NAME/DB");
  }
  const given = parameters(query, ['sentinel_username', 'sentinel_password']);
  const number = parseDb(db ?? '');
  return {
    shown: `${scheme}+sentinel://${shownServers(sentinels)}/${name}${shownDb(number)}`,
    sentinels,
    name,
    ...(given.sentinel_username && { sentinelUsername: given.sentinel_username }),
    ...(given.sentinel_password && { sentinelPassword: given.sentinel_password }),
    db: number,
  };
}

function parseSocket(escaped: string, query: string | undefined): RedisAddress {
  const path = decode(escaped);
  const { username, password, db = '' } = parameters(query, ['username', 'password', 'db']);
  return {
    shown: `unix://${path}`,
    path,
    ...(username && { username }),
    ...(password && { password }),
    db: parseDb(db),
  };
}

function parseCredentials(text = ''): Pick<RedisAddress, 'username' | 'password'> {
  const colon = text.indexOf(':');
  const username = decode(colon === -1 ? text : text.slice(0, colon));
  const password = colon === -1 ? '' : decode(text.slice(colon + 1));
  return { ...(username && { username }), ...(password && { password }) };
}

function parseMember(text: string, defaultPort: number): { host: string; port: number } {
  const [, ip6, name, port = `${defaultPort}`] = MEMBER.exec(text) ?? [];
  const host = ip6 ?? name;
  if (!host || Number(port) < 1 || Number(port) > 65_535) {
    throw new Error(NO_SERVER);
  }
  return { host, port: Number(port) };
}

function parseDb(text: string): number {
  if (!/^\d{0,5}$/.test(text)) throw new Error('must name its database by a number: .../DB');
  return Number(text);
}

/** @throws Error for a parameter that is not `known`: a misspelt one must not silently be none */
function parameters(query: string | undefined, known: string[]): Record<string, string> {
  const all: Record<string, string> = {};
  for (const pair of (query ?? '').split('&').filter(Boolean)) {
    const [name = '', ...value] = pair.split('=');
    if (!known.includes(name)) {
      throw new Error(`can have ${known.length > 0 ? `only ${known.join(' and ')}` : 'nothing'} after its ?`);
    }
    all[name] = decode(value.join('='));
  }
  return all;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error('must have each % of a password as %25');
  }
}

function shownServers(servers: { host: string; port: number }[]): string {
  return servers.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',');
}

function shownDb(db: number): string {
  return db === 0 ? '' : `/${db}`;
}
