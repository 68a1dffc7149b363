"""Runs one command and writes down what ``wait4`` says of it.

Small on purpose: a process's peak RSS starts at that of the process it was forked from, so whoever forks must
be smaller than whatever is measured.
"""

import json
import os
import sys
import time


def main(result: str, *command: str) -> None:
    """Run ``command``; write its exit code, wall and cpu seconds and peak RSS in kB to ``result``."""
    start = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    answer = {
        "code": os.waitstatus_to_exitcode(status),
        "wall": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "rss": usage.ru_maxrss,
    }
    with open(result, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would make this process larger
        json.dump(answer, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
