/**
 * What a Base agent says of a job (`GET /status/{id}`), in bounded bytes: the reply carries all output every
 * time, so of a job that still runs only the head is read. All generations put `status` and `return_code` first.
 *
 * A `return_code` means over, whatever the status says; a status may end in a newline.
 */
import { Compile } from 'typebox/compile';
import type { DialHost } from '../../job/agent-port.ts';
import { AgentJob } from '../../protocol/agent.ts';
import type { Exchange } from './exchange.ts';
import { createMemberReader } from './json-members.ts';
import { brief, invalid, readReply } from './reply.ts';

const AGENT_JOB = Compile(AgentJob);

export interface BaseStatus {
  /** Trimmed, in small letters; `unknown` also where the agent says nothing. */
  status: string;
  return_code: number | null;
  /** Null where the reply was not read to its end. */
  stdout: string | null;
  stderr: string | null;
}

/** @param maxBytes of a finished job's reply; what is longer comes without its output */
export async function baseStatus(
  exchange: Exchange,
  host: DialHost,
  agentJobId: string,
  maxBytes = 1_048_576,
): Promise<BaseStatus> {
  const head = createStatusHead();
  const reply = await exchange.send(host, {
    what: 'status',
    method: 'GET',
    path: `/status/${encodeURIComponent(agentJobId)}`,
    maxBytes,
    enough: (piece) => head.push(piece),
  });
  if (!reply.cut && reply.body.length > 0 && !head.isRunning()) {
    const said = readReply(reply.body, AGENT_JOB);
    const { return_code = null, stdout = null, stderr = null } = said;
    return { status: wordOf(said.status), return_code, stdout, stderr };
  }
  return { ...head.read(), stdout: null, stderr: null };
}

/** Reads the head; `push` is true once the job is known to run, because nothing more is of use then. */
export function createStatusHead() {
  let status: string | null = null;
  let code: string | null = null;
  let statusEnded = false;
  const members = createMemberReader({
    text(key, piece) {
      if (key === 'status' && !statusEnded) status = ((status ?? '') + piece.toString('utf8')).slice(0, 256);
    },
    textEnd(key) {
      if (key === 'status') statusEnded = true;
    },
    literal(key, word) {
      if (key === 'return_code') code ??= word;
    },
  });
  const isRunning = () => statusEnded && code === 'null';
  let broken = false;

  return {
    push(piece: Buffer): boolean {
      if (broken || isRunning()) return isRunning();
      try {
        members.push(piece);
      } catch {
        // Not JSON: a refusal in other words, perhaps. Whoever reads the whole reply will say so.
        broken = true;
      }
      return isRunning();
    },
    isRunning,
    /** @throws SluiceError agent_reply_invalid where the reply began with something else */
    read(): Pick<BaseStatus, 'status' | 'return_code'> {
      const number = code === 'null' ? null : Number(code ?? Number.NaN);
      if (status === null || (number !== null && !Number.isInteger(number))) {
        throw invalid('it does not begin with a status and a return code');
      }
      return { status: wordOf(status), return_code: number };
    },
  };
}

const wordOf = (status: string) => brief(status, 32).toLowerCase() || 'unknown';
