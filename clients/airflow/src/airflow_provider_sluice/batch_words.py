"""A batch in words, and its result as a DAG sees it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from airflow_provider_sluice.batch_calls import ENDED_WRONG, Batch
from airflow_provider_sluice.outcome import QUOTED_LINES

#: Names of hosts in a result or an event are cut at so many characters.
NAMES_LENGTH = 16_384
#: Of the names in the message of a failure.
QUOTED_NAMES_LENGTH = 2_000
#: How many groups of hosts that wrote the same a failure quotes; and a log, and how many lines of each.
QUOTED_GROUPS = 3
SHOWN_GROUPS = 10
SHOWN_LINES = 20
#: Ends first, the bad ones right after the good ones.
COUNTS_IN_ORDER = ("succeeded", *ENDED_WRONG, "canceling", "unreachable", "running", "queued", "unstarted")
#: Outcomes that say no more than the state of the same name.
SAID_BY_STATE = ("timeout", "canceled", "expired")

Group = dict[str, Any]


def counts_in_words(counts: dict[str, int]) -> str:
    """``110 succeeded, 2 failed, 8 running``"""
    present = [name for name in COUNTS_IN_ORDER if counts.get(name)]
    return ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in present)


def batch_heading(batch: Batch) -> str:
    """``stopped, as more than max_failures (5) ended wrong``"""
    because = batch["stopped_because"]
    state = str(batch["state"])
    if because:
        what = "ended wrong" if because == "max_failures" else "did not answer"
        state += f", as more than {because} ({batch[because]}) {what}"
    elif batch["awaits_wave"]:
        state += f", and waits to be resumed after wave {batch['wave']}"
    elif state == "canceled":
        state += f" by {batch['canceled_by'] or 'somebody'}"
    elif batch["waves"] and batch["ended_at"] is None:
        state += f", wave {batch['wave']}"
    return state


def describe_batch(batch: Batch) -> str:
    """One line without a full stop."""
    counts = counts_in_words(batch["counts"])
    return f"Batch {batch['id']}, {batch_heading(batch)}: {counts} of {batch['total']} hosts"


def failed_hosts(groups: Iterable[Group]) -> str:
    """Those that ended wrong, folded: ``web[001-118],db1``. Cut where it is too long for a result."""
    names = [str(group["hosts"]) for group in groups if group["state"] in ENDED_WRONG]
    # A host whose output is like no other's is a group of its own: hundreds of them are one range all the same.
    text = fold_names(names)
    return text if len(text) <= NAMES_LENGTH else f"{text[: text.rfind(',', 0, NAMES_LENGTH - 3)]}..."


def batch_result(batch: Batch, groups: Iterable[Group]) -> dict[str, Any]:
    return {
        "batch_id": batch["id"],
        "status": "finished",
        "state": batch["state"],
        "counts": batch["counts"],
        "total": batch["total"],
        "stopped_because": batch["stopped_because"],
        "retry_of": batch["retry_of"],
        "failed_hosts": failed_hosts(groups),
    }


def fold_names(texts: Iterable[str]) -> str:
    """
    Names that differ in their last number only become a range; what is folded already, and addresses, stay as they are.
    """
    numbers: dict[tuple[str, int, str], list[int]] = {}
    folded: list[str] = []
    for text in texts:
        found = re.fullmatch(r"([^\[\],:]*?)(\d{1,15})([^\[\],:\d]*)", text)
        if found:
            before, digits, after = found.groups()
            numbers.setdefault((before, len(digits), after), []).append(int(digits))
        else:
            folded.append(text)
    for (before, width, after), them in numbers.items():
        folded.append(f"{before}{ranges_of(sorted(set(them)), width)}{after}")
    return ",".join(folded)


def ranges_of(numbers: list[int], width: int) -> str:
    """Of sorted numbers of so many digits: ``07`` or ``[001-118,120]``."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    texts = [f"{first:0{width}}" if first == last else f"{first:0{width}}-{last:0{width}}" for first, last in ranges]
    return texts[0] if len(numbers) == 1 else f"[{','.join(texts)}]"


def output_lines(groups: Sequence[Group]) -> list[str]:
    """What hosts said, for a log: the largest groups, the end of each."""
    ended = [group for group in groups if group["stdout"] is not None or group["state"] in ENDED_WRONG]
    lines = [line for group in ended[:SHOWN_GROUPS] for line in lines_of(group, SHOWN_LINES)]
    if len(ended) > SHOWN_GROUPS:
        lines.append(f"... and {len(ended) - SHOWN_GROUPS} more that ended or wrote otherwise")
    return lines


def explain_failure(batch: Batch, groups: Sequence[Group], page: str) -> str:
    wrong = [group for group in groups if group["state"] in ENDED_WRONG]
    lines = [f"{describe_batch(batch)} ({page})"]
    if wrong:
        names = failed_hosts(groups)
        cut = names if len(names) <= QUOTED_NAMES_LENGTH else f"{names[:QUOTED_NAMES_LENGTH]}..."
        lines.append(f"Ended wrong: {cut}")
    lines += [line for group in wrong[:QUOTED_GROUPS] for line in lines_of(group, QUOTED_LINES)]
    return "\n".join(lines)


def why_of(group: Group) -> str:
    """What its state leaves open: `` (3)``, or ``, rejected: the host has no user etl``."""
    if group["state"] == "succeeded":
        return ""
    code = "" if group["return_code"] is None else f" ({group['return_code']})"
    # A gateway of an earlier version does not say it.
    outcome = group.get("outcome")
    if outcome in (None, "exit", "signal"):
        return code
    kind = "" if outcome in SAID_BY_STATE else f", {outcome.replace('_', ' ')}"
    message = "" if group["message"] is None else f": {' '.join(group['message'].split())}"
    return f"{kind}{code}{message}"


def lines_of(group: Group, most: int) -> list[str]:
    """``== web[001-118] (118): failed (3)``, then the end of what they wrote."""
    lines = [f"== {group['hosts']} ({group['count']}): {group['state'].replace('_', ' ')}{why_of(group)}"]
    for stream in ("stdout", "stderr"):
        written = (group[stream] or "").rstrip().splitlines()
        lines += [f"[{stream}] {line}" for line in written[-most:]]
    return lines
