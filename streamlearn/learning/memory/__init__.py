"""The replay memory, the policies that decide what stays in it, and the retrievals that decide what is rehearsed."""
