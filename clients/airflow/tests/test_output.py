from __future__ import annotations

import random

from client_under_test import find

OutputRange = find("OutputRange")
StreamLog = find("StreamLog")
whole_characters = find("whole_characters")


def feed(log, data, sizes):
    at = log.offset
    for size in sizes:
        part = data[at : at + size]
        log.feed(OutputRange(data=part, offset=at, next=at + len(part), complete=False))
        at += len(part)


def test_however_it_is_cut_every_line_is_written_once_and_whole():
    text = "".join(f"line {number} ä€😀\n" for number in range(200)) + "the end"
    data = text.encode()
    for seed in range(50):
        dice = random.Random(seed)
        sizes = []
        while sum(sizes) < len(data):
            sizes.append(dice.randint(1, 300))
        lines: list[str] = []
        log = StreamLog("stdout", 0, lines.append)
        feed(log, data, sizes)
        log.end()
        assert lines == ["[stdout] from byte 0:", *(f"[stdout] {line}" for line in text.splitlines())], seed
        assert log.printed == len(data)


def test_whoever_goes_on_leaves_out_nothing():
    text = "".join(f"line {number}\n" for number in range(100))
    data = text.encode()
    for cut in range(0, len(data), 7):
        first: list[str] = []
        second: list[str] = []
        one = StreamLog("stdout", 0, first.append)
        feed(one, data[:cut], [cut])
        # A last line that was not whole is not counted as printed.
        other = StreamLog("stdout", one.printed, second.append)
        feed(other, data, [len(data)])
        other.end()
        written = [line for line in first + second if "from byte" not in line]
        assert written == [f"[stdout] {line}" for line in text.splitlines()], cut
        assert not second or second[0] == f"[stdout] from byte {one.printed}:"


def test_bytes_that_are_gone_are_named():
    lines: list[str] = []
    log = StreamLog("stderr", 0, lines.append)
    log.feed(OutputRange(data=b"tail\n", offset=100, next=105, complete=True))
    assert lines == [
        "[stderr] bytes 0 to 99 are no longer to be had",
        "[stderr] from byte 100:",
        "[stderr] tail",
    ]


def test_a_line_without_an_end_is_written_in_pieces_between_characters():
    lines: list[str] = []
    log = StreamLog("stdout", 0, lines.append)
    data = ("€" * 20_000).encode()
    feed(log, data, [len(data)])
    log.end()
    assert "".join(line.removeprefix("[stdout] ") for line in lines[1:]) == "€" * 20_000
    assert log.printed == len(data)


def test_bytes_that_are_no_text_stay():
    assert whole_characters(b"\xff\xfe") == b"\xff\xfe"
    assert whole_characters("ab€".encode()[:-1]) == b"ab"
