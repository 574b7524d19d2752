/**
 * Reads what the launcher printed on the agent's stdout. Each of its lines says by itself whose it is, so that lines
 * from profiles, a reply that was cut off or a repeated report do no harm; a line without its newline was cut off and
 * does not count. The output of commands is base64 in there and cannot pretend to be a report.
 */
export interface LauncherOutput {
  /** Null where there is no file: nothing began, or it was cleared away. */
  stdoutBytes: number | null;
  stderrBytes: number | null;
  /** The last bytes of each stream; null where the report did not carry them whole. */
  stdoutTail: Buffer | null;
  stderrTail: Buffer | null;
}

interface Ending extends LauncherOutput {
  token: string;
  /** The command's own code, 128 + n after a signal; null where nobody saw it. */
  code: number | null;
  /** Without `SIG`. A command's own 130 or 141 cannot be told from SIGINT and SIGPIPE. */
  signal: string | null;
  /** Host time, ms since 1970, whole seconds. */
  startedAt: number | null;
  endedAt: number | null;
  proof: 'group+marker' | null;
  /** Processes that could not be killed. */
  remaining: number[];
}

export type LauncherReport =
  /** The command is over. `leftovers`: processes that it left behind on purpose and that still ran then. */
  | ({ kind: 'ended'; reason: 'exit' | 'signal' | 'timeout'; leftovers: number | null } & Ending)
  /** Ended by our cancel; `beforeStart`: nothing ever began, and nothing will. */
  | ({ kind: 'canceled'; beforeStart: boolean } & Ending)
  /** `remaining` only in the answer to a cancel that could not end it. */
  | ({ kind: 'running'; token: string; startedAt: number | null; remaining: number[] } & LauncherOutput)
  /** It began; neither its processes nor its code are there. */
  | ({ kind: 'exit_unknown' } & Ending)
  /** It began before the host's last boot, and had not ended. */
  | ({ kind: 'reboot' } & Ending)
  /** The launcher died before the command began. The same start may be sent again. */
  | { kind: 'never_ran'; token: string }
  | { kind: 'unknown'; token: string }
  /**
   * Nothing was started now. `why`: with `workdir`, `shell` and `dir_not_writable` (no room, read-only) nothing has
   * begun before either, and the same start may be sent again; `dir_missing`, `dir_symlink` and `dir_not_own` say
   * nothing about earlier starts. Of a probe: `no_directory`, or `missing` and the tools that the host lacks.
   */
  | { kind: 'refused'; token: string | null; why: string }
  | {
      kind: 'usable';
      /** To be stored with the job and given to every later verb. */
      dir: string;
      user: string;
      uid: number;
      bootId: string;
      /** The host's clock, ms since 1970. */
      hostTime: number;
      filesystem: string;
    }
  | {
      kind: 'range';
      token: string;
      stream: 'stdout' | 'stderr';
      offset: number;
      data: Buffer;
      /** Bytes in the stream now; null where it was cleared away or nothing began. */
      size: number | null;
      next: number;
      /** Nothing can follow: the command was over before this was read, and this reaches the end. */
      eof: boolean;
    };

/**
 * What was said of `token`, or without one simply the first report; null where there is none to be read. A refusal
 * that names no token is about the directory, and so about every token.
 */
export function parseLauncherReport(stdout: string, token?: string): LauncherReport | null {
  const reports = parseLauncherReports(stdout);
  const isAbout = (report: LauncherReport) =>
    token === undefined || ('token' in report && (report.token === token || report.token === null));
  return reports.find(isAbout) ?? null;
}

/** All reports in the order they were printed, the first of each token only. */
export function parseLauncherReports(stdout: string): LauncherReport[] {
  const parts = new Map<string, string[]>();
  const lines = stdout.split('\n').slice(0, -1);
  for (const line of lines) {
    const found = /^@sluice 1 token=([A-Za-z0-9_-]{1,64}) (.*?)\r?$/.exec(line);
    if (found) parts.set(found[1]!, [...(parts.get(found[1]!) ?? []), found[2]!]);
  }
  return [...parts].flatMap(([token, own]) => reportOf(token, own) ?? []);
}

