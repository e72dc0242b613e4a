-- Whether the history has the partition of a month.
SELECT to_regclass('publish_tasks_' || to_char(:month::date, 'YYYY_MM')) IS NOT NULL
