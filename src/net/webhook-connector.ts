/**
 * The connector under every webhook: a name is resolved once, each of its addresses is checked, and only those
 * that were checked are dialled. A name that changes its mind between check and connection (rebinding) gains
 * nothing; one refused address among many refuses the name.
 */
import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { buildConnector, errors } from 'undici';
import { SluiceError } from '../job/errors.ts';
import { type AddressRules, hostPort } from './addresses.ts';

export interface ConnectorDeps {
  rules: AddressRules;
  /** Whether an agent listens at this `host:port`. */
  isAgentAddress: (address: string) => Promise<boolean>;
  /** All addresses of a name. Default: the system's resolver. */
  resolve?: ((name: string) => Promise<LookupAddress[]>) | undefined;
  /** Resolving, connecting and the TLS handshake together; not longer than the whole request. */
  connectMs: number;
  /** More certificates to trust, PEM; default the system's only. */
  ca?: string | undefined;
}

export function createWebhookConnector(deps: ConnectorDeps): buildConnector.connector {
  const { resolve = resolveByTheSystem } = deps;

  return (options, callback) => {
    const end = Date.now() + deps.connectMs;
    within(deps.connectMs, check(options)).then(
      (addresses) => {
        const connect = buildConnector({
          lookup: answerWith(addresses),
          timeout: Math.max(1, end - Date.now()),
          allowH2: false,
          ...(deps.ca !== undefined && { ca: deps.ca }),
        });
        connect(options, callback);
      },
      (error: Error) => callback(error, null),
    );
  };

  async function check({ hostname, port, protocol }: buildConnector.Options): Promise<LookupAddress[]> {
    const name = hostname.replace(/^\[|\]$/g, '');
    const family = isIP(name);
    const addresses = family ? [{ address: name, family }] : await resolve(name);
    const number = Number(port) || (protocol === 'https:' ? 443 : 80);
    for (const { address } of addresses) {
      const refusal = deps.rules.refusal(address);
      if (refusal) throw forbidden(`${name} is ${address}, which may not be called: ${refusal}`);
    }
    for (const host of new Set([name, ...addresses.map(({ address }) => address)])) {
      if (await deps.isAgentAddress(hostPort(host, number))) {
        throw forbidden(`an agent listens at ${host}:${number}`);
      }
    }
    return addresses;
  }
}

/** The request's own signal has no effect before there is a connection. */
async function within<T>(ms: number, task: Promise<T>): Promise<T> {
  const enough = new AbortController();
  const late = pause(ms, undefined, { signal: enough.signal }).then(() => {
    throw new errors.ConnectTimeoutError('the name was not resolved in time');
  });
  try {
    return await Promise.race([task, late]);
  } finally {
    late.catch(() => undefined);
    enough.abort();
  }
}

/** A resolver that knows only what was checked. */
function answerWith(addresses: LookupAddress[]): LookupFunction {
  return (name, { all, family }, callback) => {
    const fitting = addresses.filter(
      (one) => !family || one.family === Number(String(family).replace('IPv', '')),
    );
    const [first] = fitting;
    if (!first) callback(new Error(`no address for ${name}`), '');
    else if (all) callback(null, fitting);
    else callback(null, first.address, first.family);
  };
}

const lookupAll = promisify(dnsLookup);
function resolveByTheSystem(name: string): Promise<LookupAddress[]> {
  return lookupAll(name, { all: true });
}

function forbidden(detail: string): SluiceError {
  return new SluiceError('callback_url_forbidden', detail);
}
