"""The table of each place."""

from everpost.task.place import Place

TABLES = {Place.LEDGER: "task_queue", Place.HISTORY: "publish_tasks", Place.ARCHIVE: "publish_tasks_archive"}
ENDED_TABLES = (TABLES[Place.HISTORY], TABLES[Place.ARCHIVE])
