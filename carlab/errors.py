"""One family of errors: each says what was expected, what came, and what to do.

Everything that a user can get wrong raises a subclass of `CarlabError`; any
other exception that leaves the package is a bug. The command line prints a
`CarlabError` as one line and exits with code 2.
"""


class CarlabError(Exception):
    """Base of every error that carlab raises on purpose."""


class ImageError(CarlabError):
    """An image that cannot be read, or an array that is not an image."""


class QueryError(CarlabError):
    """Queries, templates or background words that cannot be used."""


class SettingError(CarlabError):
    """A preset, stage, device or number outside what is allowed."""


class BackboneError(CarlabError):
    """A model that cannot be found, loaded or trusted."""


class ProbeError(CarlabError):
    """An unknown probe, or an edit that changed a probe's shape or type."""


class TraceError(CarlabError):
    """A trace file that cannot be read or written."""


class DatasetError(CarlabError):
    """A data set whose layout or content is not the official one."""


class RunError(CarlabError):
    """The folder of an evaluation that cannot be read, written, or gone on with."""
