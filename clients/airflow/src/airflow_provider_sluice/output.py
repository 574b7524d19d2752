"""
A job's output as lines of a task's log, by offset, so that no byte is left out.

``printed`` only counts bytes whose lines have been written. Whoever goes on from there (the worker after the
triggerer, a triggerer after another one's death) leaves out nothing; what it may write twice stands under a line that
names the byte it starts at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_sluice.calls import GatewayError, Job, OutputRange
from airflow_provider_sluice.client import GatewayClient
from airflow_provider_sluice.outcome import RESULT_BYTES

STREAMS = ("stdout", "stderr")
#: What is asked for at once.
CHUNK_BYTES = 262_144
#: A line longer than this is written in pieces.
LINE_BYTES = 16_384


class StreamLog:
    """One stream on its way into a log. :param write: takes one line"""

    def __init__(self, stream: str, printed: int, write: Callable[[str], None]) -> None:
        self.stream = stream
        #: Bytes before this one are in the log.
        self.printed = printed
        #: The next byte to ask for.
        self.offset = printed
        self._rest = b""
        self._begun = False
        self._write = write

    def feed(self, got: OutputRange) -> None:
        if got.offset > self.offset:
            self._write_rest()
            self._write(f"[{self.stream}] bytes {self.offset} to {got.offset - 1} are no longer to be had")
            self.printed = got.offset
        self.offset = got.next
        if got.data and not self._begun:
            self._begun = True
            self._write(f"[{self.stream}] from byte {self.printed}:")
        *lines, self._rest = (self._rest + got.data).split(b"\n")
        for line in lines:
            self._write_line(line)
            self.printed += len(line) + 1
        while len(self._rest) > LINE_BYTES:
            piece = whole_characters(self._rest[:LINE_BYTES])
            self._write_line(piece)
            self.printed += len(piece)
            self._rest = self._rest[len(piece) :]

    def end(self) -> None:
        """Writes a last line that no newline ends."""
        self._write_rest()

    def _write_rest(self) -> None:
        if self._rest:
            self._write_line(self._rest)
            self.printed += len(self._rest)
            self._rest = b""

    def _write_line(self, line: bytes) -> None:
        while len(line) > LINE_BYTES:
            piece = whole_characters(line[:LINE_BYTES])
            self._write_line(piece)
            line = line[len(piece) :]
        self._write(f"[{self.stream}] {line.decode('utf-8', 'replace').rstrip()}")


class OutputLog:
    """Both streams of one job."""

    def __init__(self, write: Callable[[str], None], printed: dict[str, int] | None = None) -> None:
        self.streams = [StreamLog(name, (printed or {}).get(name, 0), write) for name in STREAMS]

    @property
    def printed(self) -> dict[str, int]:
        """What another one needs to go on from here."""
        return {stream.stream: stream.printed for stream in self.streams}

    def catch_up(self, client: GatewayClient, job_id: str) -> None:
        """
        Writes what is there by now.

        :raises GatewayError: if the output cannot be read now
        """
        for stream in self.streams:
            while True:
                got = client.output(job_id, stream.stream, stream.offset, CHUNK_BYTES)
                stream.feed(got)
                if got.complete or len(got.data) < CHUNK_BYTES:
                    break

    def end(self) -> None:
        for stream in self.streams:
            stream.end()


def whole_characters(data: bytes) -> bytes:
    """Without a character at the end that is not all there; bytes that can be no character stay."""
    for back in range(1, min(3, len(data) - 1) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 1 if byte > 0xF4 else 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return data[:-back] if length > back else data
    return data


def read_result_output(client: GatewayClient, job: Job) -> dict[str, Any]:
    """
    The first bytes of each stream for a task's result; what was kept with the job where its host cannot be asked.
    """
    output: dict[str, Any] = {}
    for stream in STREAMS:
        size = job[f"{stream}_bytes"]
        try:
            data = client.output(job["id"], stream, 0, RESULT_BYTES).data
            cut = len(data) == RESULT_BYTES if size is None else size > len(data)
        except GatewayError:
            data = (job.get(stream) or job.get(f"{stream}_tail") or "").encode()
            cut = size is not None and size > len(data)
        output[stream] = data.decode("utf-8", "replace")
        output[f"{stream}_truncated"] = cut
    return output