function reportOf(token: string, lines: string[]): LauncherReport | null {
  const range = lines.find((line) => line.startsWith('range='));
  if (range) return rangeOf(token, fieldsOf(range));
  const first = lines.find((line) => line.startsWith('state='));
  if (!first) return null;
  const fields = fieldsOf(first);
  if (fields.state === 'refused') {
    return { kind: 'refused', token: token === '-' ? null : token, why: fields.why ?? 'unknown' };
  }
  if (fields.state === 'usable') return usableOf(fields);
  const ending = endingOf(token, fields, lines);
  switch (fields.state) {
    case 'ended':
      return endedOf(fields, ending);
    case 'running':
      return {
        kind: 'running',
        token,
        startedAt: ending.startedAt,
        remaining: ending.remaining,
        ...outputOf(fields, []),
      };
    case 'exit_unknown':
      return { kind: 'exit_unknown', ...ending };
    case 'other_boot':
      return { kind: 'reboot', ...ending };
    case 'never_ran':
    case 'unknown':
      return { kind: fields.state, token };
    default:
      return null;
  }
}

function endedOf(fields: Fields, ending: Ending): LauncherReport | null {
  switch (fields.kind) {
    case 'exit':
    case 'signal':
    case 'timeout':
      return { kind: 'ended', reason: fields.kind, leftovers: numberOf(fields.kept), ...ending };
    case 'canceled':
    case 'tombstone':
      return { kind: 'canceled', beforeStart: fields.kind === 'tombstone', ...ending };
    default:
      return null;
  }
}

function usableOf(fields: Fields): LauncherReport | null {
  const { dir, user, boot } = fields;
  const [uid, at] = [numberOf(fields.uid), numberOf(fields.at)];
  if (!dir?.startsWith('/') || !user || !boot || uid === null || at === null) return null;
  return { kind: 'usable', dir, user, uid, bootId: boot, hostTime: at * 1000, filesystem: fields.fs ?? '' };
}

function rangeOf(token: string, fields: Fields): LauncherReport | null {
  const data = bytesOf(fields.data ?? '');
  const offset = numberOf(fields.at);
  if (!data || offset === null) return null;
  const size = numberOf(fields.size);
  const next = offset + data.length;
  const stream = fields.range === 'err' ? 'stderr' : 'stdout';
  return {
    kind: 'range',
    token,
    stream,
    offset,
    data,
    size,
    next,
    eof: fields.whole === '1' && next >= (size ?? 0),
  };
}

function endingOf(token: string, fields: Fields, lines: string[]): Ending {
  const [from, to] = [numberOf(fields.started), numberOf(fields.ended)];
  return {
    token,
    code: numberOf(fields.code),
    signal: fields.signal && fields.signal !== '-' ? fields.signal : null,
    startedAt: from === null ? null : from * 1000,
    endedAt: to === null ? null : to * 1000,
    proof: fields.proof === 'group+marker' ? 'group+marker' : null,
    remaining: (fields.left ?? '').split(' ').flatMap((pid) => numberOf(pid) ?? []),
    ...outputOf(fields, lines),
  };
}

function outputOf(fields: Fields, lines: string[]): LauncherOutput {
  const [stdoutBytes, stderrBytes] = [numberOf(fields.out), numberOf(fields.err)];
  return {
    stdoutBytes,
    stderrBytes,
    stdoutTail: tailOf('out', stdoutBytes, lines),
    stderrTail: tailOf('err', stderrBytes, lines),
  };
}

function tailOf(stream: 'out' | 'err', size: number | null, lines: string[]): Buffer | null {
  const line = lines.find((one) => one.startsWith(`tail=${stream} `));
  if (!line || size === null) return null;
  const fields = fieldsOf(line);
  const data = bytesOf(fields.data ?? '');
  return data && data.length === size - (numberOf(fields.at) ?? 0) ? data : null;
}

type Fields = Record<string, string | undefined>;

/** `a=1 b=2 …`; the last field of a line may hold blanks. */
function fieldsOf(line: string): Fields {
  const last = / (why|dir|left)=(.*)$/.exec(` ${line}`);
  const rest = last ? ` ${line}`.slice(0, last.index) : line;
  const pairs = rest
    .trim()
    .split(' ')
    .map((pair) => pair.split(/=(.*)/s, 2) as [string, string?]);
  return Object.fromEntries(last ? [...pairs, [last[1]!, last[2]!]] : pairs);
}

function numberOf(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function bytesOf(text: string): Buffer | null {
  const [, coding, data = ''] = /^(b64|hex):(.*)$/.exec(text) ?? [];
  if (coding === 'b64' && /^[A-Za-z0-9+/]*={0,2}$/.test(data)) return Buffer.from(data, 'base64');
  if (coding === 'hex' && /^([0-9a-f]{2})*$/.test(data)) return Buffer.from(data, 'hex');
  return null;
}
