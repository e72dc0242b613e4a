"""`everpost migrate` on PostgreSQL."""

import psycopg

from cli_support import environment, run


def test_a_database_is_brought_up_once_and_its_password_is_not_shown(address: str) -> None:
    secret = address.replace("everpost@", "everpost:hidden-word@")
    for _ in range(2):
        done = run("migrate", env=environment(DATABASE=secret))
        assert done.returncode == 0, done.stderr
        assert f"{address} is up to date." in done.stdout
        assert "hidden-word" not in done.stdout + done.stderr
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT count(*) FROM task_queue").fetchone() == (0,)
        kept = connection.execute("SELECT action, how, outcome FROM audit_log").fetchall()
    assert kept == [("command migrate", "command", "ok")] * 2


def test_a_database_that_is_not_there_is_an_error_without_its_password(address: str) -> None:
    secret = address.replace("everpost@", "everpost:hidden-word@").rpartition("/")[0]
    done = run("migrate", env=environment(DATABASE=f"{secret}/nothing_here"))
    assert done.returncode == 1
    assert 'database "nothing_here" does not exist' in done.stdout + done.stderr
    assert "hidden-word" not in done.stdout + done.stderr
