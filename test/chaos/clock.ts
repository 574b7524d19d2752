/**
 * Preloaded into a program (`node --import`): its wall clock is off by as many ms as the file that CHAOS_CLOCK names
 * says, from within 200 ms after the file was written. Timers and TLS keep the machine's time. This is the clock jump that
 * one machine can make for one process without libfaketime.
 */
import { readFileSync } from 'node:fs';

const file = process.env.CHAOS_CLOCK;
const RealDate = Date;
const realNow = Date.now;
let offset = 0;

if (file) {
  const now = () => realNow() + offset;
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as object,
    get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
  });
  setInterval(() => {
    offset = read(file);
  }, 200).unref();
}

function read(path: string): number {
  try {
    return Number(readFileSync(path, 'utf8')) || 0;
  } catch {
    return 0;
  }
}
