/**
 * `POST /v1/hosts/{name}:trust`: the certificate that the host shows now becomes the pinned one. It is found out
 * without saying anything to whoever answers: the token goes there only once it is pinned.
 */

import Type from 'typebox';
import type { AgentPort } from '../../../job/agent-port.ts';
import { hasCode, SluiceError } from '../../../job/errors.ts';
import type { HostConfig } from '../../../job/host.ts';
import type { HostStore } from '../../../store/hosts.ts';
import type { Calling } from '../../calling.ts';
import type { Api } from '../../instance.ts';
import { requireHost, visibleHost } from './access.ts';
import type { LookAgain } from './look-again.ts';
import { HOST_PATH, HostParams } from './path.ts';
import { HostView, hostView } from './view.ts';

export interface TrustHostDeps {
  hosts: Pick<HostStore, 'get' | 'put' | 'pin' | 'health' | 'jobCounts' | 'openToken'>;
  agents: Pick<AgentPort, 'ping'>;
  calling: Calling;
  lookAgain: LookAgain;
}

/** No certificate has it, so that no connection is ever taken and nothing is said on it. */
const NOBODYS_FINGERPRINT = '0'.repeat(64);

export function trustHostRoute(app: Api, { hosts, agents, calling, lookAgain }: TrustHostDeps): void {
  app.post(
    `${HOST_PATH}::trust`,
    {
      config: { scope: 'hosts:write', audit: 'host.trust', bodyOptional: true },
      schema: {
        tags: ['Hosts'],
        summary: 'Take the certificate that a host shows now',
        description:
          'For hosts with `tls.pin` or `tls.fingerprint`. Compare it first with what the agent says.',
        params: HostParams,
        body: Type.Object({}, { additionalProperties: false }),
        response: { 200: HostView },
      },
    },
    async (request) => {
      const { name } = request.params;
      request.audited.host = name;
      const host = visibleHost(request.caller, name, await hosts.get(name));
      requireHost(request.caller, name);
      const fingerprint = await shownBy(host);
      request.audited.fingerprint = fingerprint;
      await take(host, fingerprint);
      lookAgain(name);
      const [now, health, jobs] = await Promise.all([
        hosts.get(name),
        hosts.health(name),
        hosts.jobCounts(name),
      ]);
      return hostView(visibleHost(request.caller, name, now), health, jobs);
    },
  );

  async function shownBy(host: HostConfig): Promise<string> {
    if (!('pin' in host.tls || 'fingerprint' in host.tls)) {
      throw new SluiceError(
        'invalid_request',
        `${host.name} has no pinned certificate: its tls says otherwise`,
        {
          fields: { field: 'tls' },
        },
      );
    }
    const tls = { fingerprint: NOBODYS_FINGERPRINT };
    try {
      await calling.call(host, (dial) => agents.ping({ ...dial, tls }), { evenIfDown: true });
    } catch (error) {
      const shown = hasCode(error, 'agent_certificate_changed') && error.fields.shown_fingerprint;
      if (typeof shown === 'string') return shown;
      throw error;
    }
    throw new SluiceError('internal', 'a certificate that nobody has was accepted');
  }

  async function take(host: HostConfig, fingerprint: string): Promise<void> {
    if ('pin' in host.tls) return hosts.pin(host.name, fingerprint, { replace: true });
    // The token is carried along because the operator has just said who may have it.
    await hosts.put(host.name, { tls: { fingerprint }, token: hosts.openToken(host) });
  }
}
