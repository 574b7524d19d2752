/** How a job ended: the part of its record that is written once it is over. */

export const OUTCOME_KINDS = [
  'exit',
  'signal',
  'timeout',
  'canceled',
  'rejected',
  'spawn_error',
  'silent',
  'ambiguous_start',
  'reboot',
  'forgotten',
  'exit_unknown',
  'expired',
] as const;
export type OutcomeKind = (typeof OUTCOME_KINDS)[number];

/** How the end of the process tree was checked. */
export const PROOFS = ['cgroup', 'group+marker', 'none'] as const;
export type Proof = (typeof PROOFS)[number];

export interface Outcome {
  kind: OutcomeKind;
  /** The command's own code; 128 + the signal's number after a signal; null where there is none. */
  return_code: number | null;
  /** The signal's name without `SIG`, such as `KILL`. */
  signal: string | null;
  /** One sentence for people. */
  message: string | null;
  /** Milliseconds since 1970, the host's time corrected by its clock skew; null where it is not known. */
  ended_at: number | null;
  proof: Proof | null;
  /** Processes that the job left behind on purpose; null where nobody counted. */
  leftover_processes: number | null;
}

/** An outcome of `kind` in which everything not given is null. */
export function outcome(kind: OutcomeKind, rest: Partial<Omit<Outcome, 'kind'>> = {}): Outcome {
  return {
    kind,
    return_code: null,
    signal: null,
    message: null,
    ended_at: null,
    proof: null,
    leftover_processes: null,
    ...rest,
  };
}
