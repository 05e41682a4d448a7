"""What every test may ask for, and what becomes of a test when this machine lacks what it needs.

    kafka         the address of a real Apache Kafka broker: the one that STREAMLEARN_TEST_KAFKA names, or one that is
                  started for each process of the run
    own_broker    a `Broker` that the test may stop, kill and start again
    new_topic     makes topics on `kafka`: new_topic("events", partitions=3) -> "events-1f8a09c3"
    fresh_name    the same kind of name without a topic: for groups, transactional ids, topics made by what is tested
    data          the folder of public data sets that STREAMLEARN_DATA names
    past, make    learners with a tiny encoder on a log in memory; see tests/past.py
    @tool(name)   the test runs the program `name`

Where something is missing the test is skipped and says what to install. With STREAMLEARN_REQUIRE_ALL=1 it fails.
The markers `kafka` and `data` follow from the fixtures: `-m "not kafka"` needs no care of the tests' authors.
"""

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streamlearn.core.threads import spin_briefly
from tests.kafka.broker import Broker, NotInstalledError

if TYPE_CHECKING:
    from tests.past import Past

spin_briefly()  # as the commands do: tests run beside brokers
os.environ["HF_HUB_OFFLINE"] = "1"  # a test that wants a model from a hub fails at once

DEBIAN_PACKAGES = {"promtool": "prometheus"}  # where a program's package is not called like the program


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it where everything has to be there."""
    if os.environ.get("STREAMLEARN_REQUIRE_ALL") == "1":
        pytest.fail(f"STREAMLEARN_REQUIRE_ALL is set, and {reason}", pytrace=False)
    raise Missing(reason)


class Missing(pytest.skip.Exception):  # type: ignore[name-defined,misc]
    """The machine's lack, not the test's."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Sum up: the same thing missing for twenty tests is one line at the end, not twenty."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, Missing):
        report.longrepr = ("not on this machine", None, str(call.excinfo.value))  # type: ignore[assignment]
    # What a test printed goes from process to process in UTF-8, which lone surrogates are not.
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if not {"kafka", "own_broker"}.isdisjoint(fixtures):
            item.add_marker(pytest.mark.kafka)
        if "data" in fixtures:
            item.add_marker(pytest.mark.data)


@pytest.fixture(autouse=True)
def _tools(request: pytest.FixtureRequest) -> None:
    for marker in request.node.iter_markers("tool"):
        (name,) = marker.args
        if shutil.which(name) is None:
            missing(f"{name} is not installed (Debian, Ubuntu: apt-get install {DEBIAN_PACKAGES.get(name, name)})")


@pytest.fixture(scope="session")
def data() -> Path:
    folder = os.environ.get("STREAMLEARN_DATA")
    if folder is None:
        missing("STREAMLEARN_DATA does not name the folder of public data sets")
    path = Path(folder)
    assert path.is_dir(), f"STREAMLEARN_DATA names {path}, which is no folder"
    return path


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    address = os.environ.get("STREAMLEARN_TEST_KAFKA")
    if address is not None:
        yield address
    else:
        broker = _started()
        yield broker.address
        broker.remove()


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    broker = _started()
    yield broker
    broker.remove()


def _started() -> Broker:
    broker = Broker()
    reason = None
    try:
        broker.start()
    except NotInstalledError as error:
        reason = " ".join(str(error).split())
    if reason is not None:
        missing(reason)
    return broker


@pytest.fixture(scope="session")
def fresh_name() -> Callable[[str], str]:
    return lambda stem: f"{stem}-{token_hex(4)}"


@pytest.fixture(scope="session")
def new_topic(kafka: str, fresh_name: Callable[[str], str]) -> Callable[..., str]:
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})

    def make(stem: str, partitions: int = 1, **config: str) -> str:
        """Make a topic, and return its name; `config` has the topic's settings with _ for the dots."""
        name = fresh_name(stem)
        settings = {key.replace("_", "."): value for key, value in config.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
        admin.create_topics([topic])[name].result(30)
        return name

    return make


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a tiny encoder of random weights."""
    import torch  # noqa: PLC0415 - only where a test wants a model

    from tests.models import save  # noqa: PLC0415 - as above

    torch.set_num_threads(1)  # a tiny model gains nothing from more, and loses much on a busy machine
    return save(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def one_thread() -> None:
    """Let torch compute on one thread, and so add up in one order, also after a test that let it have more."""
    import torch  # noqa: PLC0415 - as above

    torch.set_num_threads(1)


@pytest.fixture
def past(tiny: Path, tmp_path: Path) -> "Past":
    """A learner on a log in memory, which may die and start again."""
    from tests.past import Past  # noqa: PLC0415 - as above

    return Past(tiny, tmp_path / "state")


@pytest.fixture
def make(tiny: Path, tmp_path: Path) -> Callable[..., "Past"]:
    """Make the same with a topic of labels, and with these sections of the configuration."""
    from tests.past import Past  # noqa: PLC0415 - as above

    def past(**sections: Any) -> Past:
        sections.setdefault("probes", {"share": 0})
        return Past(tiny, tmp_path / "state", labels=True, **sections)

    return past
