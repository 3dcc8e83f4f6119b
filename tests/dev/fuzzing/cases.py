"""What every case of the fuzzer has, and the checks that none may fail."""

from typing import Any, List, Optional, Sequence

from dev.fuzzing.recordings import SECRETS
from jamsocket_lite import (AuthenticationError, BackendState, BackendTerminated, ConnectResponse,
                            HTTPError, JamsocketTimeout, NetworkError, ProtocolError,
                            RateLimitError)
from kit import secrets
from kit.calls import CALLS
from kit.platforms import STATUSES
from kit.secrets import look_over, texts_of
from kit.server import Request, Step

ERRORS = (NetworkError, ProtocolError, HTTPError, AuthenticationError, RateLimitError,
          JamsocketTimeout)
# Of a secret no six letters and digits in a row may be shown.
ROWS = ("cl1ent",)


class Failure(AssertionError):
    """The contract is broken."""


class Late(Failure):
    """The same in time alone, which a busy machine may do too."""


class Case:
    """A call, what the server does to it, and what may come of it. It is run once."""

    kind = ""
    call = ""
    deadline = 0.4

    def steps(self, request: Request) -> Sequence[Step]:
        """What the server does at a request of this case."""
        raise NotImplementedError

    def run(self, url: str, **options: Any) -> Any:
        return CALLS[self.call](url, self.deadline, **options)

    def check(self, outcome: Any) -> None:
        check_outcome(self.call, outcome)

    def otherwise(self) -> Optional["Case"]:
        """A case with which this one has to agree in what comes of it."""
        return None


def check_error(call: str, error: BaseException) -> None:
    look_over(error)
    shown = "\n".join(texts_of(error)).lower()
    if any(row in shown for row in ROWS):
        raise Failure("a part of the token in %s" % error)
    allowed = ERRORS + ((BackendTerminated,) if call == "wait" else ())
    if type(error) not in allowed:
        raise Failure("%s is not an error of this call" % type(error).__name__)
    if isinstance(error, HTTPError):
        after = error.retry_after
        if not (400 <= error.status <= 999 and (after is None or 0.0 <= after < float("inf"))):
            raise Failure("status %r, retry_after %r" % (error.status, after))


def check_outcome(call: str, outcome: Any) -> None:
    if isinstance(outcome, BaseException):
        check_error(call, outcome)
    elif call == "connect":
        check_connected(outcome)
    elif call == "terminate":
        if outcome is not None:
            raise Failure("terminate gave %r" % (outcome,))
    else:
        states = outcome if call == "stream" else [outcome]
        for one in states:
            if (type(one) is not BackendState
                    or BackendState.from_dict(one.to_dict(), strict=False) != one):
                raise Failure("%s gave %r" % (call, one))
        if call == "wait" and not outcome.is_ready:
            raise Failure("wait gave %r" % (outcome,))
        if call == "stream":
            check_order([one.status for one in states])
            if not states[-1].is_terminated:
                raise Failure("stream ended after %r" % (states[-1],))


def check_connected(outcome: Any) -> None:
    if type(outcome) is not ConnectResponse:
        raise Failure("connect gave %r" % (outcome,))
    again: Any = ConnectResponse.from_dict(outcome.to_dict(), strict=False)
    shown = [secret for secret in (*secrets.SECRETS, *SECRETS) if secret in repr(outcome)]
    if again != outcome or shown:
        raise Failure("connect gave %s" % outcome)


def check_order(statuses: List[str]) -> None:
    """Each once, and those that are known in their order."""
    known = [statuses.index(one) for one in STATUSES if one in statuses]
    if len(set(statuses)) != len(statuses) or known != sorted(known):
        raise Failure("told were %r" % statuses)


def summary(outcome: Any) -> Any:
    if isinstance(outcome, BaseException):
        return type(outcome).__name__, str(outcome)
    if isinstance(outcome, list):
        return [one.to_dict() for one in outcome]
    return outcome if outcome is None else outcome.to_dict()
