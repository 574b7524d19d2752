/**
 * What an operator can do about a host that is set up wrongly. Such a host is `misconfigured`, not down: waiting
 * mends none of these.
 */
import type { ErrorCode } from './errors.ts';

export const MISCONFIGURED: Partial<Record<ErrorCode, string>> = {
  agent_token_refused:
    "Set the host's token to the one in the agent's token file (sluice hosts set NAME --token-file FILE).",
  agent_certificate_changed:
    'If the agent was reinstalled on purpose, take its new certificate (sluice hosts trust NAME, or the verb :trust); else find out who answers there.',
  agent_address_refused: "Add the gateway's address to the agent's list of allowed addresses.",
  agent_unfit:
    'Mend on the host what the cause names, or set launcher to false for it (sluice hosts set NAME --no-launcher).',
};
