"""The command line: one small file a command, joined by `app`; torch is imported only where it is needed."""
