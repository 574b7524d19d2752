/**
 * Which addresses webhooks may be sent to. Receivers are chosen by callers, the network is the gateway's: without
 * this a callback could reach the gateway's own host, a cloud's metadata, or an agent.
 *
 * `deny` wins over all. Then the more specific network decides, `allow` where it is as specific as what is refused
 * by default: `0.0.0.0/0` opens nothing, `127.0.0.0/8` does. Private networks are allowed, because that is where
 * receivers live. An IPv6 address that carries an IPv4 address must pass as both.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Never called unless `allow` names the network or a part of it. */
const REFUSED = {
  loopback: ['127.0.0.0/8', '::1/128'],
  unspecified: ['0.0.0.0/8', '::/128'],
  'link-local': ['169.254.0.0/16', 'fe80::/10'],
  multicast: ['224.0.0.0/4', 'ff00::/8'],
  broadcast: ['255.255.255.255/32'],
  // Those of AWS and others within 169.254.0.0/16 are link-local already.
  metadata: [
    '100.100.100.200/32',
    '168.63.129.16/32',
    '192.0.0.192/32',
    'fd00:ec2::254/128',
    'fd20:ce::254/128',
  ],
};

/** IPv6 networks whose addresses carry an IPv4 address, and at which byte. */
const CARRIERS: [network: string, at: number][] = [
  ['::/96', 12],
  ['::ffff:0:0:0/96', 12],
  ['64:ff9b::/96', 12],
  ['2002::/16', 2],
];

export interface AddressRules {
  /** @returns why the address may not be called, in a few words; null if it may */
  refusal(address: string): string | null;
}

interface Rule {
  network: [ipaddr.IPv4 | ipaddr.IPv6, number];
  /** Null: allowed. */
  refusal: string | null;
}

/**
 * @param lists CIDR networks, or single addresses
 * @throws RangeError naming the entry that is neither
 */
export function createAddressRules(lists: {
  allow: readonly string[];
  deny: readonly string[];
}): AddressRules {
  const rule = (text: string, refusal: string | null): Rule => ({ network: parseNetwork(text), refusal });
  const denied = lists.deny.map((text) => rule(text, `denied by ${text}`));
  const others = [
    ...lists.allow.map((text) => rule(text, null)),
    ...Object.entries(REFUSED).flatMap(([refusal, texts]) => texts.map((text) => rule(text, refusal))),
  ].sort((a, b) => b.network[1] - a.network[1]);
  const rules = [...denied, ...others];

  const decide = (address: ipaddr.IPv4 | ipaddr.IPv6) =>
    rules.find(({ network }) => address.kind() === network[0].kind() && address.match(network))?.refusal ??
    null;

  return {
    refusal(text) {
      if (!ipaddr.isValid(text)) return 'not an address';
      const address = ipaddr.process(text);
      const carried = address instanceof ipaddr.IPv6 ? carriedAddress(address) : null;
      return decide(address) ?? (carried && decide(carried));
    },
  };
}

/**
 * Checks a receiver's URL as far as that is possible without resolving its name: what the name stands for is
 * checked when it is dialled, every time.
 * @returns why it may not be called, as a sentence; null if it may
 */
export type UrlCheck = (url: string) => Promise<string | null>;

export function createUrlCheck(deps: {
  rules: AddressRules;
  /** Whether an agent listens at this `host:port`. */
  isAgentAddress: (address: string) => Promise<boolean>;
}): UrlCheck {
  return async (text) => {
    const url = URL.parse(text);
    if (!url) return 'it is not a URL';
    if (url.protocol !== 'http:' && url.protocol !== 'https:') return 'only http and https are called';
    if (url.username || url.password) return 'it must not carry a user name or password';
    const port = portOf(url);
    if (port === 0) return 'port 0 cannot be called';
    const name = hostOf(url);
    const literal = isIP(name) ? name : isLocalhost(name) ? '127.0.0.1' : null;
    const refusal = literal && deps.rules.refusal(literal);
    if (refusal) return `${name} may not be called: ${refusal}`;
    const address = hostPort(name, port);
    return (await deps.isAgentAddress(address)) ? `an agent listens at ${address}` : null;
  };
}

/** `host:port`, with brackets around IPv6, as hosts are registered. */
export function hostPort(name: string, port: number): string {
  return name.includes(':') ? `[${name}]:${port}` : `${name}:${port}`;
}

/** The URL parser has made every spelling of an IPv4 address (`0x7f.1`, `2130706433`) the usual one by then. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
}

function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : 80;
}

function isLocalhost(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost');
}

function carriedAddress(address: ipaddr.IPv6): ipaddr.IPv4 | null {
  const carrier = CARRIERS.find(([network]) => address.match(ipaddr.IPv6.parseCIDR(network)));
  if (!carrier) return null;
  const bytes = address.toByteArray().slice(carrier[1], carrier[1] + 4);
  return new ipaddr.IPv4(bytes);
}

function parseNetwork(text: string): Rule['network'] {
  if (ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text);
  if (!isIP(text)) throw new RangeError(`${text} is neither a network (CIDR) nor an address`);
  const address = ipaddr.parse(text);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}
