"""Tries a publisher: its worker is killed, stopped and frozen at every step, and its connections are cut.

    report = await try_publisher(MyPublisher, posts=texts_on_the_platform, platform_at=("127.0.0.1", 8080),
                                 options=lambda address: {"url": f"http://{address}"})
    report.check()

After each fault another worker goes on, and the platform is asked what it has: docs/testing.md.
"""

from everpost.testing.trial.steps import Fault, Step
from everpost.testing.trial.trying import try_publisher
from everpost.testing.trial.verdicts import Finding, NotConforming, TrialReport

__all__ = ["Fault", "Finding", "NotConforming", "Step", "TrialReport", "try_publisher"]
