/** Stays with a batch to its end, through restarts of the gateway: shows how it goes, then its output. */
import { setTimeout as pause } from 'node:timers/promises';
import { isBatchOver } from '../../job/batch.ts';
import type { BatchView } from '../../protocol/batch-view.ts';
import { untilAnswered } from '../client/again.ts';
import { aboveVersion } from '../client/wait.ts';
import type { Client } from '../client.ts';
import { commandName } from '../command-name.ts';
import { createDisplay, type Display } from './display.ts';
import { createBatchHoldUp } from './hold-up.ts';
import { onInterrupt } from './interrupt.ts';
import { printOutput, readOutput } from './output.ts';
import { exitCodeOfBatch, sentenceForBatch } from './words.ts';
import { createWrongHosts } from './wrong-hosts.ts';

/** Between two versions that are looked at, in ms: a large batch has thousands a second. */
const PACE_MS = 200;

/** @param quiet its output only, and how it ended if it did not succeed */
export async function attend(client: Client, first: BatchView, quiet: boolean): Promise<void> {
  const display = createDisplay(quiet);
  const stopListening = onInterrupt({
    id: first.id,
    ask: display.ask,
    close: display.close,
    cancel: () => isCanceled(client, first.id, display),
  });
  const over = await waitForBatch(client, first, display).finally(() => {
    stopListening();
    display.close();
  });
  printOutput(await readOutput(client, over.id));
  if (!quiet || over.state !== 'succeeded') process.stderr.write(`${sentenceForBatch(over)}\n`);
  process.exitCode = exitCodeOfBatch(over);
}

export async function cancel(client: Client, id: string, reason?: string): Promise<BatchView> {
  const body = { ...(reason !== undefined && { reason }) };
  const path = `/v1/batches/${encodeURIComponent(id)}:cancel`;
  return untilAnswered(() => client.request<BatchView>('POST', path, { body }));
}

/** @returns whether the gateway took the cancel; why not is told */
async function isCanceled(client: Client, id: string, { note }: Display): Promise<boolean> {
  try {
    await cancel(client, id);
    return true;
  } catch (error) {
    note((error as Error).message);
    return false;
  }
}

async function waitForBatch(client: Client, first: BatchView, display: Display): Promise<BatchView> {
  const nameWrongHosts = createWrongHosts(client, display.note);
  const holdUp = createBatchHoldUp(client, display.note);
  const { signal } = new AbortController();
  let told = '';
  for (let batch = first; ; ) {
    const isOver = isBatchOver(batch.state);
    // How it ended is told last, below its output.
    if (!isOver) display.show(batch);
    await nameWrongHosts(batch);
    if (isOver) {
      holdUp.stop();
      return batch;
    }
    holdUp.see(batch);
    if (batch.state === 'paused' && told !== 'paused') {
      const what = batch.awaits_wave ? `wave ${batch.wave} is done` : `${batch.id} is paused`;
      display.note(`${what}; \`${commandName()} batch resume ${batch.id}\` goes on`);
    }
    told = batch.state;
    await pause(PACE_MS);
    batch =
      (await aboveVersion<BatchView>(client, `/v1/batches/${batch.id}`, batch.version, signal)) ?? batch;
  }
}
