"""What a trial found: assessed by the publisher's class, and told as a table."""

from collections.abc import Sequence

import msgspec

from everpost.publishing import PublisherClass
from everpost.testing.trial.steps import Fault, Step

SHOWN = 300  # characters of an error


class NotConforming(AssertionError):
    """The publisher does not do what its class promises; the message is the report."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one task.

    Attributes:
        status: How it ended; None if it did not.
        posts: How often the platform has it.
        error: The task's error, if it has one.
        was_reached: Whether the attempt came to the step.
        fault: What is wrong; None if nothing is.
    """

    step: Step
    status: str | None
    posts: int
    error: str | None = None
    was_reached: bool = True
    fault: str | None = None


class TrialReport(msgspec.Struct, frozen=True, kw_only=True):
    """The findings of a trial, one for each step. As a text, it is a table."""

    name: str
    publisher_class: PublisherClass
    findings: Sequence[Finding]

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, repeated or told wrongly at any step."""
        return not self.faults

    @property
    def faults(self) -> list[Finding]:
        """The findings with which something is wrong."""
        return [finding for finding in self.findings if finding.fault is not None]

    def check(self) -> None:
        """Raise unless the report is good.

        Raises:
            NotConforming: It is not.
        """
        if not self.is_good:
            raise NotConforming(str(self))

    def __str__(self) -> str:
        asked = sum(finding.status == "unknown" for finding in self.findings)
        head = f"{self.name}, class {self.publisher_class.name}: {len(self.findings)} steps, {len(self.faults)} bad"
        head += f", {asked} left to a person" if asked else ""
        width = max((len(str(finding.step)) for finding in self.findings), default=0)
        return "\n".join((head, *(_line(finding, width) for finding in self.findings)))


def assessed(finding: Finding, publisher_class: PublisherClass, *, may_be_unknown: bool | None = None) -> Finding:
    """The finding with what is wrong.

    Args:
        may_be_unknown: Whether a task may be left to a person; None decides by the class.
    """
    if may_be_unknown is None:
        may_be_unknown = publisher_class is PublisherClass.NONE
    return msgspec.structs.replace(finding, fault=_fault_of(finding, publisher_class, may_be_unknown))


def _fault_of(finding: Finding, publisher_class: PublisherClass, may_be_unknown: bool) -> str | None:
    error = f": {finding.error}" if finding.error else ""
    if finding.posts > 1:
        return f"the platform has it {finding.posts} times"
    match finding.status:
        case None:
            return f"it did not end in time{error}"
        case "success":
            return None if finding.posts else "it is called a success, and the platform does not have it"
        case "unknown":
            return (
                None
                if may_be_unknown
                else f"it was left to a person, although the class is {publisher_class.name}{error}"
            )
    if finding.posts:
        return f"it is called {finding.status}, and the platform has it{error}"
    return f"it was given up, although the platform works{error}"


def _line(finding: Finding, width: int) -> str:
    mark = "BAD" if finding.fault is not None else "ok "
    posts = f"{finding.posts} post" + ("" if finding.posts == 1 else "s")
    line = f"  {mark}  {finding.step!s:{width}}  {finding.status or 'not ended'}, {posts}"
    if not finding.was_reached and finding.step.fault is not Fault.NONE:
        line += " (not reached)"
    return f"{line}: {finding.fault[:SHOWN]}" if finding.fault is not None else line
