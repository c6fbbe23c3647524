"""The five swappable stages of the recurrence, one file each."""
