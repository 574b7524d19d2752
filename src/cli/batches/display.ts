/**
 * How a batch is shown while it is waited for, on stderr: on a terminal a bar and counts that are drawn over, elsewhere a
 * line for each turn that it takes. What is noted stays in both.
 */
import { createLogUpdate } from 'log-update';
import type { BatchView } from '../../protocol/batch-view.ts';
import { countsInWords, headingOf, overCount, sentenceForBatch } from './words.ts';

export interface Display {
  show(batch: BatchView): void;
  /** A line that stays, above what is drawn. */
  note(text: string): void;
  /** A question below what is drawn, where null takes it away; null itself where nothing is drawn, so nobody can be asked. */
  ask: ((question: string | null) => void) | null;
  /** Takes away what is drawn. */
  close(): void;
}

const BAR_WIDTH = 40;
/** Time goes on also where nothing else does, in ms. */
const TICK_MS = 1_000;
/** In a pipe, counts that change all the time are told so often, in ms. */
const LINE_EVERY_MS = 10_000;

export function createDisplay(quiet: boolean, stream: NodeJS.WriteStream = process.stderr): Display {
  if (quiet) return { show: () => {}, note: () => {}, ask: null, close: () => {} };
  // Some terminals do not know how wide they are, such as serial ones: nothing can be drawn over there.
  return stream.isTTY && stream.columns > 0 ? createDrawing(stream) : createLines(stream);
}

function createDrawing(stream: NodeJS.WriteStream): Display {
  const update = createLogUpdate(stream);
  let shown: BatchView | undefined;
  let asked: string | null = null;
  const draw = () => {
    if (shown) update([...linesOf(shown), ...(asked === null ? [] : [asked])].join('\n'));
  };
  const timer = setInterval(draw, TICK_MS).unref();
  return {
    show(batch) {
      shown = batch;
      draw();
    },
    note: (text) => update.persist(text),
    ask(question) {
      asked = question;
      draw();
    },
    close() {
      clearInterval(timer);
      update.clear();
      update.done();
    },
  };
}

function linesOf(batch: BatchView): string[] {
  const over = overCount(batch);
  const filled = Math.floor((BAR_WIDTH * over) / batch.total);
  const bar = '#'.repeat(filled).padEnd(BAR_WIDTH, '.');
  const heading = `${batch.id} ${headingOf(batch)}, ${elapsed(batch)}`;
  return [heading, `[${bar}] ${over} of ${batch.total}`, countsInWords(batch.counts)];
}

/** By this machine's clock. */
function elapsed({ created_at }: BatchView): string {
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(created_at)) / 1_000));
  const parts = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map((part) => `${part}`.padStart(2, '0')).join(':');
}

function createLines(stream: NodeJS.WriteStream): Display {
  let said = { heading: '', text: '', at: 0 };
  return {
    show(batch) {
      const [heading, text] = [headingOf(batch), sentenceForBatch(batch)];
      const isDue = heading !== said.heading || Date.now() >= said.at + LINE_EVERY_MS;
      if (text === said.text || !isDue) return;
      said = { heading, text, at: Date.now() };
      stream.write(`${text}\n`);
    },
    note: (text) => void stream.write(`${text}\n`),
    ask: null,
    close: () => {},
  };
}
