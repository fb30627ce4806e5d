"""The errors a user can meet: each says where, what was found, what was expected and what to do."""

from __future__ import annotations


class AssentError(Exception):
    """Any failure that Assent explains itself; the command line prints it without a traceback."""

    exit_code = 1


class RunError(AssentError):
    """A run that started and could not go on (a non-finite loss, a full disk, a lost worker)."""


class InputError(AssentError):
    """Data or configuration that cannot be used as it is.

    Args:
        message: what is wrong, in one sentence.
        where: the file and line, the configuration key or the record's id.
        field: the field of the row or the key of the configuration.
        found: what stands there, shortened.
        expected: what would be accepted.
        remedy: what the user can do about it.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        field: str | None = None,
        found: str | None = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.message = message
        self.where = where
        self.field = field
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        parts = [
            f"{name} {value}"
            for name, value in (
                ("field", self.field and f"`{self.field}`"),
                ("found", self.found),
                ("expected", self.expected),
            )
            if value
        ]
        sentence = f"{head} ({'; '.join(parts)})" if parts else head
        return f"{sentence}. {self.remedy}" if self.remedy else sentence
