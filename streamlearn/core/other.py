"""The rest: what is past a bound is counted under the name "other", and nothing else is."""

OTHER = "other"


def apart(name: str) -> str:
    """Return the name that a user's own class or slice is shown under where the rest may stand beside it.

    It is the name itself, but for `other`: that is shown as `other_`, and so that no two names become one, `other_` as
    `other__`, and so on.
    """
    return f"{name}_" if name.rstrip("_") == OTHER else name
