/**
 * Commands of one turn of the event loop go to Redis in one write. A write is a system call, and costs about as much
 * as everything else that a command costs; Redis in turn reads them at once, and syncs its file once for all of them.
 *
 * Nothing waits for it: the write happens at the end of the turn in which its first command was made. Unlike
 * ioredis' own pipelining commands stay what they are, each with its reply, its error and its timeout.
 */
import type { Redis } from 'ioredis';

export function coalesceWrites(client: Redis): void {
  let held: Redis['stream'] | null = null;
  const send = client.sendCommand.bind(client);
  client.sendCommand = (command, stream) => {
    hold(client.stream);
    return send(command, stream);
  };

  function hold(socket: Redis['stream'] | undefined): void {
    if (!socket || socket === held) return;
    held = socket;
    socket.cork();
    setImmediate(() => {
      // By now there may be another connection, with commands of its own.
      if (held === socket) held = null;
      socket.uncork();
    });
  }
}
