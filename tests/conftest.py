"""The fixtures of more than one file. The module under test is the checkout's, or, with
JAMSOCKET_LITE_INSTALLED set, the installed one."""

import os
import signal
import sys
from pathlib import Path
from typing import Iterator, Optional

import pytest

ROOT = Path(__file__).resolve().parent.parent
if not os.environ.get("JAMSOCKET_LITE_INSTALLED"):
    sys.path.insert(0, str(ROOT))

from kit import noise, side_by_side
from kit.calls import CALLS, LASTING, SINGLE, Call
from kit.certificates import Certificates
from kit.leftovers import leaving_nothing
from kit.places import BACKEND, Place
from kit.platforms import APIS, PLANE, Api, Cluster, running
from kit.secrets import TOKEN
from kit.server import Server
from kit.shell import Inside
from local.local_platform import LocalPlatform

# Settings of whoever runs the tests, which would lead the client elsewhere. They are gone for all
# of the run, so that tests side by side may rely on it too.
FOREIGN = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")
OURS = ("JAMSOCKET_DEV", "JAMSOCKET_ACCOUNT", "JAMSOCKET_SERVICE", "JAMSOCKET_TOKEN",
        "JAMSOCKET_API_URL", "PLANE_")
for name in list(os.environ):
    if name.lower() in FOREIGN or name.startswith(OURS):
        del os.environ[name]

# Where a shell runs the tests in the background Ctrl-C is ignored, by all that they start too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return ("tests that mostly wait run side by side; `make test` uses two cores, `make test-slow` "
            "runs the slow ones, `make test-all` every Python")


def pytest_sessionstart() -> None:
    noise.watch()


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Optional[bool]:
    if pyfuncitem.get_closest_marker("waits") is None:
        return None
    side_by_side.run(pyfuncitem)
    return True


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates good and bad, and contexts for both ends; the authority of the good ones is
    `ca_file`."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=list(APIS.values()), ids=list(APIS))
def api(request: pytest.FixtureRequest) -> Api:
    """Each of the two platforms."""
    given: Api = request.param
    return given


@pytest.fixture(params=list(CALLS.values()), ids=list(CALLS))
def call(request: pytest.FixtureRequest) -> Call:
    """Each call in turn, to be called with a url and a timeout."""
    given: Call = request.param
    return given


@pytest.fixture(params=list(SINGLE.values()), ids=list(SINGLE))
def single(request: pytest.FixtureRequest) -> Call:
    """Each call of one request: connect, status, terminate."""
    given: Call = request.param
    return given


@pytest.fixture(params=list(LASTING.values()), ids=list(LASTING))
def lasting(request: pytest.FixtureRequest) -> Call:
    """Each call that lasts: a wait and a stream."""
    given: Call = request.param
    return given


@pytest.fixture
def cluster(api: Api) -> Iterator[Cluster]:
    """Each of the two as it runs, with real processes as backends."""
    with running(api) as started:
        yield started


@pytest.fixture
def plane_server() -> Iterator[Server]:
    """A scripted Plane that answers every call well."""
    with Server(PLANE.service()) as started:
        yield started


@pytest.fixture(scope="module")
def shared_platform() -> Iterator[LocalPlatform]:
    """The platform of all places of one file."""
    with LocalPlatform(BACKEND, tokens=[TOKEN]) as started:
        yield started


@pytest.fixture(scope="module", params=list(APIS))
def house(request: pytest.FixtureRequest) -> Iterator[LocalPlatform]:
    """A platform of either kind, which the tests of a file share."""
    with LocalPlatform(plane=request.param == "plane") as started:
        yield started


@pytest.fixture(scope="module")
def dev() -> Iterator[LocalPlatform]:
    """The dev server, shared by the tests of a file: where the kind of platform does not matter."""
    with LocalPlatform() as started:
        yield started


@pytest.fixture
def inside(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Inside:
    """The command line in this process."""
    return Inside(capsys, monkeypatch)


@pytest.fixture
def place(tmp_path: Path, shared_platform: LocalPlatform, request: pytest.FixtureRequest) -> Place:
    """An empty folder to copy the file to, and a platform to talk to from there."""
    return Place(tmp_path, shared_platform, request.node.name)


@pytest.fixture
def copied(place: Place) -> Place:
    """The same with the file in it."""
    place.copy()
    return place


@pytest.fixture
def platform() -> Iterator[LocalPlatform]:
    """A Jamsocket platform with real processes as backends."""
    with LocalPlatform() as running:
        yield running


@pytest.fixture
def many_files() -> Iterator[None]:
    """Descriptors for both ends of 500 waits with two connections each."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 3000:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3000, hard))
        except (OSError, ValueError) as error:
            pytest.skip("too few descriptors: %s" % error)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """The test leaves no thread, no descriptor, no socket for the collector to close."""
    with leaving_nothing():
        yield
