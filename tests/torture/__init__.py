"""Random damage to everything that carlab reads: a few inputs in the suite, any number by `make torture`."""
