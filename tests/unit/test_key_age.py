import pytest

from everpost.clock import SinceBoot, to_text
from everpost.task.earlier_attempts import OpenAttempt
from everpost.task.key_age import Present, age_of_oldest

NOW_MS = 1_800_000_000_000
NOW = SinceBoot("this boot", 5_000_000)


def attempt(wall_s: float, boot_s: float | None = None, boot: str = NOW.boot) -> OpenAttempt:
    """One that began so many seconds ago, by each of the two clocks."""
    since_boot = None if boot_s is None else SinceBoot(boot, NOW.ms - round(boot_s * 1000))
    return OpenAttempt(1, to_text(NOW_MS - round(wall_s * 1000)), since_boot)


@pytest.mark.parametrize(
    ("began", "seen_ms", "age_s"),
    [
        (attempt(60, 60), None, 60),
        (attempt(-3_540, 60), None, 60),  # set back by an hour
        (attempt(3_660, 60), None, 3_660),  # set ahead: too old is the lesser evil
        (attempt(60, -60), None, None),  # the time since boot went back, which should be impossible
        (attempt(60), None, 60),
        (attempt(60), NOW_MS + 1_000, 60),
        (attempt(60), NOW_MS + 10_000, None),
        (attempt(-60), None, None),
        (attempt(-1), None, 0),
        (attempt(60, 10, "another boot"), None, 60),
        (attempt(-60, 10, "another boot"), None, None),
        (attempt(60, 10, ""), None, 60),
        (OpenAttempt(1, "yesterday"), None, None),
        (OpenAttempt(1, ""), None, None),
    ],
)
def test_an_age_is_never_less_than_it_may_be(began: OpenAttempt, seen_ms: int | None, age_s: float | None) -> None:
    assert age_of_oldest([began], Present(wall_ms=NOW_MS, since_boot=NOW, seen_ms=seen_ms)) == age_s


def test_the_oldest_of_several_counts_and_one_of_unknown_age_hides_the_others() -> None:
    present = Present(wall_ms=NOW_MS, since_boot=NOW)
    assert age_of_oldest([attempt(60), attempt(90), attempt(30)], present) == 90
    assert age_of_oldest([attempt(60), attempt(-90)], present) is None
