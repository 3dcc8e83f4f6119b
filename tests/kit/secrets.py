"""The secrets in play, and the look at every error: it is one of ours, a line that a log can take,
and shows none of them."""

import copy
import pickle
import traceback
from base64 import b64encode
from typing import Any, Callable, List, Type, TypeVar

import jamsocket_lite
from jamsocket_lite import ConnectRequest, JamsocketError

E = TypeVar("E", bound=BaseException)

TOKEN = "tok-Cl1ent/8f2e+4b1d=7c"  # the client's
# None holds a word: six letters or digits in a row of a secret are enough to leave a message out.
BACKEND_TOKEN = "b4ckt0ken55aa1e"
SECRET_TOKEN = "s3cr3tt0kenc0ffee"
URL_PATH = "urlp4th0ddba11"
READY_PATH = "rdyp4th5ca1ab1e"
ENV_VALUE = "envv4luedeadbeef"
ENV_LINES = ("-----BEGIN SECRET LINES-----", "TUlJRXZnSUJBREFOQmdrcWhr")
AUTH_VALUE = "authv4lueba5eba11"
AUTH_NUMBER = 90210770311902
PROXY_PASSWORD = "pr0xypassw0rdf00d"
PROXY_CREDENTIALS = "carrier:" + PROXY_PASSWORD

SECRETS = (TOKEN, BACKEND_TOKEN, SECRET_TOKEN, URL_PATH, READY_PATH, ENV_VALUE, *ENV_LINES,
           AUTH_VALUE, str(AUTH_NUMBER), PROXY_PASSWORD,
           b64encode(PROXY_CREDENTIALS.encode()).decode())

REQUEST = ConnectRequest.from_dict({
    "key": "board/42",
    "spawn": {"executable": {"env": {"API_KEY": ENV_VALUE, "PEM": "\n".join(ENV_LINES)}}},
    "auth": {"session": {"cookies": [AUTH_VALUE]}, "pin": AUTH_NUMBER},
})


def texts_of(error: BaseException) -> List[str]:
    """All that a log could show of an error, with whatever hangs on it."""
    texts, chain = [], [error]  # type: List[str], List[BaseException]
    while chain:
        one = chain.pop()
        texts += [str(one), repr(one),
                  "".join(traceback.format_exception(type(one), one, one.__traceback__))]
        texts += [str(argument) for argument in one.args]
        texts += [str(getattr(one, name)) for name in ("code", "request_id", "path")
                  if hasattr(one, name)]
        # Also what `raise … from None` hides: some loggers show it.
        chain += [other for other in (one.__cause__, one.__context__) if other is not None]
        assert len(texts) < 1000, "a chain of errors without an end"
    return texts


def look_over(error: BaseException) -> None:
    """An error of the contract: of its classes, one line that a log can take, no secret, and a
    copy of it says the same."""
    texts = texts_of(error)
    shown = [secret[:4] + "…" for secret in SECRETS
             if any(secret.lower() in text.lower() for text in texts)]
    assert not shown, "%s shows the secret %s" % (type(error).__name__, ", ".join(shown))
    assert isinstance(error, JamsocketError), texts[2]
    assert type(error).__name__ in jamsocket_lite.__all__
    text = str(error)
    assert text and text.isprintable() and len(text) < 1000, ascii(text[:1000])
    text.encode("utf-8")
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error) and str(other) == text and vars(other) == vars(error)


def failure(call: Callable[[], Any], kind: Type[E], *others: Type[E]) -> E:
    """The error that a call raises, which must be of one of these very classes."""
    try:
        got = call()
    except Exception as error:
        return failed(error, kind, *others)
    raise AssertionError("no error, but %r" % (got,))


def failed(error: Any, kind: Type[E], *others: Type[E]) -> E:
    """The same for an error that was caught already."""
    assert isinstance(error, BaseException), "no error, but %r" % (error,)
    look_over(error)
    assert type(error) in (kind, *others), "".join(
        traceback.format_exception(type(error), error, error.__traceback__))
    return error  # type: ignore[return-value]
