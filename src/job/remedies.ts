/** What an operator can do about what went wrong: said wherever the trouble is. */
import type { ErrorCode } from './errors.ts';
import type { Outcome, OutcomeKind } from './outcome.ts';

/** About a host that is set up wrongly. Such a host is `misconfigured`, not down: waiting mends none of these. */
export const MISCONFIGURED: Partial<Record<ErrorCode, string>> = {
  agent_token_refused:
    "Set the host's token to the one in the agent's token file (sluice hosts set NAME --token-file FILE).",
  agent_certificate_changed:
    'If the agent was reinstalled on purpose, take its new certificate (sluice hosts trust NAME, or the verb :trust); else find out who answers there.',
  agent_address_refused: "Add the gateway's address to the agent's list of allowed addresses.",
  agent_unfit:
    'Mend on the host what the cause names, such as a full disk; jobs wait until then. Only where it cannot have the tools that are missing, set launcher to false for it (sluice hosts set NAME --no-launcher).',
};

/** About a job that is lost. What they have in common: nothing is started again before somebody has looked. */
const LOST: Partial<Record<OutcomeKind, string>> = {
  silent: 'see to its host; once that answers, the job takes its true state by itself',
  ambiguous_start: 'look on its host whether it ran before submitting it again',
  reboot: 'look on its host how far it came before submitting it again',
  forgotten:
    "look on its host whether it still runs before submitting it again; the agent's records were wiped, cleared up or restored from an earlier day",
  exit_unknown: 'look on its host what it has done before submitting it again',
};

/** The outcome of a lost job with what to do about it in its message. */
export function withAdvice(lost: Outcome): Outcome {
  const advice = LOST[lost.kind];
  return { ...lost, message: [lost.message, advice].filter(Boolean).join(': ') };
}
