/**
 * Proves a host before anything is said to it: a connector for undici that hands out a socket only after the
 * certificate was compared with the host's `tls`. Until then no byte of a request, so no token, has left.
 *
 * Node's own `checkServerIdentity` is skipped for certificates that fail to verify and for resumed sessions;
 * so the comparison happens here, on every connection, and sessions are never resumed.
 */
import { X509Certificate } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import {
  checkServerIdentity,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  TLSSocket,
} from 'node:tls';
import { buildConnector } from 'undici';
import type { DialHost } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';

/** Whom to expect; of a host, all but its token. */
export type Expected = Pick<DialHost, 'name' | 'address' | 'tls' | 'pinned_fingerprint'>;

export interface AgentConnector {
  connect: buildConnector.connector;
  /** sha256 of the last certificate that was accepted; null before and without TLS. */
  shown(): string | null;
}

/**
 * A connector to one host. Its errors are `agent_unreachable` or `agent_certificate_changed`: nothing was sent.
 * @param connectMs for name, TCP and TLS together
 */
export function createAgentConnector(host: Expected, connectMs: number): AgentConnector {
  const name = hostNameOf(host.address);
  const given = 'ca' in host.tls ? fingerprintsIn(host.tls.ca) : [];
  const dial = buildConnector({
    timeout: connectMs,
    allowH2: false,
    maxCachedSessions: 0,
    keepAlive: true,
    // Not trust: `mistrust` below decides, with what Node found out among other things.
    rejectUnauthorized: false,
    secureContext: contextFor(host.tls),
    ...('ca' in host.tls && {
      checkServerIdentity: (_: string, shownNow: PeerCertificate) =>
        given.includes(normal(shownNow.fingerprint256)) ? undefined : nameMismatch(host, name, shownNow),
    }),
  });
  let shown: string | null = null;

  return {
    shown: () => shown,
    connect(options, callback) {
      if ('dangerously_off' in host.tls && !isLoopback(name)) {
        return callback(unreachable('plain HTTP is for loopback only'), null);
      }
      dial(options, (error, socket) => {
        if (error) return callback(unreachable(reasonOf(error), error), null);
        const fingerprint = socket instanceof TLSSocket ? fingerprintOf(socket) : null;
        const doubt = mistrust(host, socket as Socket, fingerprint);
        if (doubt) {
          (socket as Socket).destroy();
          return callback(doubt, null);
        }
        shown = fingerprint;
        callback(null, socket as Socket);
      });
    },
  };
}

/** One for all hosts without a CA of their own: a context costs more than a connection, and holds nothing of a host. */
let sharedContext: SecureContext | null = null;

function contextFor(tls: Expected['tls']): SecureContext {
  if ('ca' in tls) return createSecureContext({ ca: tls.ca });
  sharedContext ??= createSecureContext();
  return sharedContext;
}

/** Why this socket must not be used, or null. */
function mistrust(host: Expected, socket: Socket, fingerprint: string | null): SluiceError | null {
  if ('dangerously_off' in host.tls) {
    const local = isLoopback(socket.remoteAddress ?? '');
    return local ? null : unreachable('plain HTTP is for loopback only');
  }
  if (fingerprint === null) return unreachable('the host showed no certificate');
  if ('insecure' in host.tls) return null;
  if ('ca' in host.tls) {
    const { authorized, authorizationError } = socket as TLSSocket;
    return authorized ? null : changed(`its CA does not vouch for it (${authorizationError})`, fingerprint);
  }
  const pin = 'fingerprint' in host.tls ? host.tls.fingerprint : host.pinned_fingerprint;
  if (pin === null || normal(pin) === fingerprint) return null;
  return changed('it is not the pinned one', fingerprint);
}

/**
 * With a `ca`: a certificate that stands in the file itself is as good as pinned, whatever names it carries. One
 * that the CA issued must carry the address, or the registered name (certificates seldom carry IP addresses);
 * else any host of that CA could pass for any other.
 */
function nameMismatch(host: Expected, name: string, certificate: PeerCertificate): Error | undefined {
  const mismatch = checkServerIdentity(name, certificate);
  return mismatch && checkServerIdentity(host.name, certificate) ? mismatch : undefined;
}

/** Of the certificates in a PEM file; a damaged one is left out, because nothing may be thrown in a handshake. */
function fingerprintsIn(pem: string): string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.flatMap((block) => {
    try {
      return normal(new X509Certificate(block).fingerprint256);
    } catch {
      return [];
    }
  });
}

/** @throws SluiceError agent_unreachable for what is no `host:port` */
function hostNameOf(address: string): string {
  const url = URL.parse(`https://${address}`);
  if (!url) throw unreachable('its address is not host:port');
  return url.hostname.replace(/^\[|\]$/g, '');
}

const fingerprintOf = (socket: TLSSocket) => {
  const certificate = socket.getPeerX509Certificate();
  return certificate ? normal(certificate.fingerprint256) : null;
};

/** As it is compared and kept: lower-case hex without colons. */
const normal = (fingerprint: string) => fingerprint.replaceAll(':', '').toLowerCase();

const isLoopback = (name: string) =>
  name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'));

function reasonOf(error: Error & { code?: string }): string {
  const code = error.code ?? '';
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return 'no connection in time';
  if (code === 'EPROTO' || code.startsWith('ERR_SSL')) return 'the host does not speak TLS there';
  return code ? `no connection (${code})` : 'no connection';
}

const unreachable = (detail: string, cause?: Error) =>
  new SluiceError('agent_unreachable', detail, { cause });

const changed = (why: string, fingerprint: string) =>
  new SluiceError('agent_certificate_changed', `The host shows another certificate: ${why}`, {
    fields: { shown_fingerprint: fingerprint },
  });
