"""The keys of arq and Everpost in Redis, and the types of the shared ones."""

from everpost.task.model import DEFAULT_PRIORITY, PRIORITIES

JOB, RESULT, IN_PROGRESS = "arq:job:", "arq:result:", "arq:in-progress:"  # a task's id follows each of them
ABORTS_KEY = "arq:abort"
WAKE_CHANNEL = "everpost:wake"
EPOCH_KEY = "everpost:epoch"
WORKERS_KEY = "everpost:workers"
WITHDRAWALS_KEY = "everpost:withdrawals"
RESULTS_KEY = "everpost:results"
METRICS_KEY = "everpost:metrics"
PROGRESS = "everpost:progress:"  # before the id of a task that runs
LATE = "everpost:late"  # parked tasks by the latest time at which they may begin
PARKED = "everpost:parked"  # tasks that wait outside the queues; a lane follows it in the key of the lane's tasks
TIMELINE = "everpost:timeline:"  # before the identifier of a PostgreSQL cluster
EVENTS = "everpost:events"  # the stream of events; telling.lua has its other keys
KEY_RATE = "everpost:rate:"  # before the id of an API key
SET_ASIDE = "everpost:set-aside:"  # before the name of a key that was of a wrong type
LONGEST_NAME = 256  # bytes of a name that is read from Redis


def queue_name(priority: int) -> str:
    """The arq queue of a priority. The default priority has arq's own queue, into which stock clients enqueue."""
    return "arq:queue" if priority == DEFAULT_PRIORITY else f"arq:queue:p{priority}"


QUEUE_NAMES = tuple(queue_name(priority) for priority in PRIORITIES)
TYPES = {
    EPOCH_KEY: "string",
    WORKERS_KEY: "hash",
    WITHDRAWALS_KEY: "zset",
    METRICS_KEY: "hash",
    RESULTS_KEY: "hash",
    PARKED: "hash",
    "everpost:limits": "hash",
    "everpost:gate": "hash",
    "everpost:lanes": "hash",
    "everpost:why": "hash",
    "everpost:closed": "hash",
    "everpost:openings": "zset",
    EVENTS: "stream",
    f"{EVENTS}:state": "hash",
    f"{EVENTS}:owed": "zset",
    ABORTS_KEY: "zset",
    **dict.fromkeys(QUEUE_NAMES, "zset"),
}
"""The types of the keys that all processes share."""
