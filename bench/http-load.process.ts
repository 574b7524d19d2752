/**
 * A load generator that costs little beside the server: requests that are made once, plain sockets, one request under
 * way on each. A general client would take most of a core, and what it compares would all look alike.
 *
 *     node bench/http-load.process.ts '{"url":...,"paths":...}'     (a `Job` as JSON; prints a `Load` as JSON)
 */
import { connect, type Socket } from 'node:net';

export interface Job {
  url: string;
  /** Sent in turn. */
  requests: { method: string; path: string; headers: Record<string, string>; body: string }[];
  connections: number;
  seconds: number;
}

export interface Load {
  perSecond: number;
  /** Of the replies, in ms. */
  p50: number;
  p99: number;
  /** Replies that were no 2xx. */
  refused: number;
}

const job = JSON.parse(process.argv[2] ?? '') as Job;
const { hostname, port } = new URL(job.url);
const texts = job.requests.map(({ method, path, headers, body }) => {
  const fields = { host: `${hostname}:${port}`, ...headers, 'content-length': `${Buffer.byteLength(body)}` };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
});
const times: number[] = [];
let refused = 0;
let next = 0;
const began = performance.now();
const end = began + job.seconds * 1_000;
await Promise.all(Array.from({ length: job.connections }, one));
const seconds = (performance.now() - began) / 1_000;
times.sort((a, b) => a - b);
const quantile = (q: number) => times[Math.floor(times.length * q)] ?? 0;
const load: Load = { perSecond: times.length / seconds, p50: quantile(0.5), p99: quantile(0.99), refused };
console.log(JSON.stringify(load));

/** One connection: the next request follows the reply, until the time is up. */
function one(): Promise<void> {
  return new Promise((resolve, reject) => {
    let sentAt = 0;
    let received = '';
    const socket = connect(Number(port), hostname, send);
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the server closed a connection')));
    socket.on('data', (text: string) => {
      received += text;
      if (!isWhole(received)) return;
      times.push(performance.now() - sentAt);
      if (!received.startsWith('HTTP/1.1 2')) refused++;
      received = '';
      if (performance.now() < end) return send();
      finish(socket, resolve);
    });

    function send(): void {
      sentAt = performance.now();
      socket.write(texts[next++ % texts.length]!);
    }
  });
}

function finish(socket: Socket, resolve: () => void): void {
  socket.removeAllListeners('close');
  socket.destroy();
  resolve();
}

/** The body is all there, as its header says. */
function isWhole(text: string): boolean {
  const body = text.indexOf('\r\n\r\n') + 4;
  if (body < 4) return false;
  const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1];
  return length !== undefined && text.length >= body + Number(length);
}
