/**
 * The output of jobs as their readers see it: two streams whose offsets only grow, whatever happens to the files.
 *
 * Two things take bytes away: a command that cuts its own output (`> /dev/stdout` as root), and the agent, which keeps
 * of each stream the beginning and the end once it takes more room than it may. Which bytes are gone is remembered
 * beside the job (`dropped.json`), before they go: what is handed out is what was written, at the offset where it was
 * written, and never the zeros of a hole. Running commands are neither stopped nor slowed down by this.
 */
import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileDurably } from './durable-file.ts';
import type { Logger } from './log.ts';
import { CannotPunch, hashOf, punchHole, readRange, TAIL_BYTES, type Text, textOfTail } from './output.ts';
import type { Job } from './registry.ts';

export type Stream = 'stdout' | 'stderr';
const STREAMS: Stream[] = ['stdout', 'stderr'];

/** Of a stream that is cut down the first bytes stay as well. */
const HEAD_BYTES = 1024 * 1024;

/** In bytes of the file, which begins at `base` of the stream; nothing is between `from` and `to`. */
interface Dropped {
  base: number;
  from: number;
  to: number;
}

interface Ledger extends Record<Stream, Dropped> {
  /** The size of each file as it was seen last. */
  seen: Record<Stream, number>;
  isCutting: boolean;
  /** Up to where each was given back to the disk by this agent: less than `to` where that failed. */
  punched: Record<Stream, number>;
  /** The last cut failed, and this was told. */
  hasFailed: boolean;
}

export type Outputs = ReturnType<typeof createOutputs>;

