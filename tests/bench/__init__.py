"""Benchmarks: `./dev bench` lists their names. Their threads wait as those of the commands do."""

from streamlearn.core.threads import spin_briefly

spin_briefly()
