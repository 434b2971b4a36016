"""The one map from errors to answers: problem+json (RFC 9457) with the status of the error's slug."""

from __future__ import annotations

from http import HTTPStatus

from peerd.control import schema
from peerd.errors import KINDS, PeerdError, status_of
from protocol.errors import RULES, RuleError

INTERNAL_HINT = "look for the request's number in the daemon's log"


def problem_of(error: Exception, instance: str) -> schema.Problem:
    """What the caller is told; `instance` is the request's number.

    Only refusals speak in their own words. Anything else is a mistake of ours, and its text stays in the log.
    """
    match error:
        case RuleError():
            rule = RULES[error.code]
            return _problem(error, rule.title, instance, rule.windows_code)
        case PeerdError():
            return _problem(error, KINDS[error.code].title, instance, None)
        case _:
            return schema.Problem(
                slug="internal",
                title=KINDS["internal"].title,
                status=HTTPStatus.INTERNAL_SERVER_ERROR,
                detail="The request met a mistake in peerd itself.",
                hint=INTERNAL_HINT,
                instance=instance,
            )


def _problem(
    error: RuleError | PeerdError, title: str, instance: str, windows_code: int | None
) -> schema.Problem:
    return schema.Problem(
        slug=error.code,
        title=title,
        status=status_of(error.code),
        detail=_sayable(error.detail),
        hint=_sayable(error.hint),
        instance=instance,
        windows_code=windows_code,
    )


def _sayable(text: str) -> str:
    """The text with lone surrogates escaped: UTF-8 cannot say them, and names of files may hold some."""
    return text.encode(errors="backslashreplace").decode()