/** @param deps.maxBytes how much room one stream may take on the disk, in bytes; 0 is any */
export function createOutputs(deps: { jobDir: (id: string) => string; maxBytes: number; log: Logger }) {
  const { jobDir, maxBytes, log } = deps;
  const ledgers = new WeakMap<Job, Ledger>();
  let canCut = maxBytes > 0;

  /** How many bytes a stream has had so far. */
  function size(job: Job, stream: Stream): number {
    if (job.outcome) return stream === 'stdout' ? job.outcome.stdoutBytes : job.outcome.stderrBytes;
    const ledger = ledgerOf(job);
    const file = lookAt(job, stream);
    if (file) noteSize(job, ledger, stream, file.size);
    return ledger[stream].base + ledger.seen[stream];
  }

  function noteSize(job: Job, ledger: Ledger, stream: Stream, now: number): void {
    const before = ledger.seen[stream];
    ledger.seen[stream] = now;
    if (now >= before) return;
    ledger.punched[stream] = 0;
    change(job, ledger, stream, { base: ledger[stream].base + before, from: 0, to: 0 });
    log.warn({ job_id: job.record.job_id, stream, bytes: before }, 'job.output.cut_by_job');
  }

  /** Bytes from `offset` on, or from the next one that is there: `offset` of the answer says which. */
  async function read(
    job: Job,
    stream: Stream,
    range: { offset: number; limit: number },
  ): Promise<{ offset: number; bytes: Buffer }> {
    const end = size(job, stream);
    for (;;) {
      const gone = ledgerOf(job)[stream];
      const [from, to] = [gone.base + gone.from, gone.base + gone.to];
      let offset = Math.max(range.offset, gone.base);
      if (offset >= from && offset < to) offset = to;
      const last = Math.min(offset + range.limit, end, offset < from ? from : end);
      const bytes = await readRange(streamFile(job, stream), offset - gone.base, Math.max(0, last - offset));
      // What went while it was being read was read as zeros.
      if (ledgerOf(job)[stream] === gone) return { offset, bytes };
    }
  }

  /** The last 64 KiB. */
  async function tail(job: Job, stream: Stream): Promise<Text> {
    const from = Math.max(0, size(job, stream) - TAIL_BYTES);
    const { offset, bytes } = await read(job, stream, { offset: from, limit: TAIL_BYTES });
    return textOfTail(bytes, offset > 0);
  }

  /** SHA-256 of the first `bytes` of a stream in hex; null where some are gone, or where they are too many. */
  async function hash(job: Job, stream: Stream, bytes: number): Promise<string | null> {
    return isWhole(ledgerOf(job)[stream]) ? hashOf(streamFile(job, stream), bytes) : null;
  }

  /** Notices what has become of the files, and cuts down what has grown too large. To be asked now and then. */
  async function look(job: Job): Promise<void> {
    for (const stream of STREAMS) {
      size(job, stream);
      const ledger = ledgerOf(job);
      const room = (lookAt(job, stream)?.blocks ?? 0) * 512;
      if (!canCut || room <= maxBytes || ledger.isCutting) continue;
      ledger.isCutting = true;
      await cutDown(job, ledger, stream).finally(() => {
        ledger.isCutting = false;
      });
    }
  }

  /** An eighth more than it must, so that it is not done again at once. */
  async function cutDown(job: Job, ledger: Ledger, stream: Stream): Promise<void> {
    const before = ledger[stream];
    const from = Math.min(HEAD_BYTES, Math.floor(maxBytes / 8));
    const to = Math.max(before.to, ledger.seen[stream] - (maxBytes - from - Math.floor(maxBytes / 8)));
    const start = Math.max(from, ledger.punched[stream]);
    if (to <= start) return;
    const cut = { ...before, from, to };
    const isWritten = change(job, ledger, stream, cut);
    const ids = { job_id: job.record.job_id, stream };
    try {
      await punchHole(streamFile(job, stream), start, to - start);
      // Unless its job has begun the file anew.
      if (ledger[stream] === cut) ledger.punched[stream] = to;
      if (before.to === 0 || ledger.hasFailed) {
        log.warn({ ...ids, max_bytes: maxBytes }, 'job.output.truncated');
      }
      ledger.hasFailed = false;
      // The room for it may just have been made.
      if (!isWritten) save(job, ledger);
    } catch (error) {
      if (error instanceof CannotPunch) {
        if (ledger[stream] === cut) change(job, ledger, stream, before);
        if (canCut) log.error({ ...ids, err: error }, 'job.output.cannot_be_truncated');
        canCut = false;
        return;
      }
      // Some of it may be zeros by now: it stays gone, and the next look tries the whole of it again.
      if (!ledger.hasFailed) log.warn({ ...ids, err: error }, 'job.output.not_truncated_yet');
      ledger.hasFailed = true;
    }
  }

  /** @returns whether it is on the disk, too */
  function change(job: Job, ledger: Ledger, stream: Stream, dropped: Dropped): boolean {
    ledger[stream] = dropped;
    job.truncated = !STREAMS.every((each) => isWhole(ledger[each]));
    return save(job, ledger);
  }

  function save(job: Job, { stdout, stderr }: Ledger): boolean {
    try {
      writeFileDurably(fileOf(job), JSON.stringify({ stdout, stderr }));
      return true;
    } catch (error) {
      log.error({ job_id: job.record.job_id, err: error }, 'job.output.dropped.unwritten');
      return false;
    }
  }

  function ledgerOf(job: Job): Ledger {
    let ledger = ledgers.get(job);
    if (!ledger) {
      const none = { stdout: 0, stderr: 0 };
      const begun = { seen: { ...none }, punched: { ...none }, isCutting: false, hasFailed: false };
      ledger = { ...load(fileOf(job)), ...begun };
      ledgers.set(job, ledger);
      job.truncated ||= !STREAMS.every((stream) => isWhole(ledger![stream]));
    }
    return ledger;
  }

  const fileOf = (job: Job) => join(jobDir(job.record.job_id), 'dropped.json');

  /** Its user writes a stream himself in tmux. */
  function streamFile(job: Job, stream: Stream): string {
    const dir = jobDir(job.record.job_id);
    return join(
      job.record.socket === null ? dir : join(dir, 'u'),
      stream === 'stdout' ? 'out.log' : 'err.log',
    );
  }

  /** Null where there is no such file, or something else. */
  function lookAt(job: Job, stream: Stream): { size: number; blocks: number } | null {
    try {
      const file = lstatSync(streamFile(job, stream));
      return file.isFile() ? file : null;
    } catch {
      return null;
    }
  }

  return { size, read, tail, hash, look };
}

const isWhole = ({ base, to }: Dropped) => base === 0 && to === 0;

function load(file: string): Record<Stream, Dropped> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Record<Stream, Dropped>;
  } catch {
    const none = { base: 0, from: 0, to: 0 };
    return { stdout: none, stderr: none };
  }
}
