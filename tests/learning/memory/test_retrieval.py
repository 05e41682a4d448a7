"""Each retrieval draws what it is there for."""

from collections import Counter

from tests.learning.memory.memories import draws, fill, memory


def test_uniform_draws_samples_and_class_balanced_draws_classes():
    labels = [0] * 8 + [1] * 3 + [2]
    uniform = Counter(label for drawn in draws(fill(memory(), labels), 3) for label in drawn.labels.tolist())
    assert uniform[0] > 6 * uniform[2]
    balanced = fill(memory(retrieval="class-balanced"), labels)
    for drawn in draws(balanced, 3, n=20):
        assert sorted(drawn.labels.tolist()) == [0, 1, 2]
    for drawn in draws(balanced, 6, n=20):  # class 2 has one sample, so one class more gives three
        assert Counter(drawn.labels.tolist()) in ({0: 3, 1: 2, 2: 1}, {0: 2, 1: 3, 2: 1})
    assert Counter(draws(balanced, 12, n=1)[0].labels.tolist()) == {0: 8, 1: 3, 2: 1}
    single = Counter(int(drawn.labels[0]) for drawn in draws(balanced, 1, n=900))
    assert all(abs(count - 300) < 70 for count in single.values()), single  # standard deviation 14


def test_class_balanced_others_leaves_the_new_classes_out():
    replay = fill(memory(retrieval="class-balanced-others"), [0] * 8 + [1] * 3 + [2])
    for drawn in draws(replay, 3, [0, 7, 0], n=20):
        assert set(drawn.labels.tolist()) == {1, 2}
    assert len(draws(replay, 12, [0], n=1)[0]) == 4
    assert sorted(draws(replay, 3, [0, 1, 2], n=1)[0].labels.tolist()) == [0, 1, 2]  # nothing else is stored
