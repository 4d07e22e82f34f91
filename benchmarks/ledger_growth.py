"""What a job costs the ledger, and what `piperd status` and a start cost, with 0 and 1,000,000 jobs delivered before.

python benchmarks/ledger_growth.py [JOBS]

Prints, for each ledger, CPU milliseconds of each call: the best of several, since the machine has other things to do.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from piperd.job import Job, JobSpec, JobState, Scene
from piperd.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

JOBS = 1_000_000
TIMES = 20
SPEC = JobSpec(
    (Scene("1", "It rains, and it will go on to rain until the evening. " * 10, "en_US-joe-medium"),), "story"
)
FILL = """
WITH RECURSIVE numbers (n) AS (SELECT 1 WHERE :jobs > 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :jobs)
INSERT INTO jobs (seq, job_id, source, claimed, size, folder, stem, stem_key, state, delivered, priority, attempt,
    accepted_at, started_at, finished_at, wait_s, run_s, utterances, spoken, from_store, spec, result)
SELECT n, printf('%026d', n), CAST(printf('news/%d.txt', n) AS BLOB), CAST(printf('/in/.piperd/x/%026d/%d.txt', n, n)
    AS BLOB), 600, 'news', printf('story-%d', n), printf('story-%d', n), iif(n % 50, 'done', 'failed'), 1, 5, 1,
    n * 10.0, n * 10.0, n * 10.0, 0.1, 2.0, 10, 10, 3, :spec, :result
FROM numbers
"""


def fill(path: Path, jobs: int) -> None:
    """A ledger that has seen so many jobs."""
    Ledger(path).close()
    result = json.dumps({"audio": {"file": "story.wav", "sha256": "0" * 64}, "captions": {}, "scenes": []})
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        with database:
            database.execute(FILL, {"jobs": jobs, "spec": SPEC.as_json(), "result": result})
            database.execute(
                "UPDATE totals SET (delivered, utterances, from_store) = "
                "(SELECT count(*), 10 * count(*), 3 * count(*) FROM jobs WHERE jobs.state = totals.state)"
            )
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def job(number: int) -> Job:
    """A new one."""
    return Job(
        job_id=f"N{number:025}",
        seq=0,
        source=b"news/new.txt",
        claimed=b"/in/.piperd/x/new.txt",
        size=600,
        folder="news",
        stem=f"new-{number}",
        state=JobState.QUEUED,
        priority=5,
        attempt=0,
        accepted_at=1e9,
        spec=SPEC,
    )


def life(ledger: Ledger, number: int) -> None:
    """All that the ledger hears of a job, with its five commits."""
    ledger.name_taken("news", f"new-{number}")
    ledger.last_published("news", f"new-{number}")
    accepted = ledger.accept(job(number))
    ledger.commit()
    ledger.get(accepted.job_id)
    running = ledger.save(replace(accepted, state=JobState.RUNNING, attempt=1, utterances=10, from_store=3))
    ledger.commit()
    rendered = ledger.save(replace(running, result={"duration_s": 12.5}))
    ledger.commit()
    done = ledger.save(replace(rendered, state=JobState.DONE, finished_at=1e9))
    ledger.commit()
    ledger.save(replace(done, delivered=True))
    ledger.commit()


def best(action: Callable[[], object]) -> float:
    """Milliseconds of this process's CPU time."""
    spent = []
    for _ in range(TIMES):
        before = time.process_time()
        action()
        spent.append(time.process_time() - before)
    return min(spent) * 1000


def start(path: Path) -> None:
    with closing(Ledger(path)) as ledger:
        list(ledger.undelivered())


def measure(path: Path) -> dict[str, float]:
    found = {"open and restore": best(partial(start, path))}
    numbers = iter(range(TIMES * 2))
    with closing(Ledger(path)) as ledger:
        found["a job, from acceptance to delivery"] = best(lambda: life(ledger, next(numbers)))
        for name, action in {
            "counts": ledger.counts,
            "totals": ledger.totals,
            "averages": ledger.averages,
            "newest(20)": lambda: ledger.newest(20),
            "newest(20, running)": lambda: ledger.newest(20, [JobState.RUNNING]),
            "newest(20, failed)": lambda: ledger.newest(20, [JobState.FAILED]),
            "last_seq": ledger.last_seq,
            "since(last_seq)": lambda: ledger.since(ledger.last_seq()),
        }.items():
            found[name] = best(action)
        found["forget 200 and commit"] = best(lambda: (ledger.forget(float("inf"), 200), ledger.commit()))
        found["shrink by 256 pages and commit"] = best(lambda: (ledger.shrink(256), ledger.commit()))
    return found


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    columns = []
    for number in (0, jobs):
        with tempfile.TemporaryDirectory(prefix="piperd-bench-") as folder:
            path = Path(folder) / "ledger.sqlite3"
            fill(path, number)
            columns.append(measure(path))
            sys.stdout.write(f"{number:,} jobs: {path.stat().st_size / 1e6:,.1f} MB\n")
    empty, full = columns
    for name, figure in empty.items():
        sys.stdout.write(f"{name:40} {figure:8.3f} ms {full[name]:8.3f} ms\n")


if __name__ == "__main__":
    main()
