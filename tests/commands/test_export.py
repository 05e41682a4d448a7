"""A snapshot of another version is refused, not exported half understood. What is exported: tests/serving."""

import pytest

from streamlearn.commands.export import export
from streamlearn.core.errors import ConfigError
from streamlearn.durability.snapshots import Snapshots, name
from streamlearn.model.tasks.family import tasks
from streamlearn.service.connections import made_by
from tests.number_task import NumberTask
from tests.world import World, labelled


def test_a_snapshot_that_is_not_understood_is_refused(tiny, tmp_path):
    world = World(tiny, strategy="ridge")
    world.produce(*labelled(24))
    world.drain()
    made = made_by(world.settings, world.service)
    for number, (key, value) in enumerate(
        [("strategy.name", "ncm"), ("strategy.was", 1), ("strategy.features", 99), ("model.was", 1)]
    ):
        state = Snapshots(str(tmp_path / key))
        configuration = {**made["configuration"], key: value}
        state.write(name(0, number), world.service.state.state_dict(), made_by={**made, "configuration": configuration})
        with pytest.raises(ConfigError):
            export(str(tmp_path / key), tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_task_without_classes_is_refused(tiny, tmp_path):
    with tasks.registered("number", NumberTask):
        world = World(tiny, task="number", strategy="er")
        world.produce(*({"id": f"e{n}", "text": "w1", "label": n} for n in range(8)))
        world.drain()
        state = Snapshots(str(tmp_path / "state"))
        state.write(name(0, 1), world.service.state.state_dict(), made_by=made_by(world.settings, world.service))
        with pytest.raises(ConfigError, match=r"the task 'number' has no classes.*\n  -> .*weights.safetensors"):
            export(str(tmp_path / "state"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
