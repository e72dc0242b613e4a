"""The cause of a failure: equal for errors that differ only in what differs from task to task."""

import pytest

from everpost.task.failure_cause import KEPT, cause_of


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("The platform answered 503: try again in 17 s", "The platform answered 503: try again in N s"),
        ("no answer within 500 ms", "no answer within N ms"),
        ("https://x.example/z?a=1 said no", "URL said no"),
        ('account "abc" is not known', 'account "…" is not known'),
        ("Request req_9f8Ab3-33 failed at 12:33:01.332", "Request ID failed at N"),
        ("/var/lib/everpost/y.mp4 is not there", "PATH is not there"),
        ("it's broken, isn't it, user's 'name' was bad", "it's broken, isn't it, user's \"…\" was bad"),
        ("用户「张三」不存在 code 40013", '用户"…"不存在 code N'),
        ("HTTP 404", "HTTP 404"),
        ("mail to a.b+c@mail.example bounced", "mail to EMAIL bounced"),
        ("two\n lines", "two lines"),
        (None, ""),
    ],
)
def test_what_differs_from_task_to_task_is_replaced(error: str | None, text: str) -> None:
    assert cause_of("permanent", error).text == text


def test_equal_errors_have_one_id_and_errors_of_another_class_have_another() -> None:
    assert cause_of("auth", "code 1").id == cause_of("auth", "code 22").id == cause_of("auth", "code 3").id
    assert cause_of("auth", "code 1").id != cause_of("transient", "code 1").id
    assert cause_of("auth", "HTTP 500").id != cause_of("auth", "HTTP 502").id


@pytest.mark.parametrize("part", ["a-", "1-", "a1-", "a.", "/a", '"', "'", "1.1,", "a@", "\udc80", "\0"])
def test_no_error_is_too_long_or_too_odd(part: str) -> None:
    cause = cause_of(None, part * 5_000)
    assert len(cause.text) <= KEPT
    assert len(cause.id) == 12
