-- How many tasks a restored backup left unfinished; asked only while dispatch is paused.
SELECT count(*) FROM task_queue WHERE sending = 0
