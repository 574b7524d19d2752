from __future__ import annotations

from client_under_test import find

fold_names = find("fold_names")
failed_hosts = find("failed_hosts")
explain_failure = find("explain_failure")
output_lines = find("output_lines")


def group(hosts, state="failed", *, count=1, code=3, stdout="", stderr=""):
    return {"hosts": hosts, "count": count, "state": state, "return_code": code, "stdout": stdout, "stderr": stderr}


def test_names_that_differ_in_their_last_number_become_ranges():
    assert fold_names([f"web{number:03}" for number in range(1, 119)]) == "web[001-118]"
    assert fold_names(["web3", "web1", "web2", "db7"]) == "web[1-3],db7"
    assert fold_names(["web1", "web3", "web10", "web9.example.com", "web8.example.com"]) == (
        "web[1,3],web10,web[8-9].example.com"
    )


def test_names_that_are_folded_already_addresses_and_names_without_a_number_stay_as_they_are():
    names = ["web[001-118]", "10.0.0.1:18443", "[fe80::1]:18443", "mail"]
    assert fold_names(names) == ",".join(names)


def test_numbers_of_different_lengths_do_not_mix():
    assert fold_names(["a8", "a9", "a10", "a11"]) == "a[8-9],a[10-11]"
    assert fold_names(["a08", "a09", "a10", "a7"]) == "a[08-10],a7"


def test_what_failed_is_named_and_cut_at_16_kib():
    groups = [group("web[1-3]", "succeeded"), group("web4"), group("db1", "lost"), group("db2", "unstarted")]
    assert failed_hosts(groups) == "web4,db1"
    letters = str.maketrans("0123456789", "abcdefghij")
    many = failed_hosts([group(f"{number:04}".translate(letters) + ".example.com") for number in range(2000)])
    assert len(many) <= 16_384
    assert many.endswith("...")


def test_a_failure_quotes_the_largest_groups_that_ended_wrong():
    batch = {
        **{"id": "batch_1", "state": "stopped", "stopped_because": "max_failures", "max_failures": 1, "total": 9},
        **{"awaits_wave": False, "counts": {"succeeded": 2, "failed": 5, "unstarted": 2}},
    }
    groups = [group("web[1-2]", "succeeded", code=0, stdout="fine\n")]
    groups += [group(f"web{number}", stderr=f"line\nwhy {number}\n") for number in range(3, 8)]
    text = explain_failure(batch, groups, "http://gateway/v1/batches/batch_1").splitlines()
    assert text[0] == (
        "Batch batch_1, stopped, as more than max_failures (1) ended wrong: "
        "2 succeeded, 5 failed, 2 unstarted of 9 hosts (http://gateway/v1/batches/batch_1)"
    )
    assert text[1] == "Ended wrong: web[3-7]"
    assert text[2:5] == ["== web3 (1): failed (3)", "[stderr] line", "[stderr] why 3"]
    assert len([line for line in text if line.startswith("==")]) == 3


def test_the_log_shows_ten_groups_and_says_that_there_are_more():
    groups = [group(f"web{number}", "succeeded", code=0, stdout="x\n" * 100) for number in range(12)]
    lines = output_lines(groups)
    assert lines[0] == "== web0 (1): succeeded"
    assert len(lines) == 10 * (1 + 20) + 1
    assert lines[-1] == "... and 2 more that ended or wrote otherwise"


def test_a_group_that_has_no_code_says_why():
    rejected = {**group("web[1-2]", count=2, code=None), "outcome": "rejected", "message": "the host has no user  etl"}
    expired = {**group("web3", "expired", code=None), "outcome": "expired", "message": None}
    failed = {**group("web4"), "outcome": "exit", "message": None}
    headings = [line for line in output_lines([rejected, expired, failed]) if line.startswith("==")]
    assert headings == [
        "== web[1-2] (2): failed, rejected: the host has no user etl",
        "== web3 (1): expired",
        "== web4 (1): failed (3)",
    ]
