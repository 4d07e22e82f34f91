"""`make bench`: measure all, or what is named, and write results and report."""

from __future__ import annotations

import main_job

main_job.main()
