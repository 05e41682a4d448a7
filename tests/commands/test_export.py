"""A snapshot of another version is refused, not exported half understood. What is exported: tests/serving."""

import pytest

from streamlearn.commands.export import export
from streamlearn.core.errors import ConfigError
from streamlearn.durability.snapshots import Snapshots, name
from streamlearn.service.connections import made_by
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
