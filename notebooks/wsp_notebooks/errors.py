"""What can go wrong, with the object that it is about and what to do."""

import re

# deltalake colours its messages; object stores may repeat signed URLs in theirs.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_SECRETS = re.compile(r"(?i)\b(sig|se|sv|x-amz-[a-z-]+|x-goog-[a-z-]+|[a-z_]*(?:token|secret|key))=[^&\s]+")


class StoreError(Exception):
    """A store, or something in it, that cannot be used. The text names it and says what to do."""

    def __init__(self, message: str, *, cause: object = None, hint: str | None = None) -> None:
        self.message, self.hint = message, hint
        self.cause = None if cause is None else _one_line(str(cause))
        lines = [message]
        if self.cause:
            lines.append(f"caused by: {self.cause}")
        if hint:
            lines.append(f"hint: {hint}")
        super().__init__("\n".join(lines))


class NoProfilesError(StoreError):
    """The store has no profile tables."""


class UnknownProfileError(StoreError):
    """The store has no profile of that image, or no such revision of it."""


def _one_line(text: str) -> str:
    text = _SECRETS.sub(r"\1=…", _COLOURS.sub("", text))
    text = " ".join(part.strip(" ↳") for part in text.split("\n") if part.strip(" ↳"))
    return text if len(text) <= 400 else text[:400] + "…"
