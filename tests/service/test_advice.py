"""An owner is told once what makes a stream less useful than it could be."""

from tests.world import World


def test_warns_of_text_that_the_tokenizer_does_not_know(tiny, caplog):
    world = World(tiny)
    world.produce(*({"id": str(i), "text": "w1 " + "我 想 退 款 " * 5} for i in range(16)))
    world.drain()
    assert caplog.text.count("are unknown to the tokenizer") == 1
    assert "multilingual" in caplog.text


def test_warns_once_of_events_without_ids(tiny, caplog):
    world = World(tiny)
    world.produce(*({"text": "w1"} for _ in range(20)))
    world.drain()
    assert caplog.text.count("events without an id") == 1
    assert world.predictions()[0]["id"].startswith("events:")
