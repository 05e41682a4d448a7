"""A component that `test_registry.py` loads, or does not."""


class Part:
    heavy, light = True, False

    def __init__(self, config, *rest):
        self.config, self.rest = config, rest
